"""Run the example project as `demo --serve` does, without a batch: `python -m tests.browser.shop`.

It prints one line of JSON with its URL and a login, and ends its child processes when it is ended. It requires that
example_project is on PYTHONPATH, and DJANGO_SETTINGS_MODULE is tests.browser.shop_settings.
"""

from __future__ import annotations

import json
import time

import django

django.setup()

from demo import run, serving  # noqa: E402  models need the setup
from demo.processes import Processes  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

run.EMULATED_SECONDS = 3


def main() -> None:
    with Processes(settings.VAR, cwd=settings.BASE_DIR) as processes:
        call_command("migrate", verbosity=0, interactive=False)
        env = run.environment(settings.BASE_DIR)
        env["DEMO_EMULATOR_URL"] = run.start_emulator(processes, env)
        run.start_celery(processes, env, var=settings.VAR, concurrency=1)
        port, password = serving.free_port(), serving.make_user()
        serving.serve(processes, env, port=port)
        print(json.dumps({"port": port, "user": serving.USER, "password": password}), flush=True)
        while True:
            processes.check()
            time.sleep(run.LOOK)


if __name__ == "__main__":
    main()
