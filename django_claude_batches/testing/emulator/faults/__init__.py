"""Faults: what a network, a proxy or the API itself may do to a call, scripted.

`script` says which requests meet a fault; `connection`, `refusals`, `objects` and `results` are the faults, each a
function of the `Turn` that it spoils. Their keyword-only parameters are the options that a script may give.
"""

from __future__ import annotations
