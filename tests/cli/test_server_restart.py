"""`run` goes on serving when its server dies."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil


def test_a_server_that_dies_is_replaced_and_no_trial_notices(
    config: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> None:
    script = """
        import pathlib, time, autoprune
        autoprune.report_intermediate_result(0.1)
        while not pathlib.Path("go").exists():
            time.sleep(0.05)
        autoprune.report_final_result(1)
        """
    command = [sys.executable, "-m", "autoprune", "run", str(config(script, maxTrialNumber=1)), "--json", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        link = httpx.URL(json.loads(process.stdout.readline())["url"])
        address = f"http://127.0.0.1:{link.port}/api/v1/experiments/small/trials/0"
        bearer = {"Authorization": f"Bearer {link.params['token']}"}
        (server,) = [
            child for child in psutil.Process(process.pid).children() if "autoprune.server" in " ".join(child.cmdline())
        ]
        server.kill()
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(address, headers=bearer, trust_env=False)
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (answer.status_code, answer.json()["state"], answer.json()["attempts"]) == (200, "RUNNING", 1)
        (tmp_path / "go").touch()
        process.stdout.read()
    assert process.returncode == 0
