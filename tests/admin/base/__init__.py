"""Filters, lists, permissions and the display of values, on all pages."""
