"""Timing while other programs want the processors, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from autoprune.compression.torch.measuring import calm

TAKEN = """
import json, os
import torch
from torch import nn
from autoprune.compression import measure

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
torch.set_num_threads(2)
net = nn.Sequential(nn.Conv2d(8, 32, 3), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 32, 3))
cost = measure(net, torch.randn(1, 8, 16, 16), repeats=3)
print(json.dumps({"waited": cost.latency[0].waited, "notes": cost.notes}))
"""


class Machine:
    """A clock that a measurement moves by a second, for this share of which threads wait in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shares: Sequence[float | None], threads: int = 2) -> None:
        self.now = self.waited = 0.0
        self.slept: list[float] = []
        self._shares: Iterator[float | None] = iter(shares)
        self._tells = True
        monkeypatch.setattr("torch.get_num_threads", lambda: threads)
        monkeypatch.setattr(calm, "perf_counter", lambda: self.now)
        monkeypatch.setattr(calm, "sleep", self.slept.append)
        monkeypatch.setattr(calm, "_waited", lambda: self.waited if self._tells else None)

    def measure(self, seconds: float = 1.0) -> float | None:
        share = next(self._shares)
        self._tells = share is not None
        self.now += seconds
        self.waited += seconds * (share or 0.0)
        return share


@pytest.mark.parametrize(
    ("shares", "found", "tries"),
    [
        ([0.0], 0.0, 1),
        ([0.5], 0.5, 1),
        ([1.0, 0.25], 0.25, 2),
        ([3.0, 1.0, 2.0, 1.5], 1.0, 4),
        ([None], None, 1),
    ],
)
def test_the_calmest_measurement_counts(
    shares: list[float | None], found: float | None, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, shares)
    assert calm.calmest(machine.measure) == (found, found)
    assert len(machine.slept) == tries


def test_what_takes_long_is_not_measured_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [1.0, 2.0, 0.0])
    assert calm.calmest(lambda: machine.measure(6.0)) == (1.0, 1.0)


def test_one_thread_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [1.0], threads=1)
    assert calm.calmest(machine.measure) == (1.0, None)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell who waits")
def test_two_threads_on_one_processor_are_noticed() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run([sys.executable, "-c", TAKEN], capture_output=True, text=True, env=environment, check=True)
    said = json.loads(done.stdout)
    assert said["waited"] > 0.5
    assert "latency was measured while other programs kept the processors busy" in said["notes"][0]
