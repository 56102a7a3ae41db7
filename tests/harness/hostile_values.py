"""Values that break parsers and databases, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REFUSED = "the line cannot be read, on any Python"
EITHER = "whether the line can be read depends on the Python"


@dataclass(frozen=True)
class Value:
    """`json` is the value on the wire; `read` is the value that the row returns, if it differs."""

    json: bytes
    read: Any = None
    changed: bool = False
    fate: str = ""

    @property
    def is_text(self) -> bool:
        return self.json.startswith(b'"')


def nested(levels: int) -> bytes:
    return b"[" * levels + b"1" + b"]" * levels


# Values that a database cannot store, or MariaDB cannot nest, are replaced, and the original line is kept.
CHANGED = {
    "NUL": Value(rb'"a\u0000b"', "a\ufffdb", changed=True),
    "the first half of a character": Value(rb'"x\ud83dy"', "x\ufffdy", changed=True),
    "the second half of a character": Value(rb'"x\ude00y"', "x\ufffdy", changed=True),
    "two halves in the wrong order": Value(rb'"\ude00\ud83d"', "\ufffd\ufffd", changed=True),
    "a half as bytes": Value(b'"x\xed\xa0\xbdy"', "x\ufffdy", changed=True),
    "NaN": Value(b"NaN", None, changed=True),
    "minus infinity": Value(b"-Infinity", None, changed=True),
    "1e999": Value(b"1e999", None, changed=True),
    "a fraction that no float holds": Value(b"0.1234567890123456789", 0.12345678901234568, changed=True),
    "a repeated key": Value(b'{"a":1,"b":0,"a":2}', {"a": 2, "b": 0}, changed=True),
    "keys that become the same": Value(rb'{"a\u0000":1,"a\ud800":2}', {"a\ufffd": 2}, changed=True),
    "31 levels": Value(nested(31), ..., changed=True),
    "32 levels": Value(nested(32), ..., changed=True),
    "100 levels": Value(nested(100), ..., changed=True),
    "600 levels": Value(nested(600), ..., changed=True),
}

# Values that are only unusual are stored unchanged.
KEPT = {
    "a pair of halves": Value(rb'"\ud83d\ude00"', "😀"),
    "characters of 4 bytes": Value('"😀𠀀"'.encode(), "😀𠀀"),
    "20 levels": Value(nested(20), ...),
    "30 digits": Value(b"9" * 30, int("9" * 30)),
    "4,000 digits": Value(b"9" * 4000, int("9" * 4000)),
    "more than a bigint": Value(b"9223372036854775808", 2**63),
    "the largest bigint": Value(b"9223372036854775807", 2**63 - 1),
    "a negative number": Value(b"-1", -1),
    "a large float": Value(b"1e300", 1e300),
    "a minus zero": Value(b"-0.0", -0.0),
    "a boolean": Value(b"true", True),
    "an empty key": Value(b'{"":{"":""}}', {"": {"": ""}}),
    "nothing": Value(b'""', ""),
    "spaces": Value(b'"  a  "', "  a  "),
    "a backslash": Value(rb'"C:\\new\\table\\"', "C:\\new\\table\\"),
    r"\N": Value(rb'"\\N"', r"\N"),
    r"\.": Value(rb'"\n\\.\n"', "\n\\.\n"),
    "tabs and newlines": Value(rb'"a\tb\nc\r\nd\re"', "a\tb\nc\r\nd\re"),
    "quotes": Value(b'"\\"\\"' + b"''$$`%s %(a)s {}" + b'"', '""' + "''$$`%s %(a)s {}"),
    "escapes as text": Value(rb'"\\u0000 \\x00 &#0; \\\\"', r"\u0000 \x00 &#0; \\"),
    "a byte order mark": Value('"\ufeffa\ufeff"'.encode(), "\ufeffa\ufeff"),
    "line separators": Value('"a\u2028b\u2029c\x85d"'.encode(), "a\u2028b\u2029c\x85d"),
    "bidi marks": Value('"\u202ea\u2066b\u2069\u200f"'.encode(), "\u202ea\u2066b\u2069\u200f"),
    "control characters": Value(rb'"\u0001\b\f\u001a\u001b[31m' + b'\x7f"', "\x01\b\f\x1a\x1b[31m\x7f"),
    "combining characters": Value('"e\u0301\u200d\ufe0f"'.encode(), "e\u0301\u200d\ufe0f"),
    "noncharacters": Value('"\ufffe\uffff\U0010ffff"'.encode(), "\ufffe\uffff\U0010ffff"),
}

# A line with one of these may be unreadable. 5,000 levels are too deep for Python 3.11 and 3.12.
UNREADABLE = {
    "5,000 digits": Value(b"9" * 5000, fate=REFUSED),
    "half an escape": Value(rb'"\u12"', fate=REFUSED),
    "a bare control character": Value(b'"a\tb"', fate=REFUSED),
    "a bare NUL": Value(b'"a\0b"', fate=REFUSED),
    "bytes that are not UTF-8": Value(b'"a\xffb"', fate=REFUSED),
    "5,000 levels": Value(nested(5000), ..., changed=True, fate=EITHER),
}

VALUES = CHANGED | KEPT | UNREADABLE
