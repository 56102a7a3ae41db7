"""One process each: a step is set up, then timed, and prints one line of JSON."""
