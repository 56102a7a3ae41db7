"""Runs of jobs: rows into batches, answers to the job's handlers, what failed tried again.

A run's row says how far it is; each step is one transaction, under a lease.
"""
