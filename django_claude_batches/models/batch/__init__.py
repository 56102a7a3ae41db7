"""The model `MessageBatch`, its querysets, state machine and constraints."""
