"""The package's top-level modules."""
