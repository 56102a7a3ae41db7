"""Finding out what became of a create call without an answer."""
