"""The end of a search: the model that is made of the best trial, and everything that is said of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from autoprune.compression.cost import measure
from autoprune.errors import UsageError
from autoprune.search import finishing
from autoprune.search.checkpoint import CHECKPOINT
from autoprune.search.job import Job
from autoprune.search.result import Result
from tests.search.bench import EXPERIMENT, TASKS, Bench

KINDS = [("Points", "level", {"sparsity": 0.8}), ("Images", "l1", {"macs": 0.5})]
FILES = {"level": {"model.safetensors", "model.masks.safetensors"}, "l1": {"model.safetensors"}}


@pytest.fixture(params=KINDS, ids=["masked", "compact"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    task, pruner, budget = request.param
    return Bench(tmp_path, monkeypatch, task=task, pruner=pruner, budget=budget, epochs=4)


@pytest.fixture
def masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def run(bench: Bench, numbers: list[int], *sparsities: float) -> dict[int, float]:
    """Trials of one allocation that keep their weights, and their values."""
    parameters = bench.parameters(*sparsities)
    values = {number: bench.trial(number, parameters, keep=True)[-1].value for number in numbers}
    return {number: value for number, value in values.items() if value is not None}


def test_makes_a_model_that_is_what_the_result_says(bench: Bench) -> None:
    found, start = run(bench, [2, 3], 0.5, 0.7), run(bench, [0], 0.6)
    candidates = [
        bench.candidate(bench.parameters(0.5, 0.7), found),
        bench.candidate(bench.parameters(0.6), start, "uniform"),
    ]
    verdict = {"winner": 2, "rival": 0, "noise": None, "ahead": None}
    result = bench.finish(candidates, verdict=verdict)
    best = bench.folder / "best"
    assert {each.name for each in best.iterdir()} == FILES[bench.pruner] | {"card.md", "result.json"}
    assert set(result["files"]) == {each.name for each in best.iterdir()}
    assert json.loads((best / "result.json").read_text()) == result
    assert set(result) == {field.name for field in fields(Result)}
    model, job = bench.load(best), bench.job
    assert job.score(model) == result["validation"]["final"]
    assert job.score(model, "test") == result["test"]["final"]
    assert job.score(job.dense()) == result["validation"]["dense"]
    assert job.score(job.dense(), "test") == result["test"]["dense"]
    cost = measure(model, job.example, latency=False)
    figures = {figure["name"]: figure["after"] for figure in result["figures"]}
    assert (figures["parameters"], figures["nonzeros"], figures["macs"]) == (cost.parameters, cost.nonzeros, cost.macs)
    winner, rival = result["contenders"]
    assert (winner["trial"], winner["validation"], winner["repeats"]) == (2, found[2], [found[3]])
    assert (rival["trial"], rival["name"], rival["repeats"]) == (0, "uniform", [])
    assert (len(winner["test"]), len(rival["test"])) == (2, 1)


def test_takes_the_best_run_and_trains_it_on_if_that_helps(bench: Bench) -> None:
    found = run(bench, [2, 3, 4], 0.5, 0.7)
    result = bench.finish([bench.candidate(bench.parameters(0.5, 0.7), found)])
    chosen, validation = result["trial"], result["validation"]
    assert found[chosen] == max(found.values())
    assert validation["trained"]["default"] == found[chosen]
    if result["went_on"]:
        assert validation["final"]["default"] > validation["trained"]["default"]
    else:
        assert validation["final"] == validation["trained"]
    assert result["further"] == bench.epochs


def test_the_same_model_again_by_the_command_on_the_card(bench: Bench) -> None:
    """Bit for bit, whether or not weights were kept."""
    found = run(bench, [2, 3], 0.5, 0.7)
    result = bench.finish([bench.candidate(bench.parameters(0.5, 0.7), found)])
    number = result["trial"]
    assert result["again"] == f"autoprune refit {EXPERIMENT} --trial {number}"
    only = [bench.candidate(bench.parameters(0.5, 0.7), {number: found[number]})]
    again = bench.finish(only, anew=True, out=str(bench.folder / "again"))
    for name in FILES[bench.pruner]:
        one, other = (load_file(bench.folder / folder / name) for folder in ("again", "best"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert again["validation"] == result["validation"]
    assert again["test"] == result["test"]


def test_a_trial_whose_weights_were_not_kept_is_made_again(masked: Bench) -> None:
    parameters = masked.parameters(0.5)
    value = masked.trial(5, parameters)[-1].value
    assert value is not None
    result = masked.finish([masked.candidate(parameters, {5: value})], epochs=0)
    assert result["validation"]["trained"] == result["validation"]["final"] == {"default": value}
    assert result["contenders"][0]["test"] == [result["test"]["final"]["default"]]
    assert (result["further"], result["went_on"]) == (0, False)
    assert result["again"].endswith("--trial 5 --epochs 0")


def test_a_trial_is_made_again_with_the_threads_of_trials(masked: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = masked.parameters(0.5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, seen = torch.get_num_threads(), []
    train = Job.train

    def spied(job: Job, model: nn.Module, epochs: int, *what: object) -> None:
        seen.append((what[0], torch.get_num_threads()))
        train(job, model, epochs, *what)

    monkeypatch.setattr(Job, "train", spied)
    masked.finish([masked.candidate(parameters, {5: 1.0})], threads=before + 1)
    assert seen == [("trial", before + 1), ("final", before + 1)]
    assert torch.get_num_threads() == before
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    masked.finish([masked.candidate(parameters, {5: 1.0})], threads=before + 1)
    assert seen[2:] == [("trial", before), ("final", before)]


def test_where_less_is_better_the_lowest_is_taken(masked: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(masked, [0, 1, 2, 3], 0.5)
    settings = {**masked.settings, "maximize": False}
    monkeypatch.setattr(Bench, "settings", settings)
    result = masked.finish([masked.candidate(masked.parameters(0.5), found)])
    assert found[result["trial"]] == min(found.values())
    assert result["validation"]["final"]["default"] <= result["validation"]["trained"]["default"]


def test_without_a_test_nothing_is_tested(masked: Bench) -> None:
    masked.task = "Untested"
    result = masked.finish([masked.candidate(masked.parameters(0.5), run(masked, [0], 0.5))])
    assert result["test"] == {}
    assert result["contenders"][0]["test"] == []
    assert "| dense | " in (masked.folder / "best" / "card.md").read_text()


@pytest.mark.parametrize(("budget", "given", "most"), [
    ({"sparsity": 0.9}, 0.9, None), ({"parameters": 400.0}, 400, 400), ({"parameters": 0.3}, 0.3, 0.3 * 2028),
])  # fmt: skip
def test_the_budget_and_what_the_model_has_of_it(
    masked: Bench, budget: dict[str, float], given: float, most: float | None
) -> None:
    masked.budget = budget
    result = masked.finish([masked.candidate(masked.parameters(0.5, 0.7), run(masked, [0], 0.5, 0.7))])
    assert (result["budget"]["kind"], result["budget"]["given"]) == (next(iter(budget)), given)
    if most is None:
        assert result["budget"]["achieved"] == pytest.approx(given, abs=1 / 1984)
    else:
        assert most - 1 < result["budget"]["achieved"] <= most
    for layer in result["layers"]:
        assert layer["sparsity"] == pytest.approx(layer["requested"], abs=1e-9)
        assert layer["sparsity"] == pytest.approx(1 - layer["kept"] / layer["of"])


def test_without_a_budget(masked: Bench) -> None:
    masked.budget = None
    result = masked.finish([masked.candidate(masked.parameters(0.5), run(masked, [0], 0.5))])
    assert result["budget"] == {}
    assert [layer["sparsity"] for layer in result["layers"]] == [0.5] * 3


def test_nothing_pruned_is_a_model_too(masked: Bench) -> None:
    masked.budget = None
    result = masked.finish([masked.candidate(masked.parameters(0.0), run(masked, [0], 0.0))])
    assert result["form"] == "dense"
    assert masked.job.score(masked.load(masked.folder / "best")) == result["validation"]["final"]


def test_the_code_on_the_card_loads_the_model(bench: Bench) -> None:
    result = bench.finish([bench.candidate(bench.parameters(0.5, 0.7), run(bench, [0], 0.5, 0.7))])
    best = bench.folder / "best"
    found = re.search(r"```python\n(.*?)```", (best / "card.md").read_text(), re.DOTALL)
    assert found is not None
    code = f"{found[1]}\nprint({bench.task}().evaluate(model))"
    environment = {**os.environ, "PYTHONPATH": str(TASKS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=best, env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == result["validation"]["final"]["default"]


def test_a_failure_leaves_the_earlier_model(masked: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [masked.candidate(masked.parameters(0.5), run(masked, [0], 0.5))]
    masked.finish(candidates)
    before = {each.name: each.read_bytes() for each in (masked.folder / "best").iterdir()}

    def full(result: Result) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finishing, "card", full)
    with pytest.raises(OSError, match="No space"):
        masked.finish(candidates, epochs=5)
    assert {each.name: each.read_bytes() for each in (masked.folder / "best").iterdir()} == before
    assert not list(masked.folder.glob(".best-*"))


def test_a_folder_with_other_files_is_refused(masked: Bench) -> None:
    candidates = [masked.candidate(masked.parameters(0.5), {0: 1.0})]
    place = masked.folder / "mine"
    place.mkdir()
    (place / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"which has thesis.tex; expected a new one"):
        masked.finish(candidates, out=str(place))
    with pytest.raises(UsageError, match="expected a folder"):
        masked.finish(candidates, out=str(place / "thesis.tex"))
    assert (place / "thesis.tex").read_text() == "years of work"


def test_what_stopped_trials_have_left_is_removed(masked: Bench) -> None:
    left, kept = masked.output(8) / CHECKPOINT, masked.output(8) / "mine"
    for folder in (left, kept):
        folder.mkdir(parents=True)
    candidates = [masked.candidate(masked.parameters(0.5), run(masked, [0], 0.5))]
    masked.finish(candidates, outputs=[str(masked.output(number)) for number in (0, 8)])
    assert not left.exists()
    assert kept.exists()
