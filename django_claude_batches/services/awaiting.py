"""What a download is to bring, by custom_id: kept in memory, so that no line has to ask the database."""

from __future__ import annotations

from array import array

from django_claude_batches.models import BatchResult, MessageBatch

PAGE = 2000
"""Rows that are read at a time."""

AWAITED, STORED, CAME = range(3)
"""Nothing of it is known; its result was a row before this download; a line of this download answered it."""


class Awaited:
    """The custom_ids of a batch, each with a number, at which `states` has its state.

    `pks` has the request of each; 0 where there is none, and where all results are stored.

    In some 35 bytes each. A dictionary takes 150, which for 100,000 is more than all else of a download.
    """

    def __init__(self, batch: MessageBatch, *, using: str) -> None:
        self.pks, self.states = array("q"), bytearray()
        self._ids, self._ends = bytearray(), array("i", [0])
        self._slots = array("i", bytes(4 * 2 ** (2 * batch.request_count).bit_length()))
        """A hash table: the number plus 1 of the custom_id that belongs there, or was pushed there by another."""
        # In one look each: what was just written has no statistics yet, by which pages of it would be found. A driver
        # that buffers (MySQL's, or PostgreSQL's without server-side cursors) holds 100,000 short rows for it: 16 MB.
        answered = 0
        results = BatchResult.objects.using(using).filter(batch=batch).values_list("custom_id", "request")
        for custom_id, request in results.iterator(PAGE):
            self._append(custom_id, 0, STORED)
            answered += request is not None
        if answered < batch.request_count:
            has_stored = bool(self.pks)
            requests = batch.requests.using(using).order_by().values_list("custom_id", "pk")
            for custom_id, pk in requests.iterator(PAGE):
                if has_stored:
                    self.pks[self.number(custom_id)] = pk
                else:
                    self._append(custom_id, pk, AWAITED)

    def number(self, custom_id: str) -> int:
        """Give the number of this custom_id; of one that is not known, a new one."""
        slots, mask = self._slots, len(self._slots) - 1
        slot, wanted = hash(custom_id) & mask, custom_id.encode()
        while number := slots[slot]:
            if self._ids[self._ends[number - 1] : self._ends[number]] == wanted:
                return number - 1
            slot = (slot + 1) & mask
        self._append(custom_id, 0, AWAITED)
        return len(self.pks) - 1

    def _append(self, custom_id: str, pk: int, state: int) -> None:
        self.pks.append(pk)
        self.states.append(state)
        self._ids += custom_id.encode()
        self._ends.append(len(self._ids))
        if 2 * len(self.pks) > len(self._slots):
            self._slots = array("i", bytes(16 * len(self._slots)))
            for number in range(len(self.pks)):
                self._place(self._ids[self._ends[number] : self._ends[number + 1]].decode(), number)
        else:
            self._place(custom_id, len(self.pks) - 1)

    def _place(self, custom_id: str, number: int) -> None:
        slots, mask = self._slots, len(self._slots) - 1
        slot = hash(custom_id) & mask
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = number + 1
