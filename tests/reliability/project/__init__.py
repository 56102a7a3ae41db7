"""The project whose processes get killed."""
