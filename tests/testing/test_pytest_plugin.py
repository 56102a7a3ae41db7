"""The fixture and the guard of the pytest plugin, each in a separate suite."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from django_claude_batches import testing

pytest_plugins = ["pytester"]

NAMES = ("anyio", "django", "cacheprovider", "hypothesispytest", "randomly", "xdist")

# Plugins of this suite that the small suites do not need: importing them takes two thirds of their time.
UNNEEDED = " ".join(f"-p no:{name}" for name in NAMES)

# An address for documentation (RFC 5737), without a host: a connection that is not refused times out.
ELSEWHERE = "192.0.2.1"

SUITE = f"""
    import contextlib, os, socket, threading, urllib.request
    import pytest

    def leave(how="connect", host="{ELSEWHERE}", family=socket.AF_INET):
        with socket.socket(family) as sock:
            sock.settimeout(0.05)
            with contextlib.suppress(OSError):
                getattr(sock, how)((host, 80))

    def is_refused(*args, **kwargs):
        try:
            leave(*args, **kwargs)
        except RuntimeError as error:
            assert "pytest.mark.live_claude" in str(error)
            return True
        return False
"""


@pytest.fixture
def suite(pytester):
    """Run a suite with these tests and settings in another process; all tests must pass."""

    def run(tests, *, ini="", arguments=()):
        pytester.makepyfile(SUITE + tests)
        pytester.makeini(f"[pytest]\naddopts = {UNNEEDED}\n{ini}")
        result = pytester.runpytest_subprocess("--strict-markers", "-W", "error", *arguments)
        result.assert_outcomes(passed=tests.count("def test_"))

    return run


def test_the_fixture_is_an_entered_emulator(suite):
    suite("""
    def test_entered(claude_emulator):
        assert os.environ["ANTHROPIC_BASE_URL"] == claude_emulator.url
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(claude_emulator.url + "/v1/messages/batches")
        assert claude_emulator.requests[0].status == 401

    def test_another_one(claude_emulator):
        assert claude_emulator.requests == []
    """)


@pytest.mark.parametrize("how", ["connect", "connect_ex"])
def test_a_test_with_the_fixture_cannot_reach_other_hosts(suite, how):
    suite(f"""
    def test_guarded(claude_emulator):
        assert is_refused("{how}")
        assert is_refused("{how}", "example.com")
        assert is_refused("{how}", "2001:db8::1", socket.AF_INET6)

    def test_the_guard_goes_with_the_test():
        assert not is_refused("{how}")
    """)


@pytest.mark.slow
def test_a_name_that_cannot_be_looked_up_is_refused_too(suite):
    suite("""
    def test_offline(claude_emulator):
        with pytest.raises(RuntimeError, match="refused to connect to api.example.com port 443"):
            socket.getaddrinfo("api.example.com", 443, flags=socket.AI_NUMERICHOST)  # fails without asking anybody
        assert socket.getaddrinfo("localhost", 443)

    def test_afterwards():
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("api.example.com", 443, flags=socket.AI_NUMERICHOST)
    """)


@pytest.mark.slow
def test_this_machine_is_reached(suite):
    suite("""
    def test_loopback(claude_emulator, tmp_path):
        assert not is_refused(host="127.0.0.1")
        assert not is_refused(host="127.9.9.9")
        assert not is_refused(host="localhost")
        if socket.has_ipv6:
            assert not is_refused(host="::1", family=socket.AF_INET6)
        with socket.socket(socket.AF_UNIX) as sock, pytest.raises(FileNotFoundError):
            sock.connect(str(tmp_path / "none"))
    """)


@pytest.mark.slow
def test_a_live_test_can_reach_other_hosts(suite):
    suite(
        """
    @pytest.mark.live_claude
    def test_marked(claude_emulator):
        assert not is_refused()
    """,
        ini="claude_batches_loopback_only = true",
    )


@pytest.mark.slow
def test_a_suite_without_the_options_is_not_guarded(suite):
    suite("""
    def test_unrelated():
        assert not is_refused()
    """)


@pytest.mark.slow
def test_all_tests_can_be_guarded(suite):
    suite(
        """
    @pytest.fixture
    def early():
        assert is_refused()

    def test_without_the_fixture(early):
        assert is_refused()

    def test_with_it(claude_emulator):
        assert is_refused()
    """,
        ini="claude_batches_loopback_only = true",
    )


@pytest.mark.parametrize(
    ("ini", "arguments"),
    [("claude_batches_allow_network = true", ()), ("", ("--claude-batches-allow-network",))],
    ids=["setting", "option"],
)
@pytest.mark.slow
def test_the_guard_can_be_switched_off(suite, ini, arguments):
    suite(
        """
    def test_free(claude_emulator):
        assert not is_refused()
    """,
        ini=ini,
        arguments=arguments,
    )


def test_the_plugin_needs_no_django(suite):
    suite("""
    def test_loaded_modules(claude_emulator):
        import sys
        assert "django" not in sys.modules
    """)


def test_a_suite_that_does_not_use_it_pays_nothing(suite):
    """Only the two packages and the plugin are imported, and no hook of this package wraps a test."""
    suite("""
    def test_loaded_modules(request):
        import sys
        ours = {name for name in sys.modules if name.startswith("django_claude_batches")}
        package = "django_claude_batches.testing"
        assert ours == {"django_claude_batches", package, f"{package}.pytest_plugin"}
        hooks = request.config.hook.pytest_runtest_protocol.get_hookimpls()
        assert not [hook for hook in hooks if "claude" in hook.plugin_name]
    """)


def test_what_is_imported_when_asked_for_is_what_type_checkers_read():
    stub = ast.parse(Path(testing.__file__).with_suffix(".pyi").read_text())
    [listed] = [ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign)]
    assert listed == testing.__all__
    assert [name for name in listed if getattr(testing, name).__name__ != name] == []
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        testing.nothing  # noqa: B018


@pytest.mark.slow
def test_a_mark_of_another_name_is_the_projects_own(suite):
    suite(
        """
    @pytest.mark.live
    def test_marked(claude_emulator):
        assert is_refused()
    """,
        ini="markers = live: of the project",
    )
