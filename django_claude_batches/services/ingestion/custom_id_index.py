"""Index the requests of a batch by custom_id in memory, so that no result line needs a query.

This is a hash table of about 35 bytes per custom_id; a dict takes 130. A dict exceeds the memory bounds of
tests/benchmarks: an ingest of 100,000 results on PostgreSQL then takes 12 MB more than one of 10,000 instead of 3
(bound: 5), and 26 MB beyond its base instead of 16 (bound: 25).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

from django_claude_batches.db.keyset import pages
from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.wire import MAX_REQUESTS

# Rows that are read at a time; they are short, and of what was just written PostgreSQL may sort the rest anew for each
# page: it has no statistics of it yet.
PAGE = 10_000

# Nothing of it is known; its result was a row before this download; a line of this download answered it.
EXPECTED, STORED, RECEIVED = range(3)


class CustomIdIndex:
    """The custom_ids of a batch. Each has a number, which is the index of its entry in `states` and `pks`.

    `pks` has the primary keys of the requests; 0 if there is none. `erased` has the numbers of erased requests, whose
    answers are not stored.
    """

    def __init__(self, batch: MessageBatch, *, using: str) -> None:
        self.pks, self.states = array("q"), bytearray()
        self.erased: set[int] = set()
        self._ids, self._ends = bytearray(), array("i", [0])
        # The hash table: the number plus 1 of the custom_id that belongs there, or was pushed there by another.
        self._slots = _empty_slots(2 ** (2 * min(batch.request_count, MAX_REQUESTS)).bit_length())
        results = BatchResult.objects.using(using).filter(batch=batch)
        for page in pages(results, "custom_id", "request", size=PAGE):
            self._add(page, STORED)
        stored = len(self.pks)
        if stored - self.pks.count(0) < batch.request_count:
            # By position, in which they were written: in the order of their custom_ids each row is a look elsewhere.
            for page in pages(batch.requests.using(using), "position", "custom_id", "pk", "erased_at", size=PAGE):
                requests = ((custom_id, pk) for _position, custom_id, pk, _erased_at in page)
                if stored:
                    for custom_id, pk in requests:
                        self.pks[self.number(custom_id.encode())] = pk
                else:
                    self._add(requests, EXPECTED)
                erased = (custom_id for _position, custom_id, _pk, erased_at in page if erased_at is not None)
                self.erased.update(self.number(custom_id.encode()) for custom_id in erased)

    def number(self, custom_id: bytes) -> int:
        """Return the number of this custom_id; a new number if it is unknown."""
        ids, ends, slots = self._ids, self._ends, self._slots
        mask = len(slots) - 1
        slot = hash(custom_id) & mask
        while number := slots[slot]:
            if ids[ends[number - 1] : ends[number]] == custom_id:
                return number - 1
            slot = (slot + 1) & mask
        self._add([(custom_id.decode(), None)], EXPECTED)
        return len(self.pks) - 1

    def _add(self, rows: Iterable[tuple[Any, ...]], state: int) -> None:
        """Add custom_ids that have no number yet."""
        # Names of its own for what each row needs: a download begins with as many rows as it has lines.
        pks, states, ids, ends, slots = self.pks, self.states, self._ids, self._ends, self._slots
        for custom_id, pk in rows:
            name = custom_id.encode()
            if 2 * len(ends) > len(slots):
                slots = self._slots = self._grown()
            slots[_free_slot(slots, name)] = len(ends)
            ends.append(len(ids) + len(name))
            ids += name
            pks.append(pk or 0)
            states.append(state)

    def _grown(self) -> array[int]:
        slots = _empty_slots(4 * len(self._slots))
        for number in range(1, len(self._ends)):
            slots[_free_slot(slots, bytes(self._ids[self._ends[number - 1] : self._ends[number]]))] = number
        return slots


def _empty_slots(size: int) -> array[int]:
    return array("i", bytes(4 * size))


def _free_slot(slots: array[int], custom_id: bytes) -> int:
    """Return the slot for a new custom_id: the slot of its hash, or the next free one."""
    mask = len(slots) - 1
    slot = hash(custom_id) & mask
    while slots[slot]:
        slot = (slot + 1) & mask
    return slot
