"""An operator's day in a real browser, with the demo's worker, beat and emulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.browser.chromium import Watch
from tests.example_project.conftest import MANAGE, OF_CLAUDE, OF_THE_SUITE
from tests.harness.factories import item

pytestmark = [pytest.mark.browser, pytest.mark.process]

ROOT = Path(__file__).parents[2]

# Seconds to wait for anything.
MILLISECONDS = 30_000


class Shop(NamedTuple):
    url: str
    user: str
    password: str
    environment: dict[str, str]

    def manage(self, *arguments: object) -> str:
        command = [sys.executable, str(MANAGE), *map(str, arguments)]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    inherited = {name: value for name, value in os.environ.items() if name not in (*OF_THE_SUITE, *OF_CLAUDE)}
    environment = {
        **inherited,
        "DEMO_VAR": str(tmp_path / "var"),
        "DEMO_TICK_SECONDS": "1",
        "DJANGO_SETTINGS_MODULE": "tests.browser.shop_settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(MANAGE.parent)]),
    }
    log = (tmp_path / "shop.log").open("w")
    command = [sys.executable, "-m", "tests.browser.shop"]
    with log, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (tmp_path / "shop.log").read_text()
            open_at = json.loads(line)
            yield Shop(f"http://127.0.0.1:{open_at['port']}", open_at["user"], open_at["password"], environment)
        finally:
            process.terminate()
            process.wait(timeout=40)


class Operator:
    """An operator in a browser. Each step ends on the page that it leads to."""

    def __init__(self, page: Any, shop: Shop) -> None:
        self.page, self._shop = page, shop
        page.set_default_timeout(MILLISECONDS)

    def logs_in(self) -> None:
        self.page.goto("/admin/")
        self.page.fill("#id_username", self._shop.user)
        self.page.fill("#id_password", self._shop.password)
        self.page.click("input[type=submit]")

    def uploads(self, path: Path, **fields: str) -> None:
        """Upload a file in *New batch*, and wait for the result of its check."""
        self.page.get_by_role("link", name="Batches", exact=True).first.click()
        self.page.get_by_role("link", name="New batch").click()
        self.page.set_input_files("input[type=file]", path)
        self.page.select_option("select[name=account]", "emulator")
        for name, value in fields.items():
            self.page.fill(f"[name={name}]", value)
        self.presses("Check the file")
        self.sees("What the check found")

    def presses(self, button: str) -> None:
        self.page.get_by_role("button", name=button).click()
        self.page.wait_for_load_state()

    def does(self, verb: str) -> None:
        """Press a button on the batch's page, and confirm."""
        self.page.get_by_role("button", name=verb).click()
        self.page.locator(".dcb-confirmation .submit-row").get_by_role("button", name=verb).click()
        self.page.wait_for_selector(".messagelist .success")

    def exports(self, kind: str) -> str:
        """Download the results of the batch, and return to its page. Return the file's text."""
        batch = self.page.url
        self.page.get_by_role("link", name="Export results").click()
        self.page.check(f"input[name=format][value={kind}]")
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="Download").click()
        self.page.goto(batch)
        text: str = Path(download.value.path()).read_text()
        return text

    def sees(self, text: str) -> None:
        """Wait until the page, which refreshes automatically, shows this text."""
        self.page.get_by_text(text).first.wait_for()


def test_from_a_file_to_its_deletion_at_anthropic(browser: Any, shop: Shop, tmp_path: Path) -> None:
    context = browser.new_context(base_url=shop.url)
    watch = Watch(context, shop.url)
    operator = Operator(context.new_page(), shop)
    table, requests = tmp_path / "products.csv", tmp_path / "requests.jsonl"
    table.write_text("product,feature\nTote,a zip pocket\nBeanie,too,many\nVest,taped seams\n")
    requests.write_text("\n".join(json.dumps(line) for line in [item(0), item(1), item(2, max_tokens=1_000_000)]))
    operator.logs_in()

    operator.uploads(table, prompt="Describe the {product}, which has {feature}.", model="claude-haiku-4-5")
    operator.sees("Describe the Tote, which has a zip pocket.")
    operator.sees("Rows that cannot be sent")
    operator.presses("Discard the file")
    operator.sees("is discarded.")

    operator.uploads(requests, label="Questions")
    operator.sees("Nothing is stored as a batch so far, and nothing is sent.")
    operator.presses("Make it a draft")
    operator.sees("Not sent. Costs nothing until submitted.")

    operator.does("Submit to Claude")
    operator.sees("Running at Anthropic")
    operator.page.wait_for_timeout(3000)
    operator.does("Check now")
    operator.sees("3 of 3 results are stored.")
    operator.page.reload()
    lines = [json.loads(line) for line in operator.exports("jsonl").splitlines()]
    assert {line["custom_id"]: line["result"]["type"] for line in lines} == {
        "r-0": "succeeded",
        "r-1": "succeeded",
        "r-2": "errored",
    }
    assert "Hello 1" in operator.exports("csv")

    operator.does("Retry failed rows")
    operator.page.get_by_role("link", name=re.compile("#2 ")).first.click()
    operator.sees("Not sent. Costs nothing until submitted.")
    operator.sees("1 request")
    operator.page.get_by_role("link", name=re.compile("#1 ")).first.click()

    operator.does("Delete at Anthropic")
    operator.sees("Deleted at anthropic")
    assert watch.taken() == []
    context.close()
