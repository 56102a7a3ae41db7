"""Create or drop a PostgreSQL database for this run: `create NAME` or `drop NAME`."""

from __future__ import annotations

import sys

import psycopg
from psycopg import sql

verb, name = sys.argv[1:]
with psycopg.connect("host=127.0.0.1 user=postgres dbname=postgres", autocommit=True) as connection:
    words = {"create": "CREATE DATABASE {}", "drop": "DROP DATABASE {} WITH (FORCE)"}[verb]
    connection.execute(sql.SQL(words).format(sql.Identifier(name)))
