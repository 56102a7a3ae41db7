"""Requests as they are drafted."""
