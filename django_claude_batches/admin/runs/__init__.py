"""The admin of jobs: starting one, the list of its runs, and a run's page and actions."""
