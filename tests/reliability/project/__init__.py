"""The project whose processes are killed."""
