"""A client that has an answer already does not get it again."""

from __future__ import annotations

import pytest
from asgi_client import Client
from sample_workspace import Sample

API = "/api/v1/experiments"
TAGGED = [
    API,
    f"{API}/digits",
    f"{API}/digits/trials?sort=-value&limit=2",
    f"{API}/digits/trials/0",
    f"{API}/digits/trials/0/metrics",
    f"{API}/digits/best",
    f"{API}/digits/pareto",
    f"{API}/digits/importance",
    f"{API}/digits/statistics",
    f"{API}/digits/search-space",
]


@pytest.mark.parametrize("address", TAGGED)
def test_an_answer_is_known_by_its_tag(client: Client, address: str) -> None:
    first = client.get(address)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(address, headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == "private, no-cache"
        assert again.headers["x-content-type-options"] == "nosniff"
    for unknown in ('"other"', etag.strip('"'), ""):
        assert client.get(address, headers={"If-None-Match": unknown}).content == first.content


@pytest.mark.parametrize("address", [API, f"{API}/digits", f"{API}/digits/trials", f"{API}/digits/statistics"])
def test_what_has_changed_is_told(client: Client, sample: Sample, address: str) -> None:
    before = client.get(address)
    sample.succeed(9, 0.99)
    after = client.get(address, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


def test_who_has_no_token_is_told_nothing(stranger: Client) -> None:
    assert stranger.get(API, headers={"If-None-Match": "*"}).status_code == 401


def test_problems_have_no_tag(client: Client) -> None:
    answer = client.get(f"{API}/nothing", headers={"If-None-Match": "*"})
    assert answer.status_code == 404
    assert "etag" not in answer.headers
