"""Purge and erase stored data."""
