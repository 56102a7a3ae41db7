"""Rows and statements: leases, dispatch, keyset reading, COPY, the limit of a packet."""
