/* Updates the page of a batch or a run: fetches the live parts of the page, and replaces those that have changed.
   Without this script, the page stays as it was when it was opened. */
"use strict";
{
    const LONGEST = 120;
    const MOST_FAILURES = 10;
    const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']";

    const card = () => document.querySelector("[data-dcb-part='card']");
    const openedAs = card() ? card().dataset.dcbState : "";
    let failures = 0;
    let timer = 0;
    let fetching = false;

    const wait = () => {
        clearTimeout(timer);
        const now = card();
        if (!now || !now.dataset.dcbUrl || document.hidden || failures > MOST_FAILURES) {
            return;
        }
        const seconds = Math.min(Number(now.dataset.dcbSeconds) * 2 ** failures, LONGEST);
        timer = setTimeout(look, seconds * 1000);
    };

    const look = async () => {
        clearTimeout(timer);
        if (fetching) {
            return;
        }
        fetching = true;
        try {
            // A redirect would lead to the login page, which must not be shown here.
            const answer = await fetch(card().dataset.dcbUrl, {credentials: "same-origin", redirect: "error"});
            if (answer.status === 403 || answer.status === 404) {
                failures = MOST_FAILURES;
            }
            if (!answer.ok) {
                throw new Error(answer.statusText);
            }
            show(new DOMParser().parseFromString(await answer.text(), "text/html"));
            failures = 0;
        } catch {
            failures += 1;
        }
        fetching = false;
        wait();
    };

    const show = (fresh) => {
        for (const part of document.querySelectorAll("[data-dcb-part]")) {
            const other = fresh.querySelector(`[data-dcb-part="${part.dataset.dcbPart}"]`);
            if (!other) {
                continue;
            }
            reopen(part, other);
            if (other.outerHTML !== part.outerHTML && !isBeingRead(part) && !part.querySelector(":active")) {
                const refocus = focusIn(part);
                part.replaceWith(other);
                refocus(other);
            }
        }
        say();
    };

    /* A part with a selection, or with a button that is being pressed, is kept; the next refresh replaces it. */
    const isBeingRead = (part) => {
        const selection = document.getSelection();
        return selection && !selection.isCollapsed && selection.containsNode(part, true);
    };

    /* Sections that the user has opened stay open. */
    const reopen = (part, other) => {
        for (const opened of part.querySelectorAll("details[open][id]")) {
            const same = other.querySelector(`#${opened.id}`);
            if (same) {
                same.open = true;
            }
        }
    };

    /* Restore the focus: to the same link or button, otherwise to the element in the same place. If a button is gone,
       focus the whole part, because another button in its place does something else. */
    const focusIn = (part) => {
        const active = document.activeElement;
        if (!part.contains(active)) {
            return () => {};
        }
        const place = [...part.querySelectorAll(FOCUSABLE)].indexOf(active);
        const name = (element) => element.getAttribute("href") || element.value || element.dataset.dcbCopy;
        const known = name(active);
        return (other) => {
            const all = [...other.querySelectorAll(FOCUSABLE)];
            const same = known && all.find((element) => name(element) === known);
            const next = same || (place < 0 || active.tagName === "BUTTON" ? other : all[Math.min(place, all.length - 1)]);
            if (next) {
                next.focus({preventScroll: true});
            }
        };
    };

    /* Screen readers announce only a new sentence, not each number that changes. */
    const say = () => {
        const words = card().querySelector("[data-dcb-say]").textContent.trim().replace(/\s+/g, " ");
        const said = document.querySelector("[data-dcb-said]");
        if (card().dataset.dcbState !== openedAs) {
            document.querySelector("[data-dcb-stale]").hidden = false;
            if (said.textContent !== words) {
                said.textContent = words;
            }
        }
    };

    document.addEventListener("visibilitychange", () => {
        clearTimeout(timer);
        const now = card();
        if (!document.hidden && now && now.dataset.dcbUrl) {
            look();
        }
    });
    wait();
}
