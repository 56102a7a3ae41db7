"""The beginnings of journeys: batches that processes brought to a state, each with the next order."""

from __future__ import annotations

from collections.abc import Callable

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, RemoteBatch
from tests.harness.factories import draft
from tests.reliability.kills.crew import Crew, Order

Beginning = Callable[[Crew, int], list[MessageBatch]]


def drafts(crew: Crew, count: int) -> list[MessageBatch]:
    return [draft() for _ in range(count)]


def queued(crew: Crew, count: int) -> list[MessageBatch]:
    return [services.submit(batch) for batch in drafts(crew, count)]


def running(crew: Crew, count: int) -> list[MessageBatch]:
    batches = queued(crew, count)
    crew.tick()
    return batches


def ended(crew: Crew, count: int) -> list[MessageBatch]:
    batches = running(crew, count)
    crew.claude.finish()
    crew.site.let_time_come()
    crew.do("poll")
    return batches


def complete(crew: Crew, count: int) -> list[MessageBatch]:
    batches = ended(crew, count)
    crew.tick()
    return batches


def unanswered(fault: str) -> Beginning:
    """Queue batches, and send them with a fault that loses the answer."""

    def batches(crew: Crew, count: int) -> list[MessageBatch]:
        batches = queued(crew, count)
        crew.claude.fault(fault, times=count)
        crew.tick()
        return batches

    return batches


def killed_at(point: str) -> Beginning:
    """Queue batches, and kill the sender at this point."""

    def batches(crew: Crew, count: int) -> list[MessageBatch]:
        batches = queued(crew, count)
        for batch in batches:
            crew.points.arm(point)
            assert crew.status_of("advance", pk=batch.pk) < 0, f"{point} was not reached"
        return batches

    return batches


def wished(wish: Callable[[MessageBatch], MessageBatch], to: Beginning) -> Beginning:
    return lambda crew, count: [wish(batch) for batch in to(crew, count)]


def ordered(verb: str, to: Beginning) -> Callable[[Crew, int], list[Order]]:
    return lambda crew, count: [{"verb": verb, "pk": batch.pk} for batch in to(crew, count)]


# Setup of one batch just before the order.


def fault(name: str, **options: object) -> Callable[[Crew, Order], None]:
    return lambda crew, order: crew.claude.fault(name, **options)


def refused_key(crew: Crew, order: Order) -> None:
    services.resume("default")
    crew.claude.fault("key_refused", on="create")


def finished(crew: Crew, order: Order) -> None:
    crew.finish(order["pk"])


def finished_and_never_listed(crew: Crew, order: Order) -> None:
    finished(crew, order)
    RemoteBatch.objects.all().delete()


def finished_for_the_first_tick(crew: Crew, order: Order) -> None:
    finished(crew, order)
    AccountState.objects.all().delete()


def searched_once(crew: Crew, order: Order) -> None:
    crew.site.let_the_quiet_period_pass()
    crew.do(**order)
    crew.site.let_the_quiet_period_pass()
    crew.let_its_time_come(order)
