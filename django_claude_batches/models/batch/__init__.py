"""The model `MessageBatch`, and what it is made of."""
