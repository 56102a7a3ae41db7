"""Deleting what is not to be kept."""
