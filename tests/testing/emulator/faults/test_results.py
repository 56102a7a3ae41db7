"""Faults in the stream of results: cuts, and wrong lines."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from tests.testing.caller import BATCHES, call, create


@pytest.fixture
def honest(claude, download):
    """Return the correct lines, in their order."""
    lines = download().body.splitlines(keepends=True)
    claude.downloads.clear()
    return lines


def spoiled(claude, download, name, **options):
    """Download twice: the fault must apply to the first download only. Return its body."""
    claude.fault(name, **options)
    first = download().body
    assert sorted(download().lines) == ["a", "b", "c", "d"]
    assert b"".join(line.raw for line in claude.downloads[-2].lines) == first
    return first


@pytest.mark.parametrize("after", [None, 0, 1, 3])
@pytest.mark.parametrize("name", ["cut_mid_line", "cut_at_line_end"])
def test_cut(claude, honest, download, name, after):
    claude.fault(name, after=after)
    kept = 2 if after is None else after
    with pytest.raises(http.client.IncompleteRead) as caught:
        download()
    whole, torn = (
        caught.value.partial[: len(b"".join(honest[:kept]))],
        caught.value.partial[len(b"".join(honest[:kept])) :],
    )
    assert whole == b"".join(honest[:kept])
    assert (0 < len(torn) < len(honest[kept]) and honest[kept].startswith(torn)) if name == "cut_mid_line" else not torn
    noted = claude.downloads[0]
    assert [line.raw for line in noted.lines] == honest[:kept]
    assert not noted.complete
    assert claude.requests[-1].answer == "cut"


@pytest.mark.parametrize(("name", "ending"), [("cut_mid_line", False), ("cut_at_line_end", True)])
def test_a_cut_that_the_connection_does_not_show(claude, honest, download, name, ending):
    claude.fault(name, clean=True)
    body = download().body
    assert body.startswith(b"".join(honest[:2]))
    assert len(body) < len(b"".join(honest))
    assert body.endswith(b"\n") == ending
    assert not claude.downloads[0].complete


def test_a_cut_by_a_reset(claude, batch_id):
    claude.fault("cut_at_line_end", reset=True)
    head = f"GET {BATCHES}/{batch_id}/results HTTP/1.1\r\nx-api-key: {claude.api_key}\r\nanthropic-version: 2023-06-01"
    with socket.create_connection(("127.0.0.1", int(claude.url.rpartition(":")[2])), timeout=20) as sock:
        sock.sendall(head.encode() + b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: sock.recv(65_536), b""))


def test_other_order(claude):
    batch_id = create(claude, *(str(n) for n in range(50)))
    claude.finish()
    claude.fault("other_order", times=2)
    orders = [list(call(claude, "GET", f"{BATCHES}/{batch_id}/results").lines) for _ in range(4)]
    assert len({tuple(order) for order in orders[:3]}) == 3
    assert orders[2] == orders[3]
    assert len({frozenset(order) for order in orders}) == 1


def test_empty_results(claude, honest, download):
    assert spoiled(claude, download, "empty_results") == b""


def test_no_last_newline(claude, honest, download):
    assert spoiled(claude, download, "no_last_newline") == b"".join(honest)[:-1]


def test_crlf(claude, honest, download):
    assert spoiled(claude, download, "crlf") == b"".join(honest).replace(b"\n", b"\r\n")


def test_blank_lines(claude, honest, download):
    assert spoiled(claude, download, "blank_lines") == b"".join(honest).replace(b"\n", b"\n\n")


@pytest.mark.parametrize("line", [1, 3])
def test_duplicate_line(claude, honest, download, line):
    assert spoiled(claude, download, "duplicate_line", line=line) == b"".join([*honest, honest[line - 1]])


@pytest.mark.parametrize("line", [1, 4])
def test_missing_line(claude, honest, download, line):
    assert spoiled(claude, download, "missing_line", line=line) == b"".join(honest[: line - 1] + honest[line:])


def test_foreign_line(claude, honest, download):
    lines = spoiled(claude, download, "foreign_line", line=2, count=3).splitlines(keepends=True)
    assert [lines[0], *lines[4:]] == honest
    documents = [json.loads(line) for line in lines[1:4]]
    assert [document["custom_id"] for document in documents] == ["foreign", "foreign2", "foreign3"]
    assert documents[0]["result"]["type"] == "succeeded"


def test_garbage_line(claude, honest, download):
    lines = spoiled(claude, download, "garbage_line", line=4, text="]]").splitlines(keepends=True)
    assert lines == [*honest[:3], b"]]\n", honest[3]]


def test_two_faults_on_one_download(claude, honest, download):
    claude.fault("missing_line", line=1)
    body = spoiled(claude, download, "crlf")
    assert body == b"".join(honest[1:]).replace(b"\n", b"\r\n")
    assert claude.requests[-2].faults == ("missing_line", "crlf")


@pytest.mark.parametrize("name", ["crlf", "cut_mid_line", "huge_line"])
def test_a_refusal_has_no_lines(claude, name):
    claude.fault(name)
    assert call(claude, "GET", f"{BATCHES}/{create(claude)}/results").status == 404


def test_an_impossible_fault_is_an_error_of_the_emulator(claude, download):
    claude.fault("unknown_block", line=5)
    answer = download()
    assert answer.status == 500
    assert "The emulator failed: LookupError: there is no succeeded line 5" in answer.json["error"]["message"]
