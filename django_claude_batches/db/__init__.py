"""Database tools: leases, dispatch, keyset pages, COPY, and the packet limit of MySQL."""
