"""The sub-commands of `manage.py claude_batches`: their arguments and what they do."""
