"""Filters, lists, permissions and how values look, for all pages."""
