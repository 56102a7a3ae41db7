"""The stub works with the package's client, and its counts match its lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from io import BytesIO

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import NotFoundError, ResultsUnavailable
from tests.benchmarks.bench import ROOT
from tests.benchmarks.stub.process import StubProcess, stub

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server() -> Iterator[StubProcess]:
    with stub("--in-flight", "2") as server:
        yield server


@pytest.fixture
def client(server: StubProcess) -> BatchesClient:
    return BatchesClient(api_key="any", base_url=server.url)


def posted(client: BatchesClient, count: int) -> str:
    requests = [{"custom_id": f"tag_{number}", "params": {"max_tokens": 1}} for number in range(count)]
    body = json.dumps({"requests": requests}).encode()
    return client.send(BytesIO(body), size=len(body)).data["id"]


def test_lines_have_the_posted_custom_ids_and_match_the_counts(server: StubProcess, client: BatchesClient) -> None:
    remote = posted(client, 500)
    server.finish(remote)
    results = list(client.results(remote))
    assert sorted(line["custom_id"] for line in results) == sorted(f"tag_{number}" for number in range(500))
    told = {name: count for name, count in client.retrieve(remote)["request_counts"].items() if count}
    assert told == Counter(line["result"]["type"] for line in results)
    assert set(told) == {"succeeded", "errored", "expired"}


def test_a_batch_is_in_progress_until_it_is_told_to_end(server: StubProcess, client: BatchesClient) -> None:
    remote = posted(client, 1)
    assert client.retrieve(remote)["processing_status"] == "in_progress"
    with pytest.raises(ResultsUnavailable):
        list(client.results(remote))
    server.finish(remote)
    assert client.retrieve(remote)["processing_status"] == "ended"


def test_gzip_holds_the_same_lines(server: StubProcess) -> None:
    import requests

    url = f"{server.url}/v1/messages/batches/{server.seed(100, gzip=1)}/results"
    packed = requests.get(url, timeout=10)
    plain = requests.get(url, timeout=10, headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.content == plain.content


def test_one_line_may_be_long(server: StubProcess, client: BatchesClient) -> None:
    remote = posted(client, 3)
    server.finish(remote, large_mb=1)
    with client.result_lines(remote) as lines:
        long = [len(line.data) for line in lines if len(line.data) > 10_000]
    assert len(long) == 1
    assert long[0] > 1_000_000


def test_a_listing_pages_newest_first(server: StubProcess, client: BatchesClient) -> None:
    remote = posted(client, 1)
    first = client.list(limit=1)
    assert [batch["id"] for batch in first["data"]] == [remote]
    assert first["has_more"]
    assert remote not in [batch["id"] for batch in client.list_all(limit=1, after_id=remote)]
    assert {"msgbatch_flying_000000", "msgbatch_flying_000001"} < {batch["id"] for batch in client.list_all(limit=1)}


def test_it_counts_what_it_was_asked(server: StubProcess, client: BatchesClient) -> None:
    before = server.asked()
    client.list()
    client.list()
    assert server.asked() == before + 2


def test_a_deleted_batch_is_not_listed(server: StubProcess, client: BatchesClient) -> None:
    remote = posted(client, 1)
    server.forget(remote)
    with pytest.raises(NotFoundError):
        client.retrieve(remote)


def test_it_ends_with_the_process_that_started_it() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.stub"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().startswith("ready ")
        process.stdin.close()
        assert process.wait(timeout=60) == 0
