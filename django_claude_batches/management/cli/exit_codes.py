"""The exit codes of the command, for scripts."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    FAILED = 1
    WRONG_USAGE = 2
    TIMED_OUT = 3
    NEEDS_A_PERSON = 4
    INTERRUPTED = 130


LEGEND = """\
exit codes:
  0    done; for wait: each batch is complete, nothing is missing, and the receivers took it
  1    refused or failed; the reason is on standard error, and nothing was changed by a refusal
  2    wrong usage
  3    wait, run --wait: the time was over, or it was interrupted; the batches and the run go on
  4    a batch that was named needs a person (wait, status, reconcile): not confirmed, not received, refused, lost,
       abandoned, taken back, complete with something missing or with a receiver that failed, or its account is paused;
       run --wait: the run is paused or stuck, or a handler raised; audit: something was found that requires one;
       doctor: a problem was found
  130  interrupted
"""
