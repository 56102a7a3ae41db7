"""Hostile outputs that contain markup, and rows with the longest texts: pages must show them as text."""
