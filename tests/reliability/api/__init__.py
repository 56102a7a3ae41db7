"""Servers of the API that are slow, or refuse everything."""
