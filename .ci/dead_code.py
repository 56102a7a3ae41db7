"""Fail if a function, method, property or class is used only in tests. Run by the lane `lint`."""

from __future__ import annotations

import re
import sys

from vulture import Vulture

WHERE = ["django_claude_batches", "example_project"]

# Called by Django, Celery, requests, pytest, the standard library or a database backend.
FRAMEWORKS = re.compile(
    r"""add_view | aiterator | as_(mysql|postgresql) | clean_\w+ | contribute_to_class | do_[A-Z]+ | get_changelist
    | get_deleted_objects | get_redirect_target | get_search_results | handle(_error)? | has_\w+_permission
    | log_message | prepare_value | pytest_\w+ | readable
    | save_model | validate | __getattr__
    | Command | Media | \w+Config""",
    re.VERBOSE,
)

# Used only by name in a string: columns of the admin's lists, and variables of templates.
TEXTS = {
    "batch_link",
    "is_capped",
    "is_empty",
    "last_state",
    "outcome_link",
    "spent",
    "started_by",
    "target_name",
    "ReviewAdmin",
}

# Names of the public API that only users and tests call.
PUBLIC = {
    *("list_all", "wait_for"),
    *("invalid_output", "latest_success", "of_job", "unfinished"),
    *("on_finished", "on_result", "unregister"),
    *("always", "refusing", "using_tool"),
    *(
        "add_key",
        "add_stranger",
        "claude_emulator",
        "clear_faults",
        "restart",
        "run_job",
        "sending",
        "served_lines",
        "unbend",
    ),
}
ALLOWED = TEXTS | PUBLIC

vulture = Vulture()
vulture.scavenge(WHERE, exclude=["*/migrations/*"])
dead = [
    item
    for item in vulture.get_unused_code(min_confidence=60)
    if item.typ in {"class", "function", "method", "property"}
    and item.name not in ALLOWED
    and not FRAMEWORKS.fullmatch(item.name)
]
for item in dead:
    print(f"{item.filename}:{item.first_lineno}: {item.typ} {item.name} is used only in tests")
sys.exit(1 if dead else 0)
