"""Check, confirm and draft uploaded files."""
