"""`RandomBends`: random changes of answers."""

from __future__ import annotations

import http.client

import pytest

from django_claude_batches.testing import ClaudeEmulator, RandomBends
from tests.testing.caller import BATCHES, call, create


def story(bends, *, seed=1, count=150, key=None):
    """Return the bends in the ledger after this number of rounds of calls."""
    with ClaudeEmulator(seed=seed) as claude:
        claude.add_key("another")
        batch_id = create(claude, "a", "b")
        claude.finish()
        claude.bend(bends)
        for _ in range(count):
            for path in ("", f"/{batch_id}", f"/{batch_id}/results", "/unknown"):
                try:
                    call(claude, "GET", f"{BATCHES}{path}", x_api_key=key or claude.api_key)
                except (http.client.HTTPException, OverflowError):  # a length of 400 digits
                    continue
        return [name for request in claude.requests for name in request.faults]


@pytest.mark.slow
def test_a_seed_repeats_them():
    bends = RandomBends(share=0.5, seed=7)
    first = story(bends, count=30)
    assert first == story(bends, count=30)
    assert first != story(RandomBends(share=0.5, seed=8), count=30)


@pytest.mark.slow
def test_every_kind_of_bend_is_drawn():
    names = story(RandomBends(share=1))
    kinds = {name.partition("=")[0] for name in names}
    wanted = {
        f"{verb}:{kind}" for verb in ("list", "retrieve", "results") for kind in ("field", "header", "status", "body")
    }
    assert kinds == wanted | {"list:listing"}
    assert any(name.startswith("retrieve:field=error.message") for name in names)
    assert any(name.startswith("list:field=request_counts.") for name in names)
    assert any(name.startswith("list:field=has_more") for name in names)
    assert any(name.startswith("results:field=result.message.usage.") for name in names)
    for how in ("replace", "drop", "retype", "huge", "null", "nul", "surrogate", "out_of_range"):
        assert any(name.endswith(f"how={how}") for name in names)


@pytest.mark.slow
def test_a_share_of_them():
    assert 60 < len(story(RandomBends(share=0.2), count=100)) < 100


def test_of_one_key_only():
    assert story(RandomBends(share=1, key="another"), count=5) == []
    assert len(story(RandomBends(share=1, key="another"), count=5, key="another")) == 20


@pytest.mark.slow
def test_spared_bends_are_not_drawn():
    spare = ("*:status=*", "*:header=*", "*:body=*", "results:*", "list:listing=*", "list:field=data*", "*:field=id")
    names = story(RandomBends(share=1, spare=spare))
    assert {name.partition("=")[0] for name in names} == {"list:field", "retrieve:field"}
    assert not {name for name in names if "=data" in name or "=id," in name}


@pytest.mark.parametrize("pattern", ["create", "make:status=*", "create:state=*"])
def test_an_unknown_spared_bend_is_refused(pattern):
    with pytest.raises(ValueError, match="matches no bend: write ENDPOINT:KIND=WHAT"):
        RandomBends(spare=(pattern,))
