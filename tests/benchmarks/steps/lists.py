"""A page of the admin: ours, and, of the list of results, a plain ModelAdmin's."""

from __future__ import annotations

import argparse
import time
from statistics import median

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

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
    "requests of one batch": "batchrequest/?batch={batch}",
    "batches": "messagebatch/",
    "batches that need attention": "messagebatch/?attention=yes",
    "batches with a custom_id": "messagebatch/?q={custom_id}",
    "a batch": "messagebatch/{batch}/change/",
    "a result": "batchresult/{pk}/change/",
}


def signed_in() -> Client:
    users = get_user_model().objects
    user = users.filter(is_superuser=True).first() or users.create_superuser("root", password="root")
    client = Client()
    client.force_login(user)
    return client


def seconds(client: Client, url: str) -> float:
    began = time.perf_counter()
    response = client.get(url)
    took = time.perf_counter() - began
    assert response.status_code == 200, f"{url}: {response.status_code} {response.headers}"
    assert b"field-" in response.content, f"{url} shows nothing"
    return took


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("site", choices=["admin", "plain"])
    parser.add_argument("page", choices=[*RESULTS, *OTHERS])
    options = parser.parse_args()
    some = BatchResult.objects.order_by("pk").values("pk", "batch", "custom_id")[:1].get()
    page = OTHERS.get(options.page) or RESULTS[options.page][options.site == "plain"]
    url = (PATH + page).format(site=options.site, **some)
    client = signed_in()
    seconds(client, url)  # templates are compiled by it
    clock = Clock()
    took = median(seconds(client, url) for _ in range(TIMES))
    with CaptureQueriesContext(connection) as queries:
        seconds(client, url)
    clock.report(0, seconds=took, queries=len(queries))
