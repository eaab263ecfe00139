"""`autoprune space`: JSON on stdout, for any trial script."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

from cli.conftest import Autoprune

from autoprune.search_space import space_from_plain

TASK = """
    import autoprune, torch
    from torch import nn

    print("the user's own words")

    class Task(autoprune.Task):
        def __init__(self, width=8):
            self.width = width
        def build(self):
            return nn.Sequential(nn.Conv2d(1, self.width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(self.width * 36, 2))
        def prepare(self, model):
            raise SystemExit("never")
        def train(self, model, epochs): ...
        def evaluate(self, model):
            return 1.0
        def example_input(self):
            return torch.zeros(1, 1, 8, 8)
    """


def test_it_prints_the_space(tmp_path: Path, autoprune: Autoprune) -> None:
    (tmp_path / "task.py").write_text(dedent(TASK))
    result = autoprune(
        "space", "task.py:Task", "--pruners", "level,l1", "--budget", "parameters=.4", "--arg", "width=4"
    )
    assert result.returncode == 0, result.stderr
    assert "the user's own words" in result.stderr
    assert list(space_from_plain(json.loads(result.stdout), "stdout").members) == ["prune_method"]
    level, of_filters = json.loads(result.stdout)["prune_method"]["_value"]
    assert list(level) == ["_name", "0_sparsity", "3_sparsity"]
    assert list(of_filters) == ["_name", "0_sparsity"]


def test_mistakes_are_usage(tmp_path: Path, autoprune: Autoprune) -> None:
    (tmp_path / "task.py").write_text(dedent(TASK))
    for arguments, said in (
        (("tusk.py:Task",), "did you mean task.py?"),
        (("task.py:Task", "--budget", "sparsty=.5"), "did you mean"),
        (("task.py:Task", "--arg", "wdth=3"), "did you mean width?"),
    ):
        result = autoprune("space", *arguments)
        assert result.returncode == 2, (arguments, result.stderr)
        assert said in result.stderr
        assert result.stdout == ""
