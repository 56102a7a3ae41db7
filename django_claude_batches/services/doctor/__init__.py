"""Check that the settings, the database, the workers and the accounts are ready for use."""
