from __future__ import annotations

import pytest

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import InvalidRequest, InvalidTransition, NotFoundError, NotOurs
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, item, running
from tests.harness.relay import Relay, counting, lose_answer

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def elsewhere(claude: ClaudeEmulator, count: int = 3) -> str:
    client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
    created = client.create([item(number) for number in range(count)])
    client.close()
    return created["id"]


def lost(claude: ClaudeEmulator, count: int = 3) -> MessageBatch:
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", lose_answer, times=1)
        batch = services.advance(services.submit(draft(count)))
    assert batch.state == State.UNCERTAIN
    return batch


class TestMadeElsewhere:
    def test_a_running_batch_is_mirrored_and_fetched(self, claude: ClaudeEmulator) -> None:
        batch = services.adopt(elsewhere(claude), label="From the script")
        assert (batch.state, batch.request_count, batch.label) == (State.IN_PROGRESS, 3, "From the script")
        claude.finish()
        services.advance(batch)
        assert (batch.state, batch.missing_count) == (State.INGESTED, 0)
        assert set(batch.results.values_list("custom_id", flat=True)) == {"r-0", "r-1", "r-2"}
        assert batch.results.filter(request=None).count() == 3

    @pytest.mark.parametrize("ended", [True, False])
    def test_one_that_ended_or_is_canceling(self, claude: ClaudeEmulator, ended: bool) -> None:
        remote_id = elsewhere(claude)
        if ended:
            claude.finish()
        else:
            client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
            client.cancel(remote_id)
            client.close()
        batch = services.adopt(remote_id)
        assert batch.state == (State.ENDED if ended else State.CANCELING)

    def test_twice_is_once(self, claude: ClaudeEmulator) -> None:
        remote_id = elsewhere(claude)
        assert services.adopt(remote_id) == services.adopt(remote_id)

    def test_an_unknown_id_and_a_wrong_one(self, claude: ClaudeEmulator) -> None:
        with pytest.raises(NotFoundError, match="not found"):
            services.adopt("msgbatch_01unknown")
        with pytest.raises(InvalidRequest, match="msgbatch_"):
            services.adopt("../../etc")
        assert not MessageBatch.objects.exists()


class TestForABatch:
    def test_the_tag_proves_it(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude)
        elsewhere(claude)
        claude.finish()
        services.adopt(claude.batches[0].id, for_batch=batch)
        attempt = batch.attempts.get()
        assert (attempt.remote_id, attempt.outcome) == (claude.batches[0].id, "accepted")
        services.advance(batch)
        assert (batch.state, batch.results.filter(request__isnull=False).count()) == (State.INGESTED, 3)
        assert services.adopt(claude.batches[0].id, for_batch=batch) == batch

    def test_a_stranger_with_the_same_count_is_refused(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude)
        stranger = elsewhere(claude)
        claude.finish()
        with pytest.raises(NotOurs, match="bear no tag of ours"):
            services.adopt(stranger, for_batch=batch)
        batch.refresh_from_db()
        assert batch.state == State.UNCERTAIN

    def test_counts_say_nothing(self, claude: ClaudeEmulator) -> None:
        """Neither for it nor against it: a batch of another size is refused by its results, when it has ended."""
        batch, other = lost(claude), elsewhere(claude, 5)
        with pytest.raises(NotOurs, match="Try again when it has ended"):
            services.adopt(other, for_batch=batch)
        claude.finish()
        with pytest.raises(NotOurs, match="bear no tag of ours"):
            services.adopt(other, for_batch=batch)
        with Relay(claude.url) as relay:
            relay.on("GET", claude.batches[0].id, counting(lambda counts: dict.fromkeys(counts, 0)))
            services.adopt(claude.batches[0].id, for_batch=batch)
        assert batch.anthropic_id == claude.batches[0].id

    def test_before_it_has_ended_nothing_can_be_proved(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude)
        with pytest.raises(NotOurs, match="Try again when it has ended"):
            services.adopt(claude.batches[0].id, for_batch=batch)

    def test_a_row_that_only_adopted_it_gives_it_up(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude)
        claude.finish()
        other = services.advance(services.adopt(claude.batches[0].id))
        assert other.state == State.INGESTED
        services.advance(services.adopt(claude.batches[0].id, for_batch=batch))
        assert (batch.state, batch.results.filter(request__isnull=False).count()) == (State.INGESTED, 3)
        assert list(MessageBatch.objects.all()) == [batch]
        assert batch.events.filter(what="took_over").count() == 1

    def test_a_row_that_submitted_it_keeps_it(self, claude: ClaudeEmulator) -> None:
        batch, other = lost(claude), running()
        claude.finish()
        with pytest.raises(NotOurs, match=f"is batch #{other.pk} .*, which submitted it"):
            services.adopt(str(other.anthropic_id), for_batch=batch)

    @pytest.mark.parametrize("state", [s for s in State if s not in {"uncertain", "held", "abandoned"}])
    def test_only_for_what_may_turn_up(self, claude: ClaudeEmulator, state: State) -> None:
        with pytest.raises(InvalidTransition, match="Sent, not confirmed, Not received, Abandoned"):
            services.adopt("msgbatch_x", for_batch=in_state(state))

    def test_another_accounts_key_does_not_see_it(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = lost(claude)
        claude.finish()
        claude.add_key("sk-ant-other", workspace_id="wrkspc_other")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-other")
        with pytest.raises(NotFoundError):
            services.adopt(claude.batches[0].id, for_batch=batch)


def test_an_adopted_batch_can_be_canceled_and_deleted_like_any_other(claude: ClaudeEmulator) -> None:
    batch = services.adopt(elsewhere(claude))
    services.advance(services.delete_remote(batch))
    claude.finish()
    services.advance(batch)
    assert batch.state == State.INGESTED
    assert claude.batches[0].deleted
    assert running(1).pk
