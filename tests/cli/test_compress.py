"""`autoprune compress`: one real process for each way it ends, and the child's own code for messages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from autoprune.cli._figures import show_compressed
from autoprune.compression.command.serving import _answer
from autoprune.compression.cost import BUSY
from autoprune.compression.torch import load_compact

from .conftest import Autoprune
from .model_files import DATA, MODEL
from .test_read import HEAVY

DATA_OPTION = ("--data", "numbers_of.py:batches")
HALF = ("--pruner", "l1", "--sparsity", "0.5", "--out", "small.safetensors")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder; what is imported from it is forgotten afterwards."""
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "numbers_of.py").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def compressed(
    *, data: str | None = None, inputs: Any = None, weights: str | None = None, recalibrate: bool = True, **choice: Any
) -> dict[str, Any]:
    """What the child process answers."""
    subject: dict[str, Any] = {"model": {"file": "net.py", "name": "build"}, "weights": weights}
    if data is None:
        subject["inputs"] = inputs or [{"shape": [1, 3, 8, 8], "dtype": "float32"}]
    else:
        subject["data"] = {"file": "numbers_of.py", "name": data}
    rest = {"out": "small.safetensors", "onnx": None, "recalibrate": recalibrate, "batch_sizes": [1]}
    request = {"subject": subject, "choice": {"pruner": "l1", **choice}, **rest}
    return _answer("autoprune.compression.command.compressing", request)


WORDS = """
from torch import nn


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.first = nn.Embedding(30, 8), nn.Linear(8, 16)
        self.slopes, self.last = nn.PReLU(16), nn.Linear(16, 3)

    def forward(self, numbers):
        return self.last(self.slopes(self.first(self.words(numbers).mean(1))))


build = Words
"""


def build() -> nn.Module:
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec(MODEL, names)
    model: nn.Module = names["build"]()
    return model


