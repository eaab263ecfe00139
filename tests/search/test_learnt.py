"""What gradual pruning teaches: learnt once for a task, a budget and a number of epochs, whole, and put to use."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from autoprune.errors import UsageError
from autoprune.search.checkpoint import KEPT
from autoprune.search.command import studying
from autoprune.search.learnt import Learnt
from autoprune.search.settings import Settings
from autoprune.search.space import read_parameters
from tests.search.bench import Bench

SIZES = {"1": 64 * 24, "3": 24 * 16, "5": 16 * 4}
LEFT = sum(SIZES.values()) // 5
RUN = """
    import json, sys
    from autoprune.search.job import Job
    from autoprune.search.settings import Settings
    job = Job.of(Settings.of(json.loads(sys.argv[1])))
    print("ready", flush=True)
    sys.stdin.readline()
    job.prepare()
    """


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch, pruner="gradual", arguments={"log": str(tmp_path / "log")})


def of(bench: Bench) -> Learnt:
    return Learnt.of(Settings.of(bench.settings))


def trainings(bench: Bench) -> list[str]:
    return (bench.folder / "log").read_text().split()


def files(bench: Bench) -> set[str]:
    return {file.name.partition(".")[2] for file in (bench.folder / "prepared").iterdir()}


def flat(given: dict[str, Tensor]) -> Tensor:
    return torch.cat([given[layer].flatten() for layer in SIZES])


def test_it_is_learnt_once_by_two_trainings(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.epochs = 3
    bench.job  # noqa: B018
    said = capfd.readouterr().err
    assert "prunes gradually, to learn which weights can go (once; it trains twice)" in said
    assert trainings(bench) == ["3", "3"]
    assert files(bench) == {"safetensors", "lock", "gradual.safetensors", "order.safetensors", "order.lock"}
    bench.job  # noqa: B018
    assert trainings(bench) == ["3", "3"]
    assert f"takes the order of a gradual pruning from {of(bench).order}" in capfd.readouterr().err


def test_the_order_leaves_as_many_as_the_budget_and_weights_begin_where_they_ended(bench: Bench) -> None:
    job = bench.job
    scores = of(bench).scores()
    assert {layer: own.numel() for layer, own in scores.items()} == SIZES
    order = flat(scores)
    assert int((order >= order.max().floor()).sum()) == LEFT
    dense, model = job.dense(), job.dense()
    of(bench).begin(model)
    assert set(load_file(of(bench).weights)) == set(model.state_dict())
    for layer in SIZES:
        before, after = (each.get_submodule(layer).weight for each in (dense, model))
        assert bool((after != 0).all())
        assert not torch.equal(before, after)


@pytest.mark.parametrize("change", ["budget", "epochs", "arguments"])
def test_another_budget_or_training_is_learnt_anew(bench: Bench, change: str) -> None:
    first = of(bench)
    assert of(bench) == first
    new: dict[str, Any] = {"budget": {"sparsity": 0.9}, "epochs": 2, "arguments": {}}
    setattr(bench, change, new[change])
    assert not {of(bench).weights, of(bench).order} & {first.weights, first.order}


def test_without_a_budget_half_is_left(bench: Bench) -> None:
    bench.budget = None
    bench.job  # noqa: B018
    order = flat(of(bench).scores())
    assert int((order >= order.max().floor()).sum()) == sum(SIZES.values()) / 2


@pytest.mark.parametrize("name", ["gradual", "Gradual"])
def test_trials_keep_what_went_last_and_start_from_its_weights(bench: Bench, name: str) -> None:
    bench.pruner = name
    parameters = bench.parameters(0.5, 0.9)
    job = bench.job
    allocation = job.allocation(job.dense(), parameters)
    model = job.pruned(job.dense(), allocation)
    start = job.dense()
    of(bench).begin(start)
    for layer, own in of(bench).scores().items():
        weight = model.get_submodule(layer).weight
        left = own.numel() - round(allocation.sparsities[layer] * own.numel())
        kept = set(own.flatten().topk(left).indices.tolist())
        assert set(weight.flatten().nonzero().flatten().tolist()) == kept
        assert torch.equal(weight[weight != 0], start.get_submodule(layer).weight[weight != 0])
    values = bench.trial(0, parameters, keep=True)[-1].values
    assert sum(layer["kept"] for layer in values["layers"].values()) == LEFT
    trained = bench.load(bench.output(0) / KEPT)
    for layer in SIZES:
        assert torch.equal(trained.get_submodule(layer).weight != 0, model.get_submodule(layer).weight != 0)


def test_what_is_gone_is_learnt_again(bench: Bench) -> None:
    job = bench.job
    allocation = job.allocation(job.dense(), bench.parameters(0.5, 0.9))
    first = job.pruned(job.dense(), allocation)
    for file in (bench.folder / "prepared").glob("*.safetensors"):
        file.unlink()
    again = job.pruned(job.dense(), allocation)
    assert torch.equal(again.get_parameter("1.weight"), first.get_parameter("1.weight"))
    assert len(trainings(bench)) == 4
    of(bench).weights.unlink()
    job.pruned(job.dense(), allocation)
    assert len(trainings(bench)) == 6


def test_a_search_starts_from_what_was_left(bench: Bench) -> None:
    settings = bench.settings
    settings["search"] |= {"pruners": ["gradual", "level"], "scan": False, "heuristics": True}
    facts = studying.run(settings=settings)
    start = facts["starts"][0]
    pruner, sparsities = read_parameters(start["parameters"])
    assert (start["name"], pruner) == ("gradual", "gradual")
    order = flat(of(bench).scores())
    counts = [int(own.sum()) for own in (order >= order.max().floor()).split(list(SIZES.values()))]
    assert counts == [round((1 - sparsities[layer]) * size) for layer, size in SIZES.items()]
    assert {read_parameters(each["parameters"])[0] for each in facts["starts"]} == {"gradual", "level"}
    methods = facts["space"]["prune_method"]["_value"]
    assert [branch["_name"] for branch in methods] == ["gradual", "level"]


def test_convolutions_in_another_layout(bench: Bench) -> None:
    bench.task = "Images"
    bench.job  # noqa: B018
    shapes = {name: tuple(own.shape) for name, own in of(bench).scores().items()}
    assert shapes == {"conv1": (8, 1, 3, 3), "conv2": (8, 8, 3, 3), "conv3": (12, 8, 3, 3), "fc": (4, 12)}
    model = bench.job.dense()
    of(bench).begin(model)
    assert model.conv2.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr]


def test_a_task_without_an_optimizer_is_refused(bench: Bench) -> None:
    bench.task = "Still"
    said = r"^given a task whose train takes no step .*, or search\.pruners without it, such as \[level\]$"
    with pytest.raises(UsageError, match=said):
        bench.job  # noqa: B018
    assert files(bench) == {"safetensors", "lock", "order.lock"}


def test_what_fails_leaves_nothing_to_take(bench: Bench) -> None:
    bench.task = "Failing"
    with pytest.raises(Exception, match=r"tasks.py:Failing: train failed \(ValueError: out of luck\)"):
        bench.job  # noqa: B018
    assert files(bench) == {"safetensors", "lock", "order.lock"}


def start(bench: Bench) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", dedent(RUN), json.dumps(bench.settings)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_of_two_processes_one_learns_and_who_is_killed_leaves_nothing(bench: Bench) -> None:
    bench.arguments = {"log": str(bench.folder / "log"), "dies": 2}
    killed = start(bench)
    killed.communicate("go\n", timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not of(bench).order.exists()
    assert not of(bench).weights.exists()
    bench.epochs = 40
    both = [start(bench) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=100)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert trainings(bench) == ["1", "1", "40", "40"]
    assert sum("prunes gradually" in text for text in said) == 1
    assert sum("takes the order of a gradual pruning" in text for text in said) == 1
    assert {name for name in files(bench) if "partial" in name} == set()
    assert set(of(bench).scores()) == set(SIZES)
