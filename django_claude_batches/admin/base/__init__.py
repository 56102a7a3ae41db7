"""Shared by all pages: filters, lists, permissions and how values are displayed."""
