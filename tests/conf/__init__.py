"""Settings, and that no secret of theirs gets out."""
