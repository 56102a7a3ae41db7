"""The admin of uploaded files."""
