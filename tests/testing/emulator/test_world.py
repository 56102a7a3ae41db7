"""The states of a batch, and the effects of each call and of time. No HTTP here."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from django_claude_batches.testing import echo, failing
from django_claude_batches.testing.emulator.errors import Refusal
from django_claude_batches.testing.emulator.replies import with_keywords
from django_claude_batches.testing.emulator.validation.params import Terms
from django_claude_batches.testing.emulator.world import Rules, World
from tests.testing.caller import params, requests_of

HOUR = 3600
DAY = 24 * HOUR
REQUESTS_OF_ONE_TOKEN = requests_of("a", max_tokens=1)["requests"]
MINE = "wrkspc_mine"


class Story:
    """One batch of ten requests in a world, controlled by named steps."""

    def __init__(self, **rules):
        defaults = {
            "replies": with_keywords(echo()),
            "seconds": None,
            "progressive_counts": False,
            "processed_share": None,
            "cancel_ended": "unchanged",
        }
        self.world = World(Rules(**(defaults | rules)), seed=1)
        self.id = self.create()

    def create(self, workspace_id=MINE, count=10):
        requests = requests_of(*(str(n) for n in range(count)))["requests"]
        return self.world.create(requests, workspace_id=workspace_id, terms=Terms("2023-06-01")).id

    def tell(self, word):
        match word.split():
            case ["cancel" | "delete" as verb]:
                getattr(self.world, verb)(self.id, workspace_id=MINE)
            case ["finish" | "expire" | "archive" as verb]:
                getattr(self.world, verb)(self.id)
            case ["wait", seconds]:
                self.world.pass_time(float(seconds))

    @property
    def batch(self):
        return self.world.snapshots()[0]

    @property
    def counts(self):
        return {name: count for name, count in self.batch.request_counts.items() if count}

    @property
    def types(self):
        lines = self.world.results(self.id, workspace_id=MINE)
        return sorted({line.type for line in lines})


@pytest.mark.parametrize(
    ("words", "status", "counts"),
    [
        ([], "in_progress", {"processing": 10}),
        (["cancel"], "canceling", {"processing": 10}),
        (["cancel", "cancel"], "canceling", {"processing": 10}),
        (["finish"], "ended", {"succeeded": 10}),
        (["finish", "cancel"], "ended", {"succeeded": 10}),
        (["finish", "finish", "expire"], "ended", {"succeeded": 10}),
        (["cancel", "finish"], "ended", {"canceled": 10}),
        (["expire"], "ended", {"expired": 10}),
        (["cancel", "expire"], "ended", {"canceled": 10}),
        ([f"wait {DAY - 60}"], "in_progress", {"processing": 10}),
        ([f"wait {DAY}"], "ended", {"expired": 10}),
        (["cancel", f"wait {DAY}"], "ended", {"canceled": 10}),
        ([f"wait {30 * DAY}"], "ended", {"expired": 10}),
        (["finish", "archive"], "ended", {"succeeded": 10}),
    ],
)
def test_states_and_counts(words, status, counts):
    story = Story()
    for word in words:
        story.tell(word)
    assert (story.batch.processing_status, story.counts) == (status, counts)
    assert sum(story.batch.request_counts.values()) == 10


@pytest.mark.parametrize(
    ("words", "status", "counts"),
    [
        (["wait 9"], "in_progress", {"processing": 10}),
        (["wait 10"], "ended", {"succeeded": 10}),
        ([f"wait {DAY}"], "ended", {"succeeded": 10}),
        (["wait 5", "cancel", "wait 0.5"], "canceling", {"processing": 10}),
        (["wait 5", "cancel", "wait 1"], "ended", {"succeeded": 5, "canceled": 5}),
        (["cancel", "wait 1"], "ended", {"canceled": 10}),
        (["finish"], "ended", {"succeeded": 10}),
    ],
)
def test_batches_that_end_by_themselves_after_ten_seconds(words, status, counts):
    story = Story(seconds=10)
    for word in words:
        story.tell(word)
    assert (story.batch.processing_status, story.counts) == (status, counts)


def test_a_batch_that_needs_more_than_a_day_expires():
    story = Story(seconds=2 * DAY)
    story.tell(f"wait {DAY}")
    assert story.counts == {"succeeded": 5, "expired": 5}
    assert story.batch.ended_at == story.batch.expires_at


@pytest.mark.parametrize(("word", "rest"), [("cancel", "canceled"), ("expire", "expired")])
def test_a_share_may_be_done_already(word, rest):
    story = Story(processed_share=0.3)
    story.tell(word)
    story.tell("finish")
    assert story.counts == {"succeeded": 3, rest: 7}
    assert story.types == sorted(["succeeded", rest])


def test_progressive_counts():
    story = Story(progressive_counts=True, seconds=10, replies=with_keywords(failing(1)))
    seen = [story.batch.request_counts]
    for _ in range(2):
        story.tell("wait 5")
        seen.append(story.batch.request_counts)
    assert [(counts["processing"], counts["errored"]) for counts in seen] == [(10, 0), (5, 5), (0, 10)]


def test_timestamps():
    story = Story()
    batch = story.batch
    assert batch.expires_at == batch.created_at + timedelta(hours=24)
    assert (batch.ended_at, batch.archived_at, batch.cancel_initiated_at) == (None, None, None)
    story.tell("cancel")
    asked = story.batch.cancel_initiated_at
    assert batch.created_at < asked < story.world.clock.now()
    story.tell("cancel")
    assert story.batch.cancel_initiated_at == asked
    story.tell(f"wait {30 * DAY}")
    assert story.batch.ended_at == batch.expires_at
    assert story.batch.archived_at == batch.created_at + timedelta(days=29)


@pytest.mark.parametrize(
    ("words", "word", "message"),
    [
        ([], "delete", "In progress batches cannot be deleted. Consider canceling the batch instead."),
        (
            ["cancel"],
            "delete",
            "Batch `{id}` has not finished canceling. Please wait for cancellation to completed before deleting.",
        ),
        (["finish", "delete"], "cancel", "Message Batch {id} not found."),
        (["finish", "delete"], "delete", "Message Batch {id} not found."),
    ],
)
def test_refused(words, word, message):
    story = Story()
    for earlier in words:
        story.tell(earlier)
    with pytest.raises(Refusal) as caught:
        story.tell(word)
    assert caught.value.message == message.format(id=story.id)


def test_canceling_an_ended_batch_is_refused_where_the_rule_says_so():
    story = Story(cancel_ended="refused")
    story.tell("finish")
    with pytest.raises(Refusal, match="already ended"):
        story.tell("cancel")


@pytest.mark.parametrize("words", [[], ["cancel"], ["finish", "archive"], [f"wait {29 * DAY}"]])
def test_no_results(words):
    story = Story()
    for word in words:
        story.tell(word)
    with pytest.raises(Refusal, match=f"^Message Batch {story.id} has no available results.$"):
        story.world.results(story.id, workspace_id=MINE)


def test_results_last_until_29_days_after_creation():
    story = Story()
    story.tell(f"wait {20 * HOUR}")
    story.tell("finish")
    story.tell(f"wait {29 * DAY - 21 * HOUR}")
    assert len(story.world.results(story.id, workspace_id=MINE)) == 10
    story.tell(f"wait {HOUR}")
    assert story.batch.archived_at == story.batch.created_at + timedelta(days=29)


def test_each_request_has_one_line_and_the_order_is_lost():
    story = Story()
    story.tell("finish")
    lines = story.world.results(story.id, workspace_id=MINE)
    ids = [line.custom_id for line in lines]
    assert ids != story.batch.custom_ids
    assert sorted(ids) == sorted(story.batch.custom_ids)
    assert all(json.loads(line.raw)["custom_id"] == line.custom_id for line in lines)


def test_a_seed_repeats_ids_and_order():
    def ids(story):
        story.tell("finish")
        return story.id, [line.raw for line in story.world.results(story.id, workspace_id=MINE)]

    assert ids(Story()) == ids(Story())


def test_an_exception_of_replies_affects_only_its_batch():
    def replies(params, custom_id):
        if params["max_tokens"] == 1:
            raise ZeroDivisionError("no answer to that")
        return "Hello"

    story = Story(replies=with_keywords(replies), seconds=0)
    bad = story.world.create(REQUESTS_OF_ONE_TOKEN, workspace_id=MINE, terms=Terms("2023-06-01"))
    assert story.world.retrieve(story.id, workspace_id=MINE).processing_status == "ended"
    assert len(story.world.results(story.id, workspace_id=MINE)) == 10
    with pytest.raises(Refusal, match=r"^The emulator failed: ZeroDivisionError: no answer to that$"):
        story.world.retrieve(bad.id, workspace_id=MINE)
    page = story.world.page(workspace_id=MINE, limit=9, after_id=None, before_id=None)
    assert [(batch.id, batch.processing_status) for batch in page.data] == [
        (bad.id, "in_progress"),
        (story.id, "ended"),
    ]
    story.world.finish(story.id)
    with pytest.raises(ZeroDivisionError):
        story.world.finish(None)


def test_a_base_exception_of_replies_affects_only_its_batch():
    story = Story(replies=with_keywords(lambda params, custom_id: pytest.fail("not this one")), seconds=0)
    with pytest.raises(Refusal, match="Failed: not this one"):
        story.world.retrieve(story.id, workspace_id=MINE)
    with pytest.raises(pytest.fail.Exception, match="not this one"):
        story.world.pass_time(1)


def test_the_first_that_replies_raise_is_logged(caplog):
    story = Story(replies=with_keywords(lambda params, custom_id: 1 / 0), seconds=0)
    for _ in range(3):
        story.world.snapshots()
    assert [record.message for record in caplog.records] == [f"Batch {story.id} cannot be processed"]
    assert "ZeroDivisionError" in caplog.text


def test_replies_that_raise_leave_the_batch_as_it_was_and_may_be_asked_again():
    def replies(params, custom_id):
        if custom_id == "5" and not asked_again:
            raise ZeroDivisionError
        return custom_id

    asked_again = []
    story = Story(replies=with_keywords(replies))
    with pytest.raises(ZeroDivisionError):
        story.tell("finish")
    assert story.batch.processing_status == "in_progress"
    asked_again.append(True)
    story.tell("finish")
    assert story.counts == {"succeeded": 10}


def test_workspaces_do_not_see_each_other():
    story = Story()
    for verb in (story.world.retrieve, story.world.cancel, story.world.delete, story.world.results):
        with pytest.raises(Refusal, match=f"^Message Batch {story.id} not found.$"):
            verb(story.id, workspace_id="wrkspc_other")
    assert story.world.page(workspace_id="wrkspc_other", limit=9, after_id=None, before_id=None).data == []


PAGES = [
    # Ids are positions, the newest is 5: (after, before, limit) → the page, and whether there is more.
    ((None, None, 20), [5, 4, 3, 2, 1, 0], False),
    ((None, None, 6), [5, 4, 3, 2, 1, 0], False),
    ((None, None, 4), [5, 4, 3, 2], True),
    ((3, None, 2), [2, 1], True),
    ((2, None, 2), [1, 0], False),
    ((0, None, 2), [], False),
    ((None, 2, 2), [4, 3], True),
    ((None, 3, 2), [5, 4], False),
    ((None, 5, 2), [], False),
]


@pytest.mark.parametrize(("asked", "places", "has_more"), PAGES)
def test_pages(asked, places, has_more):
    story = Story()
    ids = [story.id] + [story.create() for _ in range(5)]
    story.create(workspace_id="wrkspc_other")
    after, before, limit = asked
    page = story.world.page(
        workspace_id=MINE,
        limit=limit,
        after_id=None if after is None else ids[after],
        before_id=None if before is None else ids[before],
    )
    assert ([ids.index(batch.id) for batch in page.data], page.has_more) == (places, has_more)


@pytest.mark.parametrize("name", ["after_id", "before_id"])
def test_a_cursor_must_be_a_batch_one_can_see(name):
    story = Story()
    cursors = {"after_id": None, "before_id": None} | {name: story.create(workspace_id="wrkspc_other")}
    with pytest.raises(Refusal, match=f"^{name}: "):
        story.world.page(workspace_id=MINE, limit=20, **cursors)


@pytest.mark.parametrize("verb", ["finish", "expire", "archive"])
def test_an_unknown_batch_is_an_error(verb):
    story = Story()
    with pytest.raises(LookupError, match="this emulator has no batch msgbatch_x"):
        getattr(story.world, verb)("msgbatch_x")


def test_only_an_ended_batch_can_be_archived():
    with pytest.raises(ValueError, match="is in_progress: only an ended batch can be archived"):
        Story().tell("archive")


def test_time_goes_forward_only():
    with pytest.raises(ValueError, match="backwards"):
        Story().tell("wait -1")


def test_wrong_params_touch_no_other_request():
    story = Story()
    requests = [{"custom_id": name, "params": params(max_tokens=0 if name == "b" else 9)} for name in "abc"]
    batch = story.world.create(requests, workspace_id=MINE, terms=Terms("2023-06-01"))
    story.world.finish(None)
    lines = story.world.results(batch.id, workspace_id=MINE)
    assert {line.custom_id: line.type for line in lines} == {"a": "succeeded", "b": "errored", "c": "succeeded"}
