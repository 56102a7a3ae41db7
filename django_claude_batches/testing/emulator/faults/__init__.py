"""Scripted faults: failures of the network, of a proxy or of the API itself.

`script` decides to which requests a fault applies. `connection`, `refusals`, `objects`, `listings`, `results`, `values`
and `oversized` have the faults, each a function of a `Turn`; its keyword-only parameters are the fault's options.

A bend is a fault that changes one place of an answer. `bends` declares it, `answers` applies it to the fields that
`fields` lists, and `mutations` changes the values. `random_bends` draws bends. `command_line` parses faults and bends.
"""

from __future__ import annotations
