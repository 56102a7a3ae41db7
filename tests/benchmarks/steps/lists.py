"""Request a page of the admin: ours and, for the list of results, that of a plain ModelAdmin."""

from __future__ import annotations

import argparse
import time
from datetime import timedelta
from statistics import median

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from django_claude_batches.models import BatchResult  # noqa: E402
from tests.benchmarks.steps.clock import Clock  # noqa: E402

PATH = "/{site}/django_claude_batches/"
TIMES = 5
RESULTS = {
    "all": ("batchresult/", "batchresult/"),
    "of one batch": ("batchresult/?batch={batch}", "batchresult/?batch__id__exact={batch}"),
    "errored of one batch": (
        "batchresult/?batch={batch}&outcome=errored",
        "batchresult/?batch__id__exact={batch}&result_type=errored",
    ),
    "search": ("batchresult/?q={custom_id}", "batchresult/?q={custom_id}"),
}
OTHERS = {
    "results, page 100 at most, of one batch": "batchresult/?batch={batch}&p={far}",
    "results, cut off, of one batch": "batchresult/?batch={batch}&outcome=truncated",
    "results, a word of one batch": "batchresult/?batch={batch}&in=answers&q=absent",
    "results, a word in those cut off": "batchresult/?batch={batch}&in=answers&q=absent&outcome=truncated",
    "results, usable, of all": "batchresult/?outcome=usable",
    "results, cut off, of all": "batchresult/?outcome=truncated",
    "results, refused, of all": "batchresult/?outcome=refused",
    "results, errored, of all": "batchresult/?outcome=errored",
    "results, of unknown cost, of all": "batchresult/?tier=of_unknown_cost",
    "requests of one batch": "batchrequest/?batch={batch}",
    "batches": "messagebatch/",
    "batches that need attention": "messagebatch/?attention=yes",
    "batches with a custom_id": "messagebatch/?q={custom_id}",
    "a batch": "messagebatch/{batch}/change/",
    "a result": "batchresult/{pk}/change/",
    "usage": "usagerollup/",
    "usage by model of 90 days": "usagerollup/?since={since}&by=model",
}
# A text that the page must contain; by default the cells of its rows.
SHOWN = {
    "results, a word of one batch": "The text of ",
    "results, a word in those cut off": "The text of ",
    "usage": "dcb-usage-table",
    "usage by model of 90 days": "dcb-usage-table",
}


def signed_in() -> Client:
    users = get_user_model().objects
    user = users.filter(is_superuser=True).first() or users.create_superuser("root", password="root")
    client = Client()
    client.force_login(user)
    return client


def seconds(client: Client, url: str, shown: str) -> float:
    began = time.perf_counter()
    response = client.get(url)
    took = time.perf_counter() - began
    assert response.status_code == 200, f"{url}: {response.status_code} {response.headers}"
    assert shown in response.content.decode(), f"{url} shows nothing"
    return took


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("site", choices=["admin", "plain"])
    parser.add_argument("page", choices=[*RESULTS, *OTHERS])
    options = parser.parse_args()
    some = BatchResult.objects.order_by("pk").values("pk", "batch", "batch__request_count", "custom_id")[:1].get()
    page = OTHERS.get(options.page) or RESULTS[options.page][options.site == "plain"]
    since = (timezone.now() - timedelta(days=90)).date()
    far = min(some["batch__request_count"] // 100, 100)
    url = (PATH + page).format(site=options.site, since=since, far=far, **some)
    client, shown = signed_in(), SHOWN.get(options.page, "field-")
    seconds(client, url, shown)  # this compiles the templates
    clock = Clock()
    took = median(seconds(client, url, shown) for _ in range(TIMES))
    with CaptureQueriesContext(connection) as queries:
        seconds(client, url, shown)
    clock.report(0, seconds=took, queries=len(queries))
