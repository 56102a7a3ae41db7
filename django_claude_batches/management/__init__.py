"""The command line: `manage.py claude_batches`."""
