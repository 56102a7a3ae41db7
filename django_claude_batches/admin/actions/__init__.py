"""Admin actions: declaration, confirmation, and execution."""
