"""Filters, lists, permissions and how values look, on all pages."""
