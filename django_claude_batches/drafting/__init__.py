"""A request as it is drafted: what a batch refuses, and the bytes that will be sent."""
