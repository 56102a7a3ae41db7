"""Separate servers on free ports, which tests can kill: databases, Redis, a pooler.

As root, the databases run as the users of their packages, since they refuse root; otherwise as the current user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from tests.harness.databases import MARIADB, POSTGRES, SERVERS, execute

# To start or to end, on a busy machine.
SECONDS = 30.0

# Debian keeps PostgreSQL's programs off PATH.
DISTRIBUTED = "/usr/lib/postgresql/*/bin"


class Server(ABC):
    """Runs while entered, on a port that it keeps; its data are gone afterwards.

    `end` with a signal, `start` again, or both with `restart`: each returns when it is done.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    user: ClassVar[str]
    graceful: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{Path(self.program).name}-"))
        self._as: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            if os.geteuid() == 0:
                shutil.chown(self.folder, self.user, self.user)
                self._as = {"user": self.user, "group": self.user, "extra_groups": []}
            self.prepare()
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._process is not None:
            self.end(self.graceful)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it serves."""

    @classmethod
    def is_installed(cls) -> bool:
        return path_of(cls.program) is not None and (os.geteuid() != 0 or has_user(cls.user))

    def prepare(self) -> None:  # noqa: B027 (not every server needs something)
        """Make what the server needs before its first start."""

    @abstractmethod
    def command(self) -> list[str]:
        """Give what starts it."""

    @abstractmethod
    def ask(self) -> None:
        """Raise whatever the driver raises unless the server answers."""

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as
            )
        give_up_at = time.monotonic() + SECONDS
        while True:
            try:
                return self.ask()
            except Exception:  # noqa: BLE001 (each driver has its own)
                if self._process.poll() is not None or time.monotonic() > give_up_at:
                    raise AssertionError((self.folder / "log").read_text(errors="replace")) from None
            time.sleep(0.05)

    def end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(timeout=SECONDS)
        self._process = None

    def restart(self, how: signal.Signals) -> None:
        self.end(how)
        self.start()

    def run(self, *command: str) -> None:
        """Run a program of the server's as the server's user; AssertionError, with what it said, where it fails."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **self._as)
        assert done.returncode == 0, done.stdout + done.stderr


class PostgreSQL(Server):
    name, program, user = POSTGRES, "postgres", "postgres"
    graceful = signal.SIGINT

    # `pg_ctl stop -m immediate` sends this: backends end where they are, and the next start recovers.
    immediate = signal.SIGQUIT

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self.run(needed("initdb"), f"--pgdata={self.folder}/data", *options)

    def command(self) -> list[str]:
        listening = ("-c", "listen_addresses=127.0.0.1", "-k", str(self.folder), "-p", str(self.port))
        return [needed("postgres"), "-D", f"{self.folder}/data", *listening]

    def ask(self) -> None:
        execute(POSTGRES, self.url, "SELECT 1")


class MariaDB(Server):
    name, program, user = MARIADB, "mariadbd", "mysql"
    small = ("--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M")

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/mysql"

    def prepare(self) -> None:
        options = ("--skip-test-db", "--auth-root-authentication-method=normal", *self.small)
        self.run(needed("mariadb-install-db"), "--no-defaults", f"--datadir={self.folder}/data", *options)

    def command(self) -> list[str]:
        places = (f"--datadir={self.folder}/data", f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid")
        listening = ("--bind-address=127.0.0.1", f"--port={self.port}", "--character-set-server=utf8mb4")
        return [needed("mariadbd"), "--no-defaults", *places, *listening, *self.small]

    def ask(self) -> None:
        execute(MARIADB, self.url, "SELECT 1")


class Redis(Server):
    """Keeps nothing: whatever was in it is gone with its process."""

    name, program, user = "Redis", "redis-server", "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [needed("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]

    def ask(self) -> None:
        self.say("PING")

    def say(self, *words: str) -> Any:
        """Send one command, and return the answer."""
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            return client.execute_command(*words)


class PgBouncer(Server):
    """Pools by transaction before the machine's PostgreSQL: each transaction may run in another connection to it.

    `size` connections to each database are few, so that they go from hand to hand.
    """

    name, program, user = "PgBouncer", os.environ.get("PGBOUNCER", "pgbouncer"), "postgres"

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self._size = size

    @property
    def url(self) -> str:
        return self.url_of(SERVERS[POSTGRES].url)

    def url_of(self, database_url: str) -> str:
        """Give the URL by which a database of the machine's PostgreSQL is reached through the pooler."""
        return f"postgres://postgres@127.0.0.1:{self.port}{urlsplit(database_url).path}"

    def prepare(self) -> None:
        behind = urlsplit(SERVERS[POSTGRES].url)
        host, port = SERVERS[POSTGRES].address
        password = f" password={behind.password}" if behind.password else ""
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": self._size,
        }
        lines = ["[databases]", f"* = host={host} port={port} user={behind.username}{password}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [needed(self.program), str(self.folder / "pgbouncer.ini")]

    def ask(self) -> None:
        execute(POSTGRES, self.url, "SELECT 1")


BY_DATABASE: dict[str, type[Server]] = {POSTGRES: PostgreSQL, MARIADB: MariaDB}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def needed(program: str) -> str:
    path = path_of(program)
    assert path is not None, f"{program} is not installed"
    return path


def path_of(program: str) -> str | None:
    folders = [str(folder) for folder in sorted(Path("/").glob(DISTRIBUTED.lstrip("/")), reverse=True)]
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *folders, "/usr/sbin"]))


def has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
