"""The admin of requests and results."""
