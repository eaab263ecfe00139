"""One runner, and what the scripts that it runs leave."""

from __future__ import annotations

import re
import time
from pathlib import Path
from textwrap import dedent

from autoprune.records import Exit, TrialSpec
from autoprune.runners import Options
from autoprune.runners._warm import WarmProcess
from autoprune.runners.local import LocalRunner


class Bench:
    """Runs scripts with one runner, and tells what they left."""

    def __init__(self, folder: Path, *, warm: bool) -> None:
        self.folder = folder
        self.warm = warm
        self.runner = LocalRunner(2, Options(warm_start=warm))
        self.number = 0

    def start(self, code: Path, command: str = "python trial.py --lr 0.1 'two words'") -> TrialSpec:
        folder = self.folder / str(self.number) / "attempts" / "0"
        spec = TrialSpec("exp-1", self.number, 0, command, code, folder, self.folder / "output", {"x": 0.5})
        self.number += 1
        self.runner.prepare(command, code, self.folder / "server.log")
        self.runner.start(spec)
        return spec

    def process(self, spec: TrialSpec) -> object:
        return self.runner._running[spec.number].process

    def finish(self) -> dict[int, Exit | None]:
        exits: dict[int, Exit | None] = {}
        deadline = time.monotonic() + 60
        while self.runner._running:
            assert time.monotonic() < deadline, "the trials did not end"
            exits |= {ended.number: ended.exit for ended in self.runner.wait(1.0)}
        return exits

    def run(
        self, code: Path, text: str, command: str = "python trial.py --lr 0.1 'two words'", *, spawned: bool = False
    ) -> tuple[object, ...]:
        """Exit, output and errors; `spawned` says that a server is there and does without it."""
        (code / "trial.py").write_bytes(dedent(text).encode("latin-1"))
        spec = self.start(code, command)
        assert isinstance(self.process(spec), WarmProcess) == (self.warm and not spawned)
        exits = self.finish()
        streams = [(spec.folder / name).read_text() for name in ("stdout", "stderr")]
        return exits[spec.number], *(re.sub(r"0x[0-9a-f]+", "0x", stream) for stream in streams)
