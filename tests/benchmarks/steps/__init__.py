"""The steps, each run in a process that sets up, measures, and prints one line of JSON."""
