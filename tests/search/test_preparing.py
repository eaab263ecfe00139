"""Weights are made once for a task, whole or not at all, whoever asks and whoever is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.errors import UsageError
from autoprune.search.loading import Source, build, load_task
from autoprune.search.preparing import dense, prepare, weights_file

TASK = """
    import os, time
    import autoprune, torch
    from torch import nn

    class Task(autoprune.Task):
        def __init__(self, log, wait=0.0, kind="plain", fails=False, die=False):
            self.log, self.wait, self.kind, self.fails, self.die = log, wait, kind, fails, die
        def build(self):
            model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
            if self.kind == "tied":
                model[2].weight = model[0].weight
            if self.kind == "channels":
                model = nn.Sequential(nn.Conv2d(2, 3, 3)).to(memory_format=torch.channels_last)
            if self.kind == "odd" and os.path.exists(self.log):
                model = nn.Sequential(nn.Linear(4, 5))
            return model.half() if self.kind == "half" else model
        def prepare(self, model):
            with open(self.log, "a") as file:
                file.write("prepared\\n")
            time.sleep(self.wait)
            if self.fails:
                raise ValueError("no data")
            if self.die:
                os.kill(os.getpid(), 9)
            with torch.no_grad():
                for each in [*model.parameters(), *model.buffers()]:
                    each.fill_(3)
        def train(self, model, epochs): ...
        def evaluate(self, model): return 1.0
        def example_input(self): return torch.zeros(2, 4)
    """
RUN = """
    import sys, json
    from pathlib import Path
    from autoprune.search.loading import Source, load_task
    from autoprune.search.preparing import prepare
    source = Source(sys.argv[1], "Task", json.loads(sys.argv[2]))
    print("ready", flush=True)
    sys.stdin.readline()
    prepare(load_task(source), source, Path(sys.argv[3]), print)
    """


def source(folder: Path, **arguments: Any) -> Source:
    (folder / "task.py").write_text(dedent(TASK))
    return Source(str(folder / "task.py"), "Task", {"log": str(folder / "log"), **arguments})


def made(given: Source, folder: Path) -> list[str]:
    said: list[str] = []
    prepare(load_task(given), given, folder, said.append)
    return said


@pytest.mark.parametrize("kind", ["plain", "tied", "half", "channels"])
def test_every_model_gets_back_what_it_was_given_once(tmp_path: Path, kind: str) -> None:
    given = source(tmp_path, kind=kind)
    assert "prepares the model" in made(given, tmp_path / "kept")[0]
    assert "takes the prepared weights" in made(given, tmp_path / "kept")[0]
    assert (tmp_path / "log").read_text().count("prepared") == 1
    model, fresh = dense(load_task(given), given, tmp_path / "kept"), build(load_task(given), given)
    for name, value in model.state_dict().items():
        assert bool((value == 3).all()), name
        assert value.dtype == fresh.state_dict()[name].dtype
    if kind == "tied":
        assert model[2].weight is model[0].weight  # type: ignore[index]
    if kind == "channels":
        assert model[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index]


def test_other_arguments_are_prepared_anew(tmp_path: Path) -> None:
    for wait in (0.0, 0.01):
        made(source(tmp_path, wait=wait), tmp_path / "kept")
    assert (tmp_path / "log").read_text().count("prepared") == 2


def test_without_prepare_the_weights_are_those_of_build(tmp_path: Path) -> None:
    text = dedent(TASK).replace("def prepare", "def never")
    (tmp_path / "task.py").write_text(text)
    given = Source(str(tmp_path / "task.py"), "Task", {"log": ""})
    made(given, tmp_path)
    first, again = (dense(load_task(given), given, tmp_path).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_what_fails_leaves_nothing_to_take(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"task.py:Task: prepare failed \(ValueError: no data\)"):
        made(source(tmp_path, fails=True), tmp_path / "kept")
    assert list((tmp_path / "kept").glob("*.safetensors")) == []
    assert list((tmp_path / "kept").glob("*.partial")) == []


def test_weights_that_are_gone_are_made_again(tmp_path: Path) -> None:
    given = source(tmp_path)
    made(given, tmp_path)
    weights_file(tmp_path, given).unlink()
    for _ in range(2):
        assert bool((dense(load_task(given), given, tmp_path)[0].weight == 3).all())  # type: ignore[index,union-attr]
    assert (tmp_path / "log").read_text().count("prepared") == 2


def test_a_model_that_changes_is_named(tmp_path: Path) -> None:
    given = source(tmp_path, kind="odd")
    made(given, tmp_path)
    with pytest.raises(UsageError, match=r"does not fit the weights that prepare gave it .*delete .*safetensors"):
        dense(load_task(given), given, tmp_path)


def test_a_state_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    class Stateful(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 3}

        def set_extra_state(self, state: object) -> None: ...

    given = source(tmp_path)
    task = load_task(given)
    task.build = lambda: Stateful(2, 2)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="expected a state_dict of tensors"):
        prepare(task, given, tmp_path, lambda text: None)
    assert not weights_file(tmp_path, given).exists()


def start(folder: Path, arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", dedent(RUN), str(folder / "task.py"), arguments, str(folder / "kept")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_two_at_once_prepare_once_and_who_is_killed_leaves_nothing(tmp_path: Path) -> None:
    import json

    killed = source(tmp_path, die=True)
    first = start(tmp_path, json.dumps(dict(killed.arguments)))
    first.communicate("go\n", timeout=60)
    assert first.returncode == -9
    assert list((tmp_path / "kept").glob("*.safetensors")) == []
    given = source(tmp_path, wait=2.0)
    both = [start(tmp_path, json.dumps(dict(given.arguments))) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text().count("prepared") == 2  # of the one that was killed, and of one of these
    assert "prepares the model" in said[0]
    assert "waits for another process that prepares this model" in said[1]
    assert "takes the prepared weights" in said[1]
