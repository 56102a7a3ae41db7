"""A pytest plugin that makes Django's MySQL backend use PyMySQL, whose statements differ."""

from __future__ import annotations

import pymysql

pymysql.install_as_MySQLdb()
