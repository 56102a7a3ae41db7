"""Compare the batches that Anthropic lists with the rows in the database."""
