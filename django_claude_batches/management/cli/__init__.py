"""Shared by the sub-commands: arguments, output, exit codes, and the loop of `tick`."""
