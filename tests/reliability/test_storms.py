"""A server that refuses everything for an hour: how often it is asked all the same, counted in its own log.

The clock is the test's. 120 ticks, 30 s apart, as beat makes them, and each does what is due.

What may be asked in that hour follows from the back-off (`services.delays`) and the client's two retries of a read:

- All that runs at an account is asked for with one listing; where that fails, again after 60 s, a fifth more or less.
  Ticks being 30 s apart, that is once a minute at most: 61 listings.
- A batch that waits to be sent asks for its baseline, one whose results are fetched for these: again after 30 s, then
  1, 2, 4 … minutes, a fifth more or less. With ticks 30 s apart the earliest times are 0, 0.5, 1.5, 3.5, 7, 13.5, 26.5
  and 52.5 minutes: 8 times.
- An unconfirmed batch is searched for after a tenth of its age, at least 30 s: less than 45 times.

Each of these is one call, and up to 3 requests. The `retry-after` that the server gives is respected: where it is
longer than a minute, a call is one request.
"""

from __future__ import annotations
