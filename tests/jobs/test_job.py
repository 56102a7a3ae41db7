"""What is said of a job when it is declared, and what its own methods add to the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.test.utils import isolate_apps
from pydantic import BaseModel, Field

from django_claude_batches import job_registry
from django_claude_batches.checks import check_jobs
from django_claude_batches.exceptions import InvalidTransition, Unaskable
from django_claude_batches.jobs import BatchJob
from django_claude_batches.models import DeliveryChunk
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Chapter, Parcel, Review
from tests.harness.shop import SCHEMA, deliver_all, effects, job, over, reviews

pytestmark = pytest.mark.usefixtures("no_jobs")


def declared(class_name: str, *bases: type, **members: Any) -> Any:
    return type(class_name, bases or (BatchJob,), members)


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("TagReviews", "tag-reviews"),
        ("Tag", "tag"),
        ("HTMLReader", "html-reader"),
        ("ReadHTML", "read-html"),
        ("Tag2Reviews", "tag2-reviews"),
        ("Tag_Reviews", "tag_reviews"),
    ],
)
def test_a_job_is_named_after_its_class(class_name: str, name: str) -> None:
    made = declared(class_name)
    assert made.name == name
    assert type(job_registry.find(name)) is made


def test_a_name_is_set_or_the_classs_own_and_never_inherited() -> None:
    parent = declared("DescribeBooks", name="books")
    child = declared("DescribeOldBooks", parent)
    assert (type(job_registry.find("books")), type(job_registry.find("describe-old-books"))) == (parent, child)


def test_an_abstract_job_is_no_job() -> None:
    class Describing(BatchJob, abstract=True):
        claude_model = "claude-haiku-4-5"

    assert (Describing.name, job_registry.find("describing"), job_registry.find("")) == ("", None, None)
    assert Describing not in [job for job, _problem in job_registry.problems()]
    assert declared("DescribeBooks", Describing).name == "describe-books"


def test_two_jobs_of_one_name_are_refused() -> None:
    first = declared("TagBooks")
    with pytest.raises(job_registry.NameTaken) as refused:
        declared("TagAllBooks", name="tag-books")
    assert str(refused.value) == (
        f'{__name__}.TagAllBooks and {__name__}.TagBooks are both named "tag-books": set another `name` on one of them.'
    )
    assert type(job_registry.find("tag-books")) is first


def test_a_class_that_is_loaded_again_replaces_itself() -> None:
    declared("TagBooks")
    again = declared("TagBooks")
    assert type(job_registry.find("tag-books")) is again


def rows(self: Any) -> Any:
    return Review.objects.all()


WHOLE = {"get_queryset": rows, "claude_model": "claude-haiku-4-5", "get_prompt": str}


@pytest.mark.parametrize(
    ("members", "problems"),
    [
        (WHOLE, []),
        ({**WHOLE, "name": "Tag_Books-2"}, []),
        ({**WHOLE, "name": "x" * 100}, []),
        ({"get_queryset": rows, "get_params": dict}, []),
        ({**WHOLE, "output_schema": SCHEMA}, []),
        ({**WHOLE, "name": "tag books"}, ["TagBooks.name is 'tag books': it may hold the characters a-z"]),
        ({**WHOLE, "name": "tägs"}, ["TagBooks.name is 'tägs': "]),
        ({**WHOLE, "name": ""}, ["TagBooks.name is '': "]),
        ({**WHOLE, "name": "x" * 101}, ["TagBooks.name is 'xxx"]),
        ({**WHOLE, "get_queryset": BatchJob.get_queryset}, ["TagBooks has no get_queryset()"]),
        ({**WHOLE, "claude_model": ""}, ["TagBooks.claude_model is not set"]),
        ({**WHOLE, "get_prompt": BatchJob.get_prompt}, ["TagBooks has neither get_prompt() nor get_params()"]),
        ({**WHOLE, "output_schema": {"type": "no such type"}}, ["TagBooks.output_schema: "]),
        ({**WHOLE, "output_schema": "an object"}, ["TagBooks.output_schema: "]),
        ({}, ["TagBooks has no get_queryset()", "TagBooks.claude_model is not set", "TagBooks has neither "]),
    ],
)
def test_what_is_wrong_with_a_declaration_is_said(members: dict[str, Any], problems: list[str]) -> None:
    made = declared("TagBooks", **members)
    found = made.problems()
    assert len(found) == len(problems), found
    for said, expected in zip(found, problems, strict=True):
        assert said.startswith(expected)
    messages = [message for message in check_jobs(app_configs=None) if message.obj is made]
    assert [message.msg for message in messages] == found
    assert {(message.id, message.level) for message in messages} <= {("django_claude_batches.E007", 40)}


def test_patterns_that_nothing_can_interrupt_are_warned_of() -> None:
    class Tags(BaseModel, regex_engine="python-re"):
        tags: str = Field(pattern="^(a|aa)+$")

    made = declared("TagBooks", **WHOLE, output_schema=Tags)
    (warning,) = [message for message in check_jobs(app_configs=None) if message.obj is made]
    assert (warning.id, warning.level) == ("django_claude_batches.W006", 30)
    assert warning.msg.startswith("TagBooks.output_schema: Tags has patterns that are searched for with Python's re")


@pytest.mark.django_db
@pytest.mark.database
class TestRedeliver:
    def test_hands_all_answers_to_the_job_again(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        tagging = job()
        batch = over(tagging.start(), claude).batches.get()
        assert tagging.redeliver(batch, by=User.objects.create(username="ada")) is batch
        deliver_all()
        assert effects() == [2, 2, 2]
        assert batch.events.get(what="redelivered").by_name == "ada"
        assert len(claude.batches) == 1

    def test_refuses_what_is_another_jobs(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        batch = over(job().start(), claude).batches.get()
        with pytest.raises(InvalidTransition, match='its kind is "tag-reviews", and this job is "tag-books"'):
            job("tag-books").redeliver(batch)
        assert not DeliveryChunk.objects.undone().exists()
        assert not batch.events.filter(what="redelivered").exists()


@pytest.mark.parametrize(
    ("queryset", "told"),
    [
        (Chapter.objects.all, "library.Chapter, whose primary key path may have up to 200 characters"),
        (lambda: Chapter.objects.filter(books__isnull=True).only("text"), "up to 200 characters"),
        (Review.objects.all, ""),
        (Parcel.objects.all, ""),
        (lambda: Chapter.objects.filter(path=Chapter.objects.get().path), ""),  # it would query the database
        (lambda: Chapter.objects.all() if Chapter.objects.exists() else None, ""),
        (list, ""),
    ],
)
def test_a_key_that_may_be_too_long_is_seen_without_a_database(queryset: Callable[[], Any], told: str) -> None:
    job(get_queryset=lambda self: queryset())
    found = [(message.id, message.msg) for message in check_jobs(app_configs=None)]
    assert len(found) == bool(told)
    for identifier, words in found:
        assert (identifier, told in words) == ("django_claude_batches.W006", True), words
        assert words.endswith("a row whose key has more than 64 cannot be asked.")


@isolate_apps("tests.harness.library")
def test_a_key_that_is_another_rows() -> None:
    class Footnote(models.Model):  # noqa: DJ008
        chapter = models.OneToOneField(Chapter, on_delete=models.CASCADE, primary_key=True)
        objects = models.Manager["Footnote"]()

        class Meta:
            app_label = "library"

    class Note(models.Model):  # noqa: DJ008
        text = models.TextField(primary_key=True)
        objects = models.Manager["Note"]()

        class Meta:
            app_label = "library"

    job(get_queryset=lambda self: Footnote.objects.all())
    job("notes", get_queryset=lambda self: Note.objects.all())
    notes, footnotes = [message.msg for message in check_jobs(app_configs=None)]
    assert "whose primary key chapter may have up to 200 characters" in footnotes
    assert "whose primary key text may have any number of characters" in notes


@pytest.mark.django_db
@pytest.mark.database
def test_what_it_says_of_a_key_comes_true_and_the_database_is_there_afterwards() -> None:
    job(get_queryset=lambda self: Chapter.objects.filter(pk__in=[Chapter.objects.get().pk]))
    assert check_jobs(app_configs=None) == []
    Chapter.objects.create(path="x" * 65, text="…")
    with pytest.raises(Unaskable, match="primary key has more than 64 characters"):
        job(get_queryset=lambda self: Chapter.objects.all(), get_prompt=lambda self, row: row.text).dry_run()
