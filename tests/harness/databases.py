"""Create databases on the servers of this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.requirements import Service

SQLITE, POSTGRES, MARIADB = "SQLite", "PostgreSQL", "MariaDB"
ALL = (POSTGRES, SQLITE, MARIADB)

# The drivers are installed by the extras `postgres` and `mariadb`.
DRIVERS = {POSTGRES: "psycopg", MARIADB: "MySQLdb"}

SERVERS = {
    POSTGRES: Service(POSTGRES, os.environ.get("POSTGRES_SERVER", "postgres://postgres@127.0.0.1:5432/postgres")),
    MARIADB: Service(MARIADB, os.environ.get("MARIADB_SERVER", "mysql://root@127.0.0.1:3306/mysql")),
}


def has_driver(kind: str) -> bool:
    return kind not in DRIVERS or find_spec(DRIVERS[kind]) is not None


@contextmanager
def new(kind: str, folder: Path, *, server: str = "", prefix: str = "reliability") -> Iterator[str]:
    """Make an empty database, on the server with this URL if one is given, and yield its URL; drop it at the end."""
    name = f"{prefix}_{secrets.token_hex(4)}"
    if kind == SQLITE:
        yield f"sqlite:///{folder}/{name}.sqlite3"
        return
    server = server or SERVERS[kind].url
    execute(kind, server, f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if kind == MARIADB else ""))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        execute(kind, server, f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == POSTGRES else ""))


def execute(kind: str, server: str, statement: str) -> None:
    """Execute one statement outside any transaction. The drivers are extras, so they are imported here."""
    if kind == POSTGRES:
        import psycopg

        with psycopg.connect(server.replace("postgres://", "postgresql://"), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
        return
    import MySQLdb

    parts = urlsplit(server)
    connection = MySQLdb.connect(host=parts.hostname, port=parts.port or 3306, user=parts.username, autocommit=True)
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()
