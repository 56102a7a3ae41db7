"""Validate requests and encode them as they will be sent."""
