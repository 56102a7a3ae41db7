"""What the sub-commands share: arguments, output, exit codes."""
