"""Poll, cancel and delete batches at Anthropic."""
