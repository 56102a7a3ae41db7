"""Create a week's batches of a shop, with the same rows, words and times in each run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, State, SubmitAttempt
from django_claude_batches.testing import ClaudeEmulator, Failure, Reply
from tests.browser import office_jobs
from tests.browser.day import Day
from tests.harness.library.models import Book

PRODUCTS = (
    "Merino crew",
    "Rain shell",
    "Wool socks",
    "Linen shirt",
    "Trail pack",
    "Canvas tote",
    "Down vest",
    "Beanie",
)
FEATURES = (
    "double-knit cuffs",
    "taped seams",
    "a gusseted toe",
    "mother-of-pearl buttons",
    "a rain cover",
    "a zip pocket",
)

# 40 of the catalog's 412 requests fail, in three kinds.
FAILURES = {
    **dict.fromkeys(range(3, 412, 17), Failure("overloaded_error", "Overloaded", while_running=True)),
    **dict.fromkeys(range(5, 412, 47), Failure("api_error", "Internal server error", while_running=True)),
    **dict.fromkeys(range(11, 77, 10), Failure("invalid_request_error", "messages.0.content: image exceeds 5 MB")),
}

# Answers of the catalog that stop at `max_tokens`.
CUT = range(1, 412, 45)


def answer(params: dict[str, Any], custom_id: str, *, index: int) -> str | Reply | Failure:
    """Answer as Claude would; some requests of the catalog fail."""
    product, feature = PRODUCTS[index % len(PRODUCTS)], FEATURES[index % len(FEATURES)]
    if params.get("system", "").startswith(office_jobs.SYSTEM):
        return office_jobs.answer(custom_id)
    if "tickets" in params["system"]:
        return f'{{"topic": "delivery", "urgency": {index % 5 + 1}, "order": "A-{1000 + index}"}}'
    if "catalog" not in params["system"]:
        return f"Warm, soft and made to last: our customers would buy the {product} again."
    if index in FAILURES:
        return FAILURES[index]
    text = (
        f"The {product} is made for days that begin cold and end warm. With {feature} and a fit that leaves room for a "
        f"layer, it goes from the trail to the office without a change.\n\nCare: wash cold, dry flat."
    )
    usage = {"cache_read_input_tokens": 1830, "input_tokens": 96 + index % 40, "output_tokens": len(text) // 4}
    return Reply(
        text[:180] if index in CUT else text, stop_reason="max_tokens" if index in CUT else "end_turn", usage=usage
    )


def requests(count: int, system: str, ask: str, **params: Any) -> Iterator[dict[str, Any]]:
    for index in range(count):
        product, feature = PRODUCTS[index % len(PRODUCTS)], FEATURES[index % len(FEATURES)]
        content = ask.format(product=product, feature=feature, number=1000 + index)
        yield {
            "custom_id": f"{1001 + index}-{product.lower().replace(' ', '-')}",
            "params": {
                "model": "claude-sonnet-5",
                "max_tokens": 300,
                "system": system,
                "messages": [{"role": "user", "content": content}],
                **params,
            },
        }


class Office:
    """The users, and their batches, one for each state or form of the pages."""

    def __init__(self, claude: ClaudeEmulator, day: Day) -> None:
        self._claude, self._day = claude, day
        self.ada = User.objects.create_superuser("ada", first_name="Ada", last_name="Marsh")
        self.grace = User.objects.create_user("grace", first_name="Grace", is_staff=True)

    def work(self) -> None:
        """Create the batches of the days before, oldest first."""
        self.newsletter = self._complete(self._newsletter(), minutes=25)
        self._day.let_pass(hours=20)
        self.week_46 = self._submitted(self._tickets(340, "Support tickets, week 46"))
        self._day.let_pass(minutes=11)
        services.cancel(self.week_46, by=self.grace)
        self._advance(self.week_46, finish=True)
        self.refused = self._refused()
        self._day.let_pass(hours=1)
        self.catalog = self._complete(self._catalog(), minutes=38)
        self._day.let_pass(minutes=6)
        self.retry = services.retry(self.catalog, by=self.ada)
        self.unconfirmed = self._unconfirmed()
        self._day.let_pass(minutes=14)
        self.running = self._submitted(self._tickets(1250, "Support tickets, week 47"))
        self._day.let_pass(minutes=9)
        self.queued = services.submit(self._newsletter("Product questions, Danish", 64, "translation"), by=self.grace)
        self.draft = self._newsletter("Review tags, nightly", 86, "review-tags")
        self._run_jobs()
        AccountState.objects.update_or_create(alias="default", defaults={"last_tick_at": timezone.now()})

        for attempt in SubmitAttempt.objects.all():  # random, and different in each picture otherwise
            SubmitAttempt.objects.filter(pk=attempt.pk).update(tag=f"k7qx{attempt.pk:02}ma{attempt.batch_id:02}rwe")

    def _run_jobs(self) -> None:
        """Create one finished run, one paused run, and one that waits for Anthropic."""
        office_jobs.write_reviews(240)
        self.run = office_jobs.finished_run(self._claude, self.grace)
        office_jobs.write_reviews(90)
        self.moving_run = services.start_job("shop-review-tags", label="Reviews of Monday", by=self.ada)
        services.advance_run(self.moving_run)
        Book.objects.bulk_create(Book(title=title) for title in ("A Winter in Knots", "", "The Ferry to Aarhus"))
        self.paused_run = services.start_job("shop-book-summaries", label="Spring list", by=self.ada)
        services.advance_run(self.paused_run)

    def _catalog(self) -> MessageBatch:
        system = "You write for the catalog of an outdoor shop. Two short paragraphs, no superlatives."
        asked = requests(412, system, "Describe the {product}, which has {feature}.")
        label = "Product descriptions, autumn catalog"
        return MessageBatch.objects.create_draft(asked, label=label, kind="catalog", created_by=self.ada)

    def _tickets(self, count: int, label: str) -> MessageBatch:
        system = "You sort tickets of a shop by topic and urgency, as JSON."
        ask = "Ticket {number}: my {product} has not arrived, and it should have {feature}."
        asked = requests(count, system, ask, model="claude-haiku-4-5", max_tokens=128)
        return MessageBatch.objects.create_draft(asked, label=label, kind="tickets", created_by=self.grace)

    def _newsletter(
        self, label: str = "Newsletter, subject lines", count: int = 24, kind: str = "newsletter"
    ) -> MessageBatch:
        system = "You write subject lines for a newsletter."
        asked = requests(count, system, "One line about the {product} with {feature}.", max_tokens=64)
        return MessageBatch.objects.create_draft(asked, label=label, kind=kind, created_by=self.ada)

    def _submitted(self, batch: MessageBatch) -> MessageBatch:
        services.submit(batch, by=batch.created_by)
        self._day.let_pass(seconds=20)
        return services.advance(batch)

    def _complete(self, batch: MessageBatch, *, minutes: float) -> MessageBatch:
        self._submitted(batch)
        self._day.let_pass(minutes=minutes)
        return self._advance(batch, finish=True)

    def _advance(self, batch: MessageBatch, *, finish: bool) -> MessageBatch:
        services.advance(batch)
        if finish:
            self._claude.finish(batch.anthropic_id)
        self._day.let_pass(minutes=2)
        services.advance(batch)
        assert batch.state == State.INGESTED, (batch.state, batch.last_error)
        return batch

    def _refused(self) -> MessageBatch:
        """Created directly, because the emulator accepts every beta."""
        batch = self._newsletter("Contracts, clause summaries", 12, "contracts")
        words = "Unexpected value(s) `output-999k` for the `anthropic-beta` header."
        MessageBatch.objects.filter(pk=batch.pk).update(state=State.REJECTED, betas=["output-999k"], last_error=words)
        batch.log_event("submitted", by=self.ada)
        batch.log_event("refused", words)
        return batch

    def _unconfirmed(self) -> MessageBatch:
        self._claude.fault("never_lands")
        return self._submitted(self._newsletter("Alt texts, product photos", 150, "alt-texts"))
