/* Shows a button beside each id that copies the id. Without this script, one click selects the id. */
"use strict";
{
    const selected = (element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        const selection = document.getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
    };

    /* Browsers provide a clipboard only on pages over HTTPS and on pages of the local machine. */
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
