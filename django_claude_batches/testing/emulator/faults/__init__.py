"""Faults: what a network, a proxy or the API itself may do to a call, scripted.

`script` says which requests meet a fault; `connection`, `refusals`, `objects`, `listings` and `results` are the faults,
each a function of the `Turn` that it spoils. Their keyword-only parameters are the options that a script may give.

`bends` says how one place of an answer is bent, `random_bends` draws such bends, and
`command_line` reads faults and bends from a command line. Bends are scripted as faults are: `answers` does what they
say, to the fields that `fields` knows, and `mutations` is what becomes of a value.
"""

from __future__ import annotations
