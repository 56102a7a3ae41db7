"""Mirroring what Anthropic says of a batch."""
