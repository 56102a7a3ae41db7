"""Mirroring what Anthropic says of a batch that is there."""
