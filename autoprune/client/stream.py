"""Server-sent events, read from the lines of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from autoprune.records import JSON


def read_events(lines: Iterable[str]) -> Iterator[dict[str, JSON]]:
    """Each as `{"event": ..., "id": ..., ...}` with its data; `id` is None where it has none. Comments are left out.

    What says only where the stream stands, as its beginning does, is `{"id": ...}`.
    """
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            id = int(fields["id"]) if "id" in fields else None
            yield {"event": fields["event"], "id": id, **json.loads(fields["data"])}
        elif "id" in fields:
            yield {"id": int(fields["id"])}
        if not line:
            fields = {}
