"""What is said above each page."""
