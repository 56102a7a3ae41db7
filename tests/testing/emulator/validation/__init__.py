"""What the API refuses at once, and when the batch ends."""
