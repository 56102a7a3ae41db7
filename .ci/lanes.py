"""Run the lanes of CI in parallel, as far as the machine has cores. Started by `.ci/run`.

`lanes.py --list` prints the lanes and what each of them shows. Without options, the lanes run that each change has to
pass; with `--everything`, all lanes; with names, these lanes and those that they depend on.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

CORES = os.cpu_count() or 2
HERE = Path(__file__).resolve().parent
TOX = 'tox run --workdir "$WORK/tox" --no-list-dependencies'
# Seconds after which a lane counts as hanging, and is ended.
LONGEST = 5400
# More workers than cores for tests that mostly wait for processes, leases and servers.
WAITING = CORES + 3
# Also run the slow tests of each database, which `slow` runs on SQLite.
SLOW_TOO = "-- database"


@dataclass(frozen=True)
class Lane:
    """A shell command, run when the lanes that it comes `after` have ended.

    `cores` is how many cores it uses, 0 if it mostly waits; lanes that run at the same time use at most the machine's.
    `workers` are pytest's. `environment` is the tox environment that it runs in, with `arguments`. Without `each_time`
    it runs only with `--everything`, which leaves out a lane whose tests are all in the lane `within`. An `alone` lane
    runs last, when nothing else runs, because it measures.
    """

    name: str
    shows: str
    command: str = ""
    environment: str = ""
    after: tuple[str, ...] = ()
    cores: int = 1
    each_time: bool = True
    within: str = ""
    alone: bool = False
    workers: int = CORES
    arguments: str = ""

    @property
    def shell(self) -> str:
        return self.command or f"{TOX} --skip-pkg-install -e {self.environment} {self.arguments}"


def tox(name: str, shows: str, *, environment: str = "", cores: int = CORES, **more: object) -> Lane:
    return Lane(name, shows, environment=environment or name, after=("environments",), cores=cores, **more)  # type: ignore[arg-type]


def extra(name: str, shows: str, **more: object) -> Lane:
    """Return a lane that runs only with `--everything`."""
    return tox(name, shows, each_time=False, **more)  # type: ignore[arg-type]


def newcomer(environment: str, command: str) -> str:
    """Return the shell code that runs a command of the README in a virtual environment, without the variable `CI`."""
    return f' && env -u CI PATH="$WORK/{environment}/bin:$PATH" {command}'


LANES = [
    Lane(
        "environments",
        "The environments of tox.ini can be created with the dependencies of pyproject.toml.",
        f"{TOX} --notest -e {{environments}}",
    ),
    Lane(
        "demo",
        "The README's first command works on a machine that has only Python.",
        'python3.11 -m venv "$WORK/demo"'
        + newcomer("demo", 'python -m pip install -e ".[demo]"')
        + newcomer("demo", "python example_project/manage.py demo"),
        cores=0,
    ),
    # The longest lane that uses one core starts first, beside the others: no lane that needs two can run meanwhile.
    extra("protocol", "The state machine of the protocol holds for 500 other examples.", cores=1),
    tox("lint", "The code is formatted, and imports point down.", cores=1),
    tox("types", "The package is strictly typed, and the migration matches the models.", cores=1),
    tox("docs", "The docs build without a warning.", cores=1),
    tox("pkg", "With only the wheel, the tutorial and the how-to pages work.", cores=1),
    Lane(
        "demo-services",
        "The demo works on PostgreSQL and Redis, with more requests than any chunk holds.",
        "bash .ci/demo_on_services",
        after=("demo",),
        cores=0,
    ),
    Lane(
        "newcomer",
        "The README's second command passes in a new environment: SQLite, the newest Django.",
        'python3.13 -m venv "$WORK/tests"'
        + newcomer("tests", 'python -m pip install -e ".[test]"')
        + newcomer("tests", "python -m pytest"),
    ),
    # This lane and `processes` mostly wait, for processes, leases and servers: others have the rest of the machine.
    tox(
        "reliability",
        "Nothing is paid twice or lost when processes or servers are killed; on one database, behind a pooler.",
        cores=1,
        workers=WAITING,
        within="trials",
    ),
    tox("processes", "Real workers, beats, commands, the demo, each broker.", cores=0, workers=WAITING),
    tox(
        "browser",
        "The admin in Chromium: an operator's story, hostile outputs, accessibility.",
        environment="browser-quick",
        cores=1,
        within="whole-browser",
    ),
    tox(
        "lowest",
        "The lowest versions that pyproject.toml allows; COPY, locks and query plans on PostgreSQL.",
        cores=1,
    ),
    tox("mariadb", "Collations, packets and deadlocks on MariaDB.", environment="py313-django61-mariadb", cores=1),
    tox("benchmark", "The ratios and the memory of docs/performance.md hold at 10,000 requests.", alone=True),
    extra("newest-postgres", "PostgreSQL with Django 6.1.", environment="py313-django61-postgres", arguments=SLOW_TOO),
    extra("older-postgres", "PostgreSQL with Django 6.0.", environment="py312-django60-postgres", arguments=SLOW_TOO),
    Lane(
        "western-mariadb",
        "MariaDB with Django 5.2, on a server whose time zone is not UTC, where due rows were once not found.",
        f"bash .ci/in_western_time {TOX} --skip-pkg-install -e py311-django52-mariadb {SLOW_TOO}",
        environment="py311-django52-mariadb",
        after=("environments",),
        cores=CORES,
        each_time=False,
    ),
    extra("schedulers", "A tick is executed on machines whose clocks are wrong, with each scheduler.", cores=1),
    extra(
        "neighbours",
        "A batch from draft to results beside other packages that users install, and with django-tenants.",
        cores=1,
    ),
    extra(
        "neighbours-beat", "The same with django-celery-beat's scheduler, on a Django version that it allows.", cores=1
    ),
    extra("neighbours-lts", "The same with all of these packages on Django 5.2.", cores=1),
    extra("django-5.2", "All but real processes, with Django 5.2.", environment="py311-django52-sqlite"),
    extra("django-6.0", "All but real processes, with Django 6.0.", environment="py312-django60-sqlite"),
    *(
        extra(
            f"theme-{theme}",
            f"Each page opens and each button works in {name}, on Django 5.2 and the newest version that it allows.",
            environment=f"theme-{theme}-lts,theme-{theme}-newest",
            cores=1,
        )
        for theme, name in (("unfold", "Unfold"), ("jazzmin", "Jazzmin"), ("grappelli", "Grappelli"))
    ),
    extra(
        "whole-browser",
        "The same with each page in light, dark and narrow form, and what the lanes of themes do in Django's own.",
        environment="browser-whole",
        cores=1,
    ),
    extra("prices", "The table of prices equals that of genai-prices, except for known differences.", cores=1),
    extra(
        "clients",
        "Other clients against the emulator: the SDK before 2.0 and the newest, and two third-party clients.",
        environment="clients-old,clients-new",
        cores=1,
    ),
    extra("slow", "Slow tests: the rest of matrices, large bodies, many rows."),
    extra(
        "trials",
        "Each fault three times on each database: other seeds, and all points of killed runs.",
        workers=WAITING,
    ),
]


@dataclass
class Run:
    """Runs lanes in parallel, and shows the output of each lane when it has ended."""

    lanes: list[Lane]
    work: Path
    seconds: dict[str, float] = field(default_factory=dict)
    passed: dict[str, bool] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def go(self) -> None:
        waiting = list(self.lanes)
        with self._changed:
            while waiting or self._running:
                for lane in self._ready(waiting):
                    waiting.remove(lane)
                    self._start(lane)
                self._changed.wait()

    def _ready(self, waiting: list[Lane]) -> list[Lane]:
        """Return the lanes that may start now: the lanes that they come after have ended, and cores are free."""
        names = {lane.name for lane in self.lanes}
        free = CORES - sum(lane.cores for lane in self.lanes if lane.name in self._running)
        ready = []
        for lane in waiting:
            if lane.alone and (self._running or len(waiting) > 1):
                continue  # other lanes would change the measurement
            if lane.cores <= free and all(name in self.passed for name in lane.after if name in names):
                ready.append(lane)
                free -= lane.cores
        return ready

    def _start(self, lane: Lane) -> None:
        log = (self.work / f"{lane.name}.log").open("wb")
        command = lane.shell.replace(
            "{environments}", ",".join(one.environment for one in self.lanes if one.environment)
        )
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=HERE.parent,
            env=os.environ | {"WORK": str(self.work), "PYTEST_XDIST_AUTO_NUM_WORKERS": str(lane.workers)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its child processes can be ended with it
        )
        log.close()
        self._running[lane.name] = process
        threading.Thread(target=self._wait, args=(lane, process, time.monotonic()), daemon=True).start()

    def _wait(self, lane: Lane, process: subprocess.Popen[bytes], started: float) -> None:
        try:
            process.wait(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            end(process)
        with self._changed:
            del self._running[lane.name]
            self.passed[lane.name] = process.returncode == 0
            self.seconds[lane.name] = time.monotonic() - started
            print(f"\n==== {lane.name}: {lane.shows} ====", flush=True)
            print((self.work / f"{lane.name}.log").read_text(errors="replace"), end="")
            outcome = "passed" if self.passed[lane.name] else f"FAILED (exit status {process.returncode})"
            print(f"---- {lane.name}: {outcome} in {self.seconds[lane.name]:.0f} s ----", flush=True)
            self._changed.notify()

    def stop(self) -> None:
        for process in list(self._running.values()):
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a lane with all its child processes."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def chosen(names: list[str], *, everything: bool) -> list[Lane]:
    """Return the lanes with these names and those that they come after; without names, those of each change, or all."""
    if not names:
        return [lane for lane in LANES if (not lane.within if everything else lane.each_time)]
    wanted = set(names)
    if unknown := wanted - {lane.name for lane in LANES}:
        sys.exit(f"No lane is named {', '.join(sorted(unknown))}; --list prints the names.")
    for lane in LANES:
        if lane.name in wanted:
            wanted.update(lane.after)
    return [lane for lane in LANES if lane.name in wanted]


def show() -> None:
    for lane in LANES:
        print(f"{lane.name:16} {'' if lane.each_time else '--everything: '}{lane.shows}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the lanes")
    parser.add_argument("--everything", action="store_true", help="run all lanes, before a release")
    parser.add_argument("lanes", nargs="*", help="run only these, and those that they come after")
    options = parser.parse_args()
    if options.list:
        show()
        return 0
    run = Run(chosen(options.lanes, everything=options.everything), Path(os.environ["WORK"]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        run.go()
    finally:
        run.stop()
    failed = [name for name, passed in run.passed.items() if not passed]
    print(f"\n{time.monotonic() - started:.0f} s in total")
    for name, seconds in run.seconds.items():
        print(f"{seconds:6.0f} s  {name}{'  FAILED' if name in failed else ''}")
    print(f"lanes: {len(run.passed) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
