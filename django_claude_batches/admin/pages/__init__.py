"""The base classes of all ModelAdmin pages."""
