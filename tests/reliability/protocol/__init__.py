"""The protocol as a state machine: the real services, the emulator over real HTTP, and a clock that the test moves.

`clock` is time, `network` the way to the server and what goes wrong on it, `server` what it may answer although nothing
is wrong, `world` all of it together, `invariants` what must hold after every step, and `machine` the steps.
"""
