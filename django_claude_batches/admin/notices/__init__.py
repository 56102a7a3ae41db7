"""The notices above each page of the admin."""
