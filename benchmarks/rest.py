"""How long the API takes to answer where there are very many trials, and how much memory the server has then.

    python benchmarks/rest.py [--trials 10000] [--requests 40] [--layers]

A real server process, asked over one connection by one client. Times are of the whole answer, as the client sees it.
`--layers` has each trial report what became of 50 layers, as trials of a task do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
from many import ID, build

from autoprune.server.process import ServerProcess
from autoprune.server.tokens import VARIABLE
from autoprune.store import Workspace

TOKEN = "benchmark-token-" + "x" * 32
TRIALS = f"/api/v1/experiments/{ID}/trials"
PAGES: Mapping[str, Mapping[str, str]] = {
    "by number": {},
    "by number, from the last": {"sort": "-number"},
    "by value": {"sort": "-value"},
    "by start": {"sort": "started"},
    "by duration": {"sort": "-duration"},
    "by metric": {"sort": "metric:macs"},
    "by metric, from the largest": {"sort": "-metric:macs"},
    "failed ones": {"state": "FAILED"},
    "feasible ones by value": {"state": "SUCCEEDED", "feasible": "true", "sort": "-value"},
}
ONCE: Mapping[str, str] = {
    "all experiments": "/api/v1/experiments",
    "experiment": f"/api/v1/experiments/{ID}",
    "best": f"/api/v1/experiments/{ID}/best",
    "statistics": f"/api/v1/experiments/{ID}/statistics",
    "Pareto set": f"/api/v1/experiments/{ID}/pareto",
    "one trial": f"{TRIALS}/77",
    "importance": f"/api/v1/experiments/{ID}/importance",
    "export, JSON": f"/api/v1/experiments/{ID}/export?format=json",
    "export, CSV": f"/api/v1/experiments/{ID}/export?format=csv",
}
FEW = ("importance", "export, JSON", "export, CSV")


def timed(client: httpx.Client, address: str, count: int, **parameters: str) -> list[float]:
    """Milliseconds of each request."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        client.get(address, params=parameters or None).raise_for_status()
        times.append((time.perf_counter() - began) * 1000)
    return times


def cursors(client: httpx.Client, parameters: Mapping[str, str]) -> Iterator[str]:
    """Of pages from the first to the last, a thousand trials apart."""
    cursor = None
    while True:
        given = {**parameters, "limit": "1000"} | ({"cursor": cursor} if cursor else {})
        cursor = client.get(TRIALS, params=given).raise_for_status().json()["next"]
        if cursor is None:
            return
        yield cursor


def show(name: str, times: list[float]) -> None:
    ordered = sorted(times)
    p95 = ordered[round(0.95 * (len(ordered) - 1))]
    print(f"{name:44} {statistics.median(ordered):8.1f} {p95:8.1f} {ordered[-1]:8.1f}")


def measure(url: httpx.URL, process: psutil.Process, count: int) -> None:
    base = f"{url.scheme}://{url.host}:{url.port}"
    print(f"{'':44} {'median':>8} {'p95':>8} {'most':>8}  ms")
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120) as client:
        timed(client, "/api/v1/health", 5)
        for name, parameters in PAGES.items():
            show(f"100 trials {name}", timed(client, TRIALS, count, limit="100", **parameters))
        for sort in ("number", "-value", "metric:macs"):
            given = {"sort": sort}
            deep = [
                each
                for cursor in cursors(client, given)
                for each in timed(client, TRIALS, max(1, count // 8), limit="100", cursor=cursor, **given)
            ]
            show(f"100 trials at every depth, {sort}", deep)
        print(f"memory of the server after pages of trials: {process.memory_info().rss / 1e6:.0f} MB")
        for name, address in ONCE.items():
            show(name, timed(client, address, 3 if name in FEW else count))
        print(f"memory of the server at the end: {process.memory_info().rss / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--layers", action="store_true")
    options = parser.parse_args()
    os.environ[VARIABLE] = TOKEN
    with tempfile.TemporaryDirectory() as folder:
        workspace = build(Path(folder) / "autoprune-experiments", options.trials, layers=options.layers)
        size = workspace.database.stat().st_size / 1e6
        print(f"{options.trials} trials, {size:.0f} MB of database, Python {sys.version.split()[0]}")
        with ServerProcess.start(Workspace(workspace.root), 0) as server:
            (process,) = psutil.Process().children()
            measure(httpx.URL(server.url), process, options.requests)


if __name__ == "__main__":
    main()
