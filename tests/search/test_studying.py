"""The study of a task: what the rest of autoprune hears of its model, and where a search starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.errors import UsageError
from autoprune.search.command import checking, spacing, studying
from autoprune.search.space import HIGHEST, highest_for, read_parameters

TASKS = str(Path(__file__).with_name("tasks.py"))


def settings(folder: Path, name: str = "Images", **search: Any) -> dict[str, Any]:
    return {
        "task": f"{TASKS}:{name}",
        "arguments": {},
        "prepared": str(folder),
        "budget": {"sparsity": 0.8},
        "search": {
            "pruners": ["level"], "granularity": "layer", "epochs": 1, "finalEpochs": None, "scan": False,
            "heuristics": True, **search,
        },
        "seed": 5,
        "maximize": True,
    }  # fmt: skip


def names(facts: dict[str, Any]) -> list[str]:
    return [start["name"] for start in facts["starts"]]


@pytest.mark.slow
def test_facts_of_a_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    facts = studying.run(settings=settings(tmp_path, scan=True))
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "builds the model of tasks.py:Images"
    assert sum(line.startswith("scan ") for line in said) == sum(len(curve["values"]) for curve in facts["curves"])
    assert facts["cost"]["parameters"] == 8 * 9 + 8 * 8 * 9 + 12 * 8 * 9 + 12 + 12 * 4 + 4 + 2 * 16
    assert [group["name"] for group in facts["groups"]["level"]] == ["conv1", "conv2", "conv3", "fc"]
    assert names(facts) == ["fisher", "synflow", "lamp", "erk", "scan", "global", "uniform", "normalised"]
    (branch,) = facts["space"]["prune_method"]["_value"]
    for start in facts["starts"]:
        pruner, sparsities = read_parameters(start["parameters"])
        assert pruner == "level"
        sizes = {group["name"]: group["size"] for group in facts["groups"]["level"]}
        kept = sum(round((1 - sparsities[name]) * size) for name, size in sizes.items())
        assert kept == facts["budget"]["limit"]
        assert all(value <= branch[f"{name}_sparsity"]["_value"][1] for name, value in sparsities.items())
    again = studying.run(settings=settings(tmp_path, scan=True), curves=facts["curves"])
    assert again["curves"] == facts["curves"]
    assert "scan 1/" not in capfd.readouterr().err
    assert names(again) == names(facts)


@pytest.mark.slow
def test_further_pruners_start_evenly_and_the_fitting_one_goes_with_its_heuristic(tmp_path: Path) -> None:
    facts = studying.run(settings=settings(tmp_path, pruners=["level", "fisher", "random"]))
    assert names(facts)[0] == "fisher"
    assert names(facts)[-1] == "uniform (random)"
    assert [name for name in names(facts) if "fisher" in name or "random" in name] == ["fisher", "uniform (random)"]
    assert {name for name in names(facts) if "level" in name} >= {"lamp (level)", "erk (level)", "uniform (level)"}
    assert "scan (level)" not in names(facts)
    methods = [branch["_name"] for branch in facts["space"]["prune_method"]["_value"]]
    assert methods == ["level", "fisher", "random"]


def test_without_heuristics_there_are_no_starts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    facts = studying.run(settings=settings(tmp_path, name="Points", heuristics=False))
    assert facts["starts"] == []
    assert facts["curves"] == []
    assert facts["space"]["prune_method"]["_value"][0]["1_sparsity"]["_value"] == [0.0, HIGHEST]


def test_no_allocation_comes_twice(tmp_path: Path) -> None:
    facts = studying.run(settings={**settings(tmp_path, name="Points", granularity="stage")})
    parameters = [str(start["parameters"]) for start in facts["starts"]]
    assert len(parameters) == len(set(parameters))


@pytest.mark.parametrize(
    ("changes", "search", "said"),
    [
        ({"budget": {"sparsity": 0.99999}}, {}, "expected what can be reached"),
        ({"budget": {"macs": 0.5}}, {}, "budget.macs: given 0.5"),
        ({}, {"pruners": ["leevl"]}, r"search.pruners: given 'leevl'; .* \(did you mean level\?\)"),
        ({}, {"pruners": ["agp"]}, "search.pruners: given agp, which prunes while a model trains"),
        ({"arguments": {"wigth": 1}}, {}, "'wigth'"),
        ({"task": f"{TASKS}:Image"}, {}, r"did you mean Images\?"),
    ],
)
def test_mistakes_are_found_before_anything_is_prepared(
    tmp_path: Path, changes: dict[str, Any], search: dict[str, Any], said: str
) -> None:
    given = {**settings(tmp_path / "kept", **search), **changes}
    with pytest.raises(Exception, match=said):
        checking.run(settings=given)
    with pytest.raises(Exception, match=said):
        studying.run(settings=given)
    assert not (tmp_path / "kept").exists()


def test_a_dense_model_without_a_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n"
        "from search.tasks import Points\n"
        "class Lost(Points):\n    def evaluate(self, model): return float('nan')\n"
    )
    given = {**settings(tmp_path), "task": f"{tmp_path / 'task.py'}:Lost"}
    with pytest.raises(UsageError, match="evaluate gives nan of the dense model; expected a finite number"):
        studying.run(settings=given)


def test_any_other_number_may_be_none(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n"
        "from search.tasks import Points\n"
        "class Lost(Points):\n    def evaluate(self, model): return {'default': 1.0, 'f1': float('nan')}\n"
    )
    given = {**settings(tmp_path, heuristics=False), "task": f"{tmp_path / 'task.py'}:Lost"}
    assert studying.run(settings=given)["dense"] == {"default": 1.0, "f1": None}


def test_a_space_needs_no_weights(tmp_path: Path) -> None:
    found = spacing.run(settings=settings(tmp_path, pruners=["level", "l1"]))
    level, of_filters = found["space"]["prune_method"]["_value"]
    assert list(level) == ["_name", "conv1_sparsity", "conv2_sparsity", "conv3_sparsity", "fc_sparsity"]
    assert list(of_filters) == ["_name", "conv1_sparsity", "conv3_sparsity"]
    assert found["groups"]["l1"][0]["layers"] == ("conv1", "conv2")  # which are added
    assert list(tmp_path.iterdir()) == []


def test_a_space_ends_beyond_all_that_is_tried() -> None:
    assert highest_for([]) == highest_for([0.5, 0.9]) == HIGHEST
    assert 0.999 < highest_for([0.999]) < 1
    assert 0.9999999 < highest_for([0.9999999]) < 1
