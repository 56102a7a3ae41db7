"""Fetch the results of a batch, and store them as rows."""
