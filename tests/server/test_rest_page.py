"""docs/rest.md lists the addresses there are."""

from __future__ import annotations

import re
from pathlib import Path

from asgi_client import Client

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"


def test_the_page_lists_every_address(client: Client) -> None:
    listed = set(re.findall(r"^\| `(/api[^`]*)`", PAGE.read_text(), re.MULTILINE))
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert listed == {*paths, "/api/v1/openapi.json"}
