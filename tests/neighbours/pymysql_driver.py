"""A plugin for pytest: Django's backend of MariaDB and MySQL uses PyMySQL, whose statements differ."""

from __future__ import annotations

import pymysql

pymysql.install_as_MySQLdb()
