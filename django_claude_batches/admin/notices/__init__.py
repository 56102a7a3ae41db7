"""What is said above each page of the admin."""
