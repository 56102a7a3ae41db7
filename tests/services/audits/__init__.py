"""Comparing what Anthropic lists with the rows."""
