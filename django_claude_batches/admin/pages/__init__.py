"""The ModelAdmin classes that all pages are made of."""
