"""The admin on this machine, with a user who can log in."""

from __future__ import annotations

import secrets
import socket
import time

from django.contrib.auth import get_user_model
from django.urls import reverse

from demo.processes import Process, Processes

HOST = "127.0.0.1"
PORT = 8000
USER = "demo"


def admin_url(path: str, port: int) -> str:
    """Return the URL of a page of the admin; `path` begins below its start page."""
    return f"http://{HOST}:{port}{reverse('admin:index')}{path}"


def make_user() -> str:
    """Make the user who may do everything, or give it a new password; give that password."""
    password = secrets.token_urlsafe(9)
    user, _created = get_user_model().objects.get_or_create(username=USER)
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.save()
    return password


def serve(processes: Processes, env: dict[str, str], *, port: int) -> Process:
    """Start the web server; give it when it answers."""
    server = processes.start("admin", ["manage.py", "runserver", "--noreload", f"{HOST}:{port}"], env)
    while True:
        server.check()
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return server
        time.sleep(0.1)


def free_port() -> int:
    """Give Django's usual port, or another if that is taken."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no port of {HOST} is free")
