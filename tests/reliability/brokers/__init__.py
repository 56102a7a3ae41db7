"""Brokers, beats and clocks that fail."""
