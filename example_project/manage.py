#!/usr/bin/env python
from __future__ import annotations

import os
import sys

try:
    import dj_database_url  # noqa: F401 (for the settings)
    import jsonschema  # noqa: F401 (for the job's output_schema)
    import rich  # noqa: F401 (for the demo)
    from django.core.management import execute_from_command_line

    import django_claude_batches  # noqa: F401
except ImportError as error:
    sys.exit(f'{error.name} is not installed. In the folder above this one: python -m pip install -e ".[demo]"')

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    execute_from_command_line(sys.argv)
