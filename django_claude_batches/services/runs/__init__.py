"""Runs of jobs: rows are drafted into batches, answers delivered to the job's handlers, and failed rows retried.

The run's row says how far it is; each step is one transaction, under a lease.
"""
