"""Run jobs: draft rows into batches, submit them, deliver results, retry what failed.

A run's progress is stored on its row; each step is one transaction, under a lease.
"""
