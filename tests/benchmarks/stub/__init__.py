"""A stub of the Message Batches API that is fast enough not to affect measurements.

The slow work (building 100,000 result lines, gzip, the framing of chunks) is done at the command `finish`, which is not
timed; an answer is one `sendall` of prepared bytes. `ClaudeEmulator` validates, shuffles and encodes while it answers:
a benchmark against it would measure the emulator. Standard library only.
"""
