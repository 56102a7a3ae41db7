"""The sub-commands of `manage.py claude_batches`: each one's arguments, and what it does."""
