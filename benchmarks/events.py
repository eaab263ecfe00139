"""What 50 clients that watch cost the experiment that they watch: trials a minute with and without them, in turn.

One experiment of trials that end at once runs all the time, beside a server of its own. Every few seconds 50 clients
come or go, one of which never reads, and neighbouring stretches are compared, so that what else the machine does is in
both. The clients are a process of their own at the lowest priority: what a browser or a script does with what it hears
is no cost of the server. The processor time of the server is a share of one core.

    python benchmarks/events.py --pairs 15 --seconds 8
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

import autoprune
from autoprune.records import seconds
from autoprune.server.process import ServerProcess
from autoprune.store import Workspace

CLIENTS = 50
GOAL = 0.05
SETTLING_SECONDS = 1.0
SCRIPT = """
import autoprune
x = autoprune.get_parameters()["x"]
for step in range(5):
    autoprune.report_intermediate_result(x * step / 5)
autoprune.report_final_result(x)
"""


@dataclass(frozen=True)
class Stretch:
    """Some seconds with or without clients: from when to when, and the processor time that the server took."""

    watched: bool
    since: float
    until: float
    busy: float

    def rate(self, ended: list[float]) -> float:
        return 60 * sum(self.since <= one < self.until for one in ended) / (self.until - self.since)

    @property
    def share(self) -> float:
        return self.busy / (self.until - self.since)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        watch(httpx.URL(options.watch))
    else:
        compare(options.pairs, options.seconds)


def compare(pairs: int, length: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stretches, ended = observe(Path(folder), pairs, length)
    ratios = []
    for pair in range(pairs):
        two = {one.watched: one for one in stretches[2 * pair : 2 * pair + 2]}
        rates = {watched: one.rate(ended) for watched, one in two.items()}
        ratios.append(rates[True] / rates[False])
        print(
            f"pair {pair}: {rates[False]:.0f} trials a minute alone, {rates[True]:.0f} watched; "
            f"server {two[False].share:.1%} and {two[True].share:.1%} of a core"
        )
    mean, error = statistics.mean(ratios), statistics.stdev(ratios) / pairs**0.5
    print(f"watched / alone: median {statistics.median(ratios):.3f}, mean {mean:.3f} +- {error:.3f}")
    print(f"goal: at least {1 - GOAL:.2f}: {'kept' if mean >= 1 - GOAL else 'missed'}")


def observe(folder: Path, pairs: int, length: float) -> tuple[list[Stretch], list[float]]:
    """The stretches, in turn and each pair in the other order than the one before it; and when trials ended."""
    (folder / "trial.py").write_text(SCRIPT)
    config = {
        "experimentName": "watched",
        "searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}},
        "trialCommand": "python trial.py",
        "trialCodeDirectory": str(folder),
        "trialConcurrency": 2,
        "tuner": {"name": "Random"},
        "maxTrialNumber": 100_000,
    }
    workspace = Workspace(folder / "autoprune-experiments")
    workspace.create().close()
    experiment = autoprune.Experiment(config, workspace=workspace.root)
    before = {child.pid for child in psutil.Process().children()}
    with ServerProcess.start(workspace, 0) as server:
        (process,) = [child for child in psutil.Process().children() if child.pid not in before]
        experiment.start()
        try:
            stretches = [
                stretch(httpx.URL(server.url), experiment.id, process, length, watched=number % 4 in (1, 2))
                for number in range(2 * pairs)
            ]
        finally:
            experiment.stop()
        return stretches, [seconds(trial.ended) for trial in experiment.trials() if trial.ended]


def stretch(url: httpx.URL, experiment: str, server: psutil.Process, length: float, *, watched: bool) -> Stretch:
    with watching(url, experiment) if watched else nullcontext():
        time.sleep(SETTLING_SECONDS)
        since, before = time.time(), _busy(server)
        time.sleep(length)
        return Stretch(watched, since, time.time(), _busy(server) - before)


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def watching(url: httpx.URL, experiment: str) -> Iterator[None]:
    """The clients, until the end of the block; then they say what they heard."""
    events = url.join(f"/api/v1/experiments/{experiment}/events?token={url.params['token']}")
    command = [sys.executable, __file__, "--watch", str(events)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdout is not None
        clients.stdout.readline()
        yield
        said, _ = clients.communicate("\n")
    print(f"    {said.strip()}", flush=True)


def watch(url: httpx.URL) -> None:
    """Watch with all clients until a line comes, and say what they heard."""
    os.nice(19)
    token = url.params["token"]
    target = url.copy_remove_param("token").raw_path.decode()
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{url.port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    heard: Counter[socket.socket] = Counter()
    with ExitStack() as held:
        waiting = held.enter_context(selectors.DefaultSelector())
        for number in range(CLIENTS):
            client = held.enter_context(socket.create_connection(("127.0.0.1", url.port)))
            client.sendall(head.encode())
            if number:
                waiting.register(client, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        print("watching", flush=True)
        while sys.stdin not in (ready := [key.fileobj for key, _ in waiting.select()]):
            for one in ready:
                assert isinstance(one, socket.socket)
                heard[one] += one.recv(65536).count(b"event: ")
    counts = heard.values()
    print(f"{len(counts)} clients that read heard {min(counts)} to {max(counts)} events each")


if __name__ == "__main__":
    main()
