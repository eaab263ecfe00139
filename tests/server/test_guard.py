"""A request of which the end never comes is nothing that anybody asked for."""

from __future__ import annotations

import socket

import httpx
import pytest
from sample_workspace import SAMPLE_ID, Sample

from autoprune.store import commands, experiments

from .served import Served, served

CONFIG = {
    "experimentName": "digits",
    "searchSpace": {"lr": {"_type": "uniform", "_value": [0, 1]}},
    "trialCommand": "python trial.py",
    "maxTrialNumber": 9,
    "tuner": {"name": "Random", "classArgs": {}},
}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
API = f"/api/v1/experiments/{SAMPLE_ID}"


@pytest.mark.parametrize(
    ("method", "path", "kind", "body"),
    [
        ("PATCH", f"{API}/limits", JSON, '{"maxTrialNumber": 50}'),
        ("POST", f"{API}/stop", JSON, ""),
        ("POST", f"/experiments/{SAMPLE_ID}/limits", FORM, "maxTrialNumber=50"),
    ],
)
def test_a_torn_request_is_obeyed_by_nobody(fresh: Sample, method: str, path: str, kind: str, body: str) -> None:
    with fresh.store.write() as tx:
        experiments.set_config(tx, fresh.id, CONFIG)
    with fresh.workspace.lock(fresh.id), served(fresh.workspace) as server:
        send(server, method, path, kind, body, more=2)
        with httpx.Client(base_url=server.url, headers=server.headers, trust_env=False) as client:
            whole = client.patch(f"{API}/limits", json={"maxTrialNumber": 20})
        assert whole.status_code == 202
    with fresh.store.read() as tx:
        assert [command.data for command in commands.pending(tx, fresh.id)] == [{"maxTrialNumber": 20}]
    assert server.log.read_text() == ""


def send(server: Served, method: str, path: str, kind: str, body: str, more: int) -> None:
    """All of a request but its last bytes; then the connection ends."""
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Authorization: Bearer {server.token}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) + more}",
    ]
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall("\r\n".join([*head, "", body]).encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096) == b""
