"""Sending a batch at most once."""
