"""Uploaded files: checked, confirmed and drafted."""
