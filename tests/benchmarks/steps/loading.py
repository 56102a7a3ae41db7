"""The limit: load prepared rows of a table into another one with the same columns and indexes.

PostgreSQL: `psql \\copy` of a file of ready bytes. MariaDB: LOAD DATA LOCAL of such a file. SQLite: `executemany` of
prepared tuples in one transaction. Foreign keys are not copied: they are a choice of the package.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from tests.benchmarks.steps.clock import Clock  # noqa: E402

COPY = "dcb_benchmark_limit"


def on_sqlite(table: str) -> None:
    import sqlite3

    source = sqlite3.connect(settings.DATABASES["default"]["NAME"])
    rows = source.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
    made = [sql for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql > ''", [table])]
    with tempfile.TemporaryDirectory() as folder:
        target = sqlite3.connect(Path(folder) / "limit.sqlite3")
        for sql in made:
            target.execute(sql)
        target.commit()
        places = ", ".join("?" * len(rows[0]))
        clock = Clock()
        target.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        target.commit()
        clock.stop()
        clock.report(len(rows))
        target.close()


def on_postgres(table: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        psql(f"\\copy (SELECT * FROM {table} ORDER BY id) TO '{path}'")
        psql(f"DROP TABLE IF EXISTS {COPY}; CREATE TABLE {COPY} (LIKE {table} INCLUDING ALL); CHECKPOINT")
        clock = Clock()
        said = psql(f"\\copy {COPY} FROM '{path}'")
        rows = int(re.search(r"COPY (\d+)", said).group(1))  # type: ignore[union-attr]
        clock.report(rows, seconds=float(re.search(r"Time: ([\d.]+) ms", said).group(1)) / 1000)  # type: ignore[union-attr]
        psql(f"DROP TABLE {COPY}")


def psql(command: str) -> str:
    """Return the output of psql; its own clock excludes its start and the connection."""
    url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://")
    options = ("--no-psqlrc", "--set=ON_ERROR_STOP=1", url)
    script = f"\\timing on\n{command}\n"
    ran = subprocess.run(
        ["psql", *options], input=script, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    if ran.returncode:
        raise RuntimeError(f"psql: {ran.stderr}")
    return ran.stdout


def on_mariadb(table: str) -> None:
    import MySQLdb

    options = connection.get_connection_params() | {"local_infile": 1, "use_unicode": False, "charset": "utf8mb4"}
    database = MySQLdb.connect(**{key: value for key, value in options.items() if key not in {"conv", "use_unicode"}})
    cursor = database.cursor()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        columns = _write(path, table)
        cursor.execute(f"DROP TABLE IF EXISTS {COPY}")
        cursor.execute(f"CREATE TABLE {COPY} LIKE {table}")
        clock = Clock()
        cursor.execute(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {COPY} CHARACTER SET utf8mb4 ({columns})")
        loaded = cursor.rowcount
        database.commit()
        clock.stop()
        clock.report(loaded)
        cursor.execute(f"DROP TABLE {COPY}")


def _write(path: Path, table: str) -> str:
    """Write the rows in the format of LOAD DATA, and return the names of their columns."""
    with connection.cursor() as cursor, path.open("wb") as file:
        cursor.execute(f"SELECT * FROM {table} ORDER BY id")
        for row in cursor:
            file.write(b"\t".join(map(_field, row)) + b"\n")
        return ", ".join(column[0] for column in cursor.description)


def _field(value: Any) -> bytes:
    if value is None:
        return b"\\N"
    data = value if isinstance(value, bytes) else str(value).encode()
    for raw, escaped in ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\0", b"\\0")):
        data = data.replace(raw, escaped)
    return data


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    ways = {"sqlite": on_sqlite, "postgresql": on_postgres, "mysql": on_mariadb}
    ways[connection.vendor](parser.parse_args().table)
