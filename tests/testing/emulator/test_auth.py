"""Keys, and the Workspaces that they act on."""

from __future__ import annotations

import pytest

from django_claude_batches.testing.emulator.auth import Hosts, Keys
from django_claude_batches.testing.emulator.errors import Refusal


@pytest.fixture(params=[False, True], ids=["known keys", "any key"])
def keys(request):
    keys = Keys(default_workspace_id="wrkspc_default", any_key=request.param, hosts=Hosts())
    keys.add("good", workspace_id="wrkspc_default")
    keys.add("other", workspace_id="wrkspc_other")
    return keys


@pytest.mark.parametrize(
    ("headers", "workspace_id"),
    [
        ({"x-api-key": "good"}, "wrkspc_default"),
        ({"authorization": "Bearer good"}, "wrkspc_default"),
        ({"authorization": "bearer  other "}, "wrkspc_other"),
        ({"x-api-key": "other", "authorization": "Bearer good"}, "wrkspc_other"),
        ({"x-api-key": "other", "authorization": "Bearer bad"}, "wrkspc_other"),
        ({"x-api-key": "good", "anthropic-workspace-id": "wrkspc_default"}, "wrkspc_default"),
    ],
)
def test_taken(keys, headers, workspace_id):
    assert keys.workspace_for(headers) == workspace_id


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": ""}, {"authorization": "Bearer "}, {"authorization": "Basic good"}]
)
def test_no_key(keys, headers):
    with pytest.raises(Refusal, match=r"^API key is invalid\.$") as caught:
        keys.workspace_for(headers)
    assert (caught.value.status, caught.value.type) == (401, "authentication_error")


def test_another_workspace_than_the_keys(keys):
    with pytest.raises(Refusal, match="wrkspc_other") as caught:
        keys.workspace_for({"x-api-key": "good", "anthropic-workspace-id": "wrkspc_other"})
    assert (caught.value.status, caught.value.type) == (403, "permission_error")


def test_an_unknown_key():
    unknown = {"x-api-key": "new"}
    with pytest.raises(Refusal, match="invalid"):
        Keys(default_workspace_id="wrkspc_default", any_key=False, hosts=Hosts()).workspace_for(unknown)
    anyone = Keys(default_workspace_id="wrkspc_default", any_key=True, hosts=Hosts())
    assert anyone.workspace_for(unknown) == "wrkspc_default"
    assert anyone.workspace_for(unknown | {"anthropic-workspace-id": "wrkspc_new"}) == "wrkspc_new"
