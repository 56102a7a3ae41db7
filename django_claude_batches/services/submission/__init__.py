"""Send a batch at most once."""
