"""A real Chromium, real servers, and real experiments whose trials wait for the test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from asgi_client import HOST, TOKEN, Client
from browsing import WAITING, Reader, Run
from playwright.sync_api import Browser, Playwright, expect, sync_playwright
from sample_workspace import Sample

from autoprune.server.app import create_app
from autoprune.server.process import ServerProcess
from autoprune.store import Workspace
from autoprune.store.workspace import FOLDER

_PATIENCE_MS = 30_000


@pytest.fixture
def reader(sample: Sample) -> Iterator[Client]:
    """A browser's requests to an application over the sample workspace, without a browser: it has logged in."""
    client = Client(create_app(sample.workspace, TOKEN, [HOST]))
    client.get("/", params={"token": TOKEN})
    yield client
    client.close()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM_PATH") or next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail(f"no browser: install Debian's chromium, or give CHROMIUM_PATH (looked for {', '.join(names)})")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=_PATIENCE_MS)
    browser = playwright.chromium.launch(executable_path=path, args=sandbox)
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Reader]:
    reader = Reader(chromium)
    yield reader
    reader.close()


@pytest.fixture
def served(sample: Sample) -> Iterator[str]:
    """The link to a server over the sample workspace."""
    with ServerProcess.start(sample.workspace, 0) as server:
        yield server.url


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start an experiment; whatever is left of it ends with the test.

    It is served by the run itself, or by a server `apart`, which outlives it.
    """
    started: list[Run] = []
    servers = ExitStack()

    def start(script: str = WAITING, *, apart: bool = False, **fields: Any) -> Run:
        config = {
            "experimentName": "waiting",
            "searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}},
            "trialCommand": "python trial.py",
            "maxTrialNumber": 4,
            "trialConcurrency": 1,
            "tuner": {"name": "Random", "classArgs": {"seed": 1}},
            "trainingService": {"platform": "local", "warmStart": False},
        }
        (tmp_path / "trial.py").write_text(dedent(script))
        (tmp_path / "config.yml").write_text(yaml.safe_dump({**config, **fields}))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "autoprune", "run", "config.yml", "--json", "--port", "0"],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        told = json.loads(line)
        workspace = Workspace(tmp_path / FOLDER)
        url = servers.enter_context(ServerProcess.start(workspace, 0)).url if apart else told["url"]
        started.append(Run(process, tmp_path, url, told["id"]))
        return started[-1]

    with servers:
        yield start
    for each in started:
        each.process.terminate()
        each.process.communicate(timeout=60)
