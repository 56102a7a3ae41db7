"""The notices above each page."""