def counted(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def filters(answer: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {each["layer"]: (each["before"], each["after"]) for each in answer["filters"]}


def test_a_model_becomes_smaller_and_loads_elsewhere(autoprune: Autoprune, here: Path) -> None:
    result = autoprune("compress", "net.py:build", *DATA_OPTION, *HALF, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    small = load_compact(build, here / "small.safetensors")
    assert (answer["kind"], answer["pruner"], answer["requested"]) == ("compact", "L1NormPruner", 0.5)
    assert answer["before"]["parameters"] == counted(build())
    assert answer["after"]["parameters"] == counted(small) < 0.4 * counted(build())
    assert filters(answer) == {"stem": (16, 8), "conv1": (32, 16), "conv2": (16, 8)}
    assert small.get_submodule("head").get_parameter("weight").shape == (10, 8)
    assert answer["left_alone"] == {"head": "reaches the output of the model"}
    assert answer["compaction"]["staying"] == []
    ratios = {each["name"]: each["ratio"] for each in answer["figures"]}
    assert ratios["parameters"] == pytest.approx(counted(build()) / counted(small))
    assert (ratios["median ms, batch 1"] is None) == (BUSY in answer["notes"])
    assert answer["files"] == ["small.safetensors"]
    names: dict[str, Any] = {}
    exec(DATA, names)
    hidden = torch.cat([small.get_submodule("stem")(images) for images, _ in names["batches"]()])
    mean = small.get_submodule("norm0").get_buffer("running_mean")
    assert torch.allclose(mean, hidden.mean((0, 2, 3)), atol=1e-5), "BatchNorm knows the data"


@pytest.mark.slow
def test_in_words_with_onnx(autoprune: Autoprune, here: Path) -> None:
    result = autoprune("compress", "net.py:Net", "--input", "1,3,8,8", *HALF, "--onnx", "small.onnx")
    assert result.returncode == 0, result.stderr
    after = counted(load_compact(build, here / "small.safetensors"))
    ratio = f"{counted(build()) / after:.2f}x"
    assert result.stdout.splitlines()[1].split() == ["parameters", f"{counted(build()):,}", f"{after:,}", ratio]
    assert "load_compact(build, 'small.safetensors'); and small.onnx" in result.stderr
    assert (here / "small.onnx").exists()


def test_what_the_table_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = compressed(sparsity=0.5)["result"]
    capsys.readouterr()
    show_compressed(answer)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["before", "after", "ratio"]
    assert lines[1].split()[:2] == ["parameters", f"{counted(build()):,}"]
    assert "filters: 32 of 64 removed (50.0%), requested 0.5" in lines
    head = next(line for line in lines if line.startswith("head"))
    assert head.split(maxsplit=2) == ["head", "all", "reaches the output of the model"]
    assert "load_compact(build, 'small.safetensors')" in said.err
    assert "\x1b" not in said.out


def test_single_weights_make_nothing_smaller_and_it_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = compressed(pruner="level", sparsity=0.75)["result"]
    ratios = {each["name"]: each["ratio"] for each in answer["figures"]}
    assert ratios["median ms, batch 1"] is None, "nothing is claimed"
    assert ratios["parameters"] == ratios["macs"] == ratios["dense_bytes"] == 1
    capsys.readouterr()
    show_compressed(answer)
    said = capsys.readouterr().out
    assert "nothing is smaller or faster" in said
    assert said.count("computed like any other value") == 1
    assert "weights: 0.75 of them are zero, requested 0.75" in said
    assert next(line for line in said.splitlines() if line.startswith("latency")).endswith(" -")


def test_masked_weights_load_into_the_plain_model(here: Path) -> None:
    answer = compressed(pruner="level", sparsity=0.75)["result"]
    assert answer["kind"] == "masked"
    assert answer["files"] == ["small.safetensors", "small.masks.safetensors"]
    assert all((here / name).exists() for name in answer["files"])
    model = build()
    model.load_state_dict(load_file(here / "small.safetensors"))
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert [int((weight == 0).sum()) for weight in weights] == [int(weight.numel() * 0.75) for weight in weights]


@pytest.mark.parametrize("name", ["small.safetensors", "small.masks.safetensors"])
def test_nothing_is_written_over(name: str, autoprune: Autoprune, here: Path) -> None:
    (here / name).write_text("mine")
    result = autoprune("compress", "net.py:Net", "--input", "1,3,8,8", *HALF)
    assert result.returncode == 2
    assert f"{name} is there already; expected a new name, or --force" in result.stderr
    assert (here / name).read_text() == "mine"


def test_layers_that_cannot_lose_filters_are_left_alone(here: Path) -> None:
    (here / "net.py").write_text(WORDS)
    answer = compressed(inputs=[{"shape": [2, 7], "dtype": "int64"}], sparsity=0.5)["result"]
    assert answer["left_alone"] == {"words": "its rows are no channels", "last": "reaches the output of the model"}
    assert filters(answer) == {"first": (16, 8)}, "what goes with the PReLU goes"
    exact = compressed(inputs=[{"shape": [2, 7], "dtype": "int64"}], sparsity=0.5, pruner="slim")
    assert "without a layer of which SlimPruner can remove anything" in exact["error"]


@pytest.mark.parametrize("pruner", ["l2", "fpgm", "taylor", "apoz", "mean", "L1FilterPruner"])
def test_every_pruner_of_filters(pruner: str) -> None:
    answer = compressed(pruner=pruner, sparsity=0.5, data="batches")["result"]
    assert filters(answer) == {"stem": (16, 8), "conv1": (32, 16), "conv2": (16, 8)}
    assert answer["recalibrated"]


def test_round_to_and_mode() -> None:
    rounded = compressed(sparsity=0.4, round_to=8)["result"]
    assert filters(rounded) == {"stem": (16, 16), "conv1": (32, 24), "conv2": (16, 16)}
    alone = compressed(sparsity=0.5, mode="uniform")["result"]
    assert filters(alone)["conv1"] == (32, 16)
    assert filters(alone)["stem"][1] > 8, "filters chosen for each layer alone differ where layers are added"
    assert any("conv2" in each["reason"] or "stem" in each["reason"] for each in alone["compaction"]["staying"])


def test_a_config_list_says_what_is_pruned(here: Path) -> None:
    (here / "prune.yml").write_text("- sparsity: 0.25\n  op_names: [conv1]\n")
    answer = compressed(config="prune.yml")["result"]
    assert filters(answer) == {"conv1": (32, 24)}
    assert answer["requested"] is None


def test_statistics_are_kept_where_asked(here: Path) -> None:
    answer = compressed(sparsity=0.5, data="batches", recalibrate=False)["result"]
    assert not answer["recalibrated"]
    mean = load_file(here / "small.safetensors")["norm0.running_mean"]
    assert bool((mean == 0).all())


def test_a_loss_of_ones_own(here: Path) -> None:
    loss = "from torch.nn import functional\ndef mine(output, target):\n    print('mine')\n    return output.sum()\n"
    (here / "loss.py").write_text(loss)
    answer = compressed(pruner="taylor", sparsity=0.5, data="batches", loss={"file": "loss.py", "name": "mine"})
    assert filters(answer["result"])["conv1"] == (32, 16)


CONFIG = """\
- sparsity: 1.5
  op_names: [conv2]
- sparsty: 0.2
  op_names: [stem]
"""
CHILD_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"pruner": "l11", "sparsity": 0.5}, "--pruner: given 'l11'; expected a pruner's name (did you mean l1?)"),
    (
        {"pruner": "agp", "sparsity": 0.5},
        "given AGPPruner, which prunes while a model trains; expected one that prunes",
    ),
    ({}, "given neither --sparsity nor --config"),
    (
        {"sparsity": 0.5, "mode": "dependancy"},
        "--mode: given 'dependancy'; expected an allocation (did you mean dependen",
    ),
    ({"pruner": "level", "sparsity": 0.5, "round_to": 8}, "--round-to: given with LevelPruner"),
    ({"pruner": "taylor", "sparsity": 0.5}, "TaylorFOWeightPruner, which looks at data; expected --data"),
    ({"pruner": "taylor", "sparsity": 0.5, "data": "batches", "loss": "cros_entropy"}, "did you mean cross_entropy?"),
    ({"config": "prune.yml"}, "prune.yml:1:3: config_list[0].sparsity: given 1.5"),
    ({"config": "prune.yml"}, "prune.yml:3:3: config_list[1].sparsty: given the key 'sparsty'"),
    ({"sparsity": 0.0}, "--sparsity: given 0.0, at which L1NormPruner masks no filter at all; expected more (raise"),
    ({"sparsity": 0.01}, "--sparsity: given 0.01, at which L1NormPruner masks no filter at all"),
    ({"sparsity": 0.3, "round_to": 16}, "masks no filter at all; expected more (raise the sparsity, or lower --round-"),
    ({"config": "little.yml"}, "--config: given 'little.yml', at which L1NormPruner masks no filter at all"),
    ({"pruner": "level", "sparsity": 0.0}, "given 0.0, at which LevelPruner masks no weight at all"),
]


