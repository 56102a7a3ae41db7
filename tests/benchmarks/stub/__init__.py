"""A stub of the Message Batches API that is never what a client waits for.

All that takes time (building 100,000 result lines, gzip, the framing of chunks) is done when the benchmark says
`finish`, before any clock runs; serving is one `sendall` of ready bytes. `ClaudeEmulator` is the API with all its
rules, and judges, shuffles and encodes as it serves: a benchmark against it would measure it. Standard library only.
"""
