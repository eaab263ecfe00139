"""Real `autoprune` processes in a folder of their own, and a small experiment for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

Autoprune = Callable[..., subprocess.CompletedProcess[str]]

QUICK = """
    import autoprune
    autoprune.report_intermediate_result(0.1)
    autoprune.report_final_result({"default": autoprune.get_parameters()["x"], "sparsity": 0.8})
    """
SLOW = """
    import time, autoprune
    autoprune.report_intermediate_result(0.1)
    time.sleep(1000)
    """


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    def write(script: str = QUICK, **fields: Any) -> Path:
        base: dict[str, Any] = {
            "experimentName": "Small Search",
            "searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}},
            "trialCommand": "python trial.py",
            "maxTrialNumber": 3,
            "tuner": {"name": "Random", "classArgs": {"seed": 1}},
        }
        (tmp_path / "trial.py").write_text(dedent(script))
        (tmp_path / "config.yml").write_text(yaml.safe_dump({**base, **fields}))
        return tmp_path / "config.yml"

    return write


@pytest.fixture
def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}


@pytest.fixture
def autoprune(tmp_path: Path, environment: dict[str, str]) -> Autoprune:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "autoprune", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    return run


@pytest.fixture
def running(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a run whose first trial has reported something."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, server: bool = False) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "autoprune", *arguments, "--json", *([] if server else ["--no-server"])]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "intermediate_result":
                break
        return process

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=30)
