"""Calling a job's handlers with its results."""
