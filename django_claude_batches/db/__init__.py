"""Database tools: leases, dispatch of due rows, keyset pages, COPY, and the packet limit of MySQL and MariaDB."""
