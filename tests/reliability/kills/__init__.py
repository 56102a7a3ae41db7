"""Processes that are killed or suspended."""
