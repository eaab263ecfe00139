"""Real servers for tests, whose patience and limits can be made small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoprune.store import Workspace

_CODE = """
import json, sys
from importlib import import_module
from autoprune.server.__main__ import main

for name, value in json.loads(sys.argv.pop(1)).items():
    module, _, constant = name.partition(":")
    assert hasattr(import_module(module), constant)
    setattr(import_module(module), constant, value)
sys.exit(main())
"""


@dataclass(frozen=True)
class Served:
    """A server in a process of its own."""

    port: int
    token: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def served(workspace: Workspace, **constants: object) -> Iterator[Served]:
    """`constants` are set in modules of the server: `live:MOST_CLIENTS=3`."""
    changes = {f"autoprune.server.{name}": value for name, value in constants.items()}
    command = [sys.executable, "-c", _CODE, json.dumps(changes), "--workspace", str(workspace.root), "--port", "0"]
    path = workspace.root / "test-server.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield Served(told["port"], told["token"], process, path)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.communicate()
