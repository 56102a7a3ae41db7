/* Shows a button beside each id, which copies it. Without it the id is text that one click selects. */
"use strict";
{
    const selected = (element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        const selection = document.getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
    };

    /* Browsers have a clipboard only on pages of https and of this machine. */
    const copy = async (button) => {
        if (navigator.clipboard) {
            await navigator.clipboard.writeText(button.dataset.dcbCopy);
            return true;
        }
        selected(button.previousElementSibling);
        return document.execCommand("copy");
    };

    document.documentElement.dataset.dcbScript = "";
    document.addEventListener("click", async (event) => {
        const button = event.target.closest("[data-dcb-copy]");
        if (!button) {
            return;
        }
        try {
            if (await copy(button)) {
                button.textContent = button.dataset.dcbDone;
                const said = document.querySelector("[data-dcb-said]");
                if (said) {
                    said.textContent = `${button.dataset.dcbDone}: ${button.dataset.dcbCopy}`;
                }
            }
        } catch {
            selected(button.previousElementSibling);
        }
    });
}
