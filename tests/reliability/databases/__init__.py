"""Database servers that go away, poolers, and several processes at one database."""
