"""The `manage.py` of the project that django-configurations starts."""

from __future__ import annotations

import sys

from configurations.management import execute_from_command_line

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