@pytest.mark.parametrize(("choice", "message"), CHILD_MISTAKES, ids=[case[1][:24] for case in CHILD_MISTAKES])
def test_mistakes(choice: dict[str, Any], message: str, here: Path) -> None:
    (here / "prune.yml").write_text(CONFIG)
    (here / "little.yml").write_text("- sparsity: 0.01\n  op_names: [conv1]\n")
    answer = compressed(**choice)
    assert message in answer["error"]
    assert answer["exit_code"] == 2
    assert not (here / "small.safetensors").exists()


def test_outputs_that_the_loss_does_not_take(here: Path) -> None:
    (here / "net.py").write_text(MODEL.replace("return self.head(hidden.mean((2, 3)))", "return {'scores': hidden}"))
    answer = compressed(pruner="taylor", sparsity=0.5, data="batches")
    said = "--loss: given cross_entropy, which does not take the output of the model, a dict, with a target of --data"
    assert answer["error"].startswith(said)
    assert "(--loss FILE.py:FUNCTION, called with the output and the target)" in answer["error"]
    assert answer["exit_code"] == 2


def test_a_smaller_model_is_pruned_further_from_a_script(here: Path) -> None:
    assert "result" in compressed(sparsity=0.5)
    answer = compressed(sparsity=0.5, weights="small.safetensors")
    assert "which a script prunes further: load_compact(build, FILE), then a pruner" in answer["error"]
    assert "--compact" not in answer["error"]
    assert answer["exit_code"] == 2


def test_data_that_fails_later_is_the_users_to_see(capsys: pytest.CaptureFixture[str]) -> None:
    answer = compressed(sparsity=0.5, data="failing")
    assert answer["exit_code"] == 1
    assert answer["error"] == "numbers_of.py:failing failed (OSError: the disk is gone)"
    assert "in failing" in capsys.readouterr().err


MISTAKES = [
    (("--sparsity", "1"), "Invalid value for '--sparsity'"),
    (("--sparsity", "0.5", "--config", "prune.yml"), "given both --sparsity and --config"),
    (("--config", "prune.yml"), "--config: given 'prune.yml'; expected a file that is there"),
    (("--sparsity", "0.5", "--out", "small.pt"), "--out: given 'small.pt'; expected a name that ends in .safetensors"),
    (("--sparsity", "0.5", "--out", "a/b.safetensors"), "expected a folder that is there (create a)"),
    (("--sparsity", "0.5", "--onnx", "small.pt"), "--onnx: given 'small.pt'; expected a name that ends in .onnx"),
    (("--sparsity", "0.5", "--loss", "lost.py:loss"), "--loss: given the file 'lost.py'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[case[1][:24] for case in MISTAKES])
def test_mistakes_that_need_no_torch(arguments: tuple[str, ...], message: str, autoprune: Autoprune) -> None:
    out = () if "--out" in arguments else ("--out", "small.safetensors")
    result = autoprune("compress", "net.py:build", "--input", "1,3,8,8", "--pruner", "l1", *out, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("name", ["compress", "cost"])
def test_help_is_quick_because_it_imports_little(name: str) -> None:
    code = (
        "import sys\nfrom autoprune.cli.main import cli\n"
        f"try: cli([{name!r}, '--help'], prog_name='autoprune')\n"
        f"finally: print(sorted(set({[*HEAVY, 'torch']!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "Examples:" in done.stdout
