"""What 50 clients that watch cost the experiment that they watch: trials a minute with and without them, in turn.

One of the clients never reads. The same experiment of short trials runs again and again, beside a server of its own;
runs with and without clients take turns, and neighbours are compared, so that what else the machine does is in both.

    python benchmarks/events.py --pairs 3 --trials 150
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

import autoprune
from autoprune.records import seconds
from autoprune.server.process import ServerProcess
from autoprune.store import Workspace

CLIENTS = 50
GOAL = 0.05
SCRIPT = """
import autoprune
from autoprune.records import seconds
x = autoprune.get_parameters()["x"]
for step in range(5):
    autoprune.report_intermediate_result(x * step / 5)
autoprune.report_final_result(x)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--trials", type=int, default=150)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "trial.py").write_text(SCRIPT)
        for pair in range(options.pairs):
            order = (0, CLIENTS) if pair % 2 == 0 else (CLIENTS, 0)
            rates = {clients: run(Path(folder), options.trials, clients) for clients in order}
            ratios.append(rates[CLIENTS] / rates[0])
            print(f"pair {pair}: {rates[0]:.1f} trials a minute alone, {rates[CLIENTS]:.1f} watched", flush=True)
    middle = statistics.median(ratios)
    print(f"watched / alone: median {middle:.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    print(f"goal: at least {1 - GOAL:.2f}: {'kept' if middle >= 1 - GOAL else 'missed'}")


def run(folder: Path, trials: int, clients: int) -> float:
    """Trials a minute, from the start of the first to the end of the last."""
    config = {
        "experimentName": f"watched by {clients}",
        "searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}},
        "trialCommand": "python trial.py",
        "trialCodeDirectory": str(folder),
        "maxTrialNumber": trials,
        "tuner": {"name": "Random"},
    }
    workspace = Workspace(folder / "autoprune-experiments")
    workspace.create().close()
    experiment = autoprune.Experiment(config, workspace=workspace.root)
    with ExitStack() as held:
        before = {child.pid for child in psutil.Process().children()}
        server = held.enter_context(ServerProcess.start(workspace, 0))
        (process,) = [child for child in psutil.Process().children() if child.pid not in before]
        experiment.start()
        url = httpx.URL(server.url)
        heard = [held.enter_context(watching(url, experiment.id, reads=bool(number))) for number in range(clients)]
        experiment.wait()
        memory = process.memory_info().rss / 2**20
        ended = [trial.ended for trial in experiment.trials() if trial.ended]
        started = [trial.started for trial in experiment.trials() if trial.started]
        if clients:
            time.sleep(1)
            least = min(len(events) for events in heard[1:])
            print(f"    server {memory:.0f} MB; each client that reads heard at least {least} events", flush=True)
    first, last = (seconds(stamp) for stamp in (min(started), max(ended)))
    return 60 * len(ended) / (last - first)


@contextmanager
def watching(url: httpx.URL, experiment: str, *, reads: bool) -> Iterator[list[bytes]]:
    """A client of the events, and what it has heard; one that does not read hears nothing."""
    heard: list[bytes] = []
    head = f"GET /api/v1/experiments/{experiment}/events?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{url.port}\r\n"
    with socket.create_connection(("127.0.0.1", url.port)) as connection:
        connection.sendall(f"{head}Authorization: Bearer {url.params['token']}\r\n\r\n".encode())
        thread = threading.Thread(target=_read, args=(connection, heard), daemon=True)
        if reads:
            thread.start()
        yield heard
        connection.shutdown(socket.SHUT_RDWR)
        if reads:
            thread.join()


def _read(connection: socket.socket, heard: list[bytes]) -> None:
    rest = b""
    while piece := connection.recv(65536):
        *events, rest = (rest + piece).split(b"\n\n")
        heard += [event for event in events if b"data: " in event]


if __name__ == "__main__":
    main()
