"""Scripted faults: what a network, a proxy or the API itself may do to a call.

`script` decides which requests meet a fault; `connection`, `refusals`, `objects`, `listings`, `results`, `values` and
`oversized` are the faults, each a function of a `Turn`. Their keyword-only parameters are the options of a script.

`bends` declares how one place of an answer is bent, `random_bends` draws bends, and `command_line` parses faults and
bends. Bends are scripted as faults are: `answers` applies them to the fields that `fields` knows, and `mutations`
changes the values.
"""

from __future__ import annotations
