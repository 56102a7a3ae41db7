"""The admin of runs of jobs."""
