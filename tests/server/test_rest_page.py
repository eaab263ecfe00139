"""docs/rest.md lists the addresses there are."""

from __future__ import annotations

import re
from pathlib import Path

from asgi_client import Client

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"


def test_the_page_lists_every_address(client: Client) -> None:
    listed = re.findall(r"^\| `([A-Z]+ /api[^`]*)`", PAGE.read_text(), re.MULTILINE)
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    described = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(listed) == {*described, "GET /api/v1/openapi.json"}
    assert len(set(listed)) == len(listed)
