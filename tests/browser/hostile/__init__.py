"""Answers written to be taken for markup, and rows with the longest texts: pages show them as text."""
