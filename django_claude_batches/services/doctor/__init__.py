"""Checking that everything that batches need is there."""
