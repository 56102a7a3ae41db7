"""Leases, keyset reading, and the limits of each database."""
