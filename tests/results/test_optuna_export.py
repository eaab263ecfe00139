"""What Optuna reads back is what the store has: numbers, states, values, and parameters by path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState as State
from sample_spaces import EVERY_TYPE, SPACES, spaces
from sample_workspace import Sample, clock

from autoprune.records import ExperimentState, TrialState
from autoprune.results import Results
from autoprune.results.optuna_export import distribution, labels, write_optuna
from autoprune.search_space import Choice, flatten, sample, space_from_plain
from autoprune.store import Experiment, experiments

CONDITIONAL = {
    "prune_method": {
        "_type": "choice",
        "_value": [
            {"_name": "agp", "conv0_sparsity": {"_type": "uniform", "_value": [0.1, 0.9]}},
            {"_name": "level", "conv0_sparsity": {"_type": "quniform", "_value": [0, 1, 0.25]}},
        ],
    }
}


def create(empty: Sample, space: Mapping[str, Any] = CONDITIONAL, **arguments: Any) -> None:
    config = {"searchSpace": space, "tuner": {"name": "Random", "classArgs": arguments}}
    with empty.store.write() as tx:
        experiments.create(tx, Experiment(empty.id, "digits", config, 7, ExperimentState.RUNNING, clock(0)))


def exported(sample: Sample, folder: Path) -> optuna.Study:
    path = folder / "study.db"
    write_optuna(Results(sample.workspace, sample.store), None, path)
    study = optuna.load_study(study_name=sample.id, storage=f"sqlite:///{path}")
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    return study


def by_path(space: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as Optuna should show them."""
    parsed = space_from_plain(space, "test")
    dimensions = dict(parsed.dimensions())

    def shown(path: str, value: float) -> Any:
        dimension = dimensions[path]
        return labels(dimension)[int(value)] if isinstance(dimension, Choice) else value

    return {path: shown(path, value) for path, value in flatten(parsed, parameters).items()}


@pytest.mark.parametrize("mode", ["maximize", "minimize"])
@pytest.mark.parametrize("name", SPACES)
def test_the_best_trial_is_the_same(empty: Sample, tmp_path: Path, name: str, mode: str) -> None:
    space, random = SPACES[name], Random(name)
    create(empty, space, optimize_mode=mode)
    drawn = [sample(space_from_plain(space, "test"), random) for _ in range(12)]
    for number, parameters in enumerate(drawn):
        empty.succeed(number, random.random(), parameters)
    study, best = exported(empty, tmp_path), Results(empty.workspace, empty.store).best()
    assert study.direction.name.lower() == mode
    assert (study.best_trial.number, study.best_value) == (best.number, best.value)
    assert study.best_params == by_path(space, best.parameters)
    for trial, parameters in zip(study.trials, drawn, strict=True):
        assert trial.params == by_path(space, parameters)
        assert trial.user_attrs["parameters"] == parameters


def test_parameters_are_named_by_path_and_choices_by_label(empty: Sample, tmp_path: Path) -> None:
    create(empty)
    empty.succeed(0, 0.5, {"prune_method": {"_name": "agp", "conv0_sparsity": 0.3}})
    empty.succeed(1, 0.6, {"prune_method": {"_name": "level", "conv0_sparsity": 0.75}})
    first, second = exported(empty, tmp_path).trials
    assert first.params == {"prune_method": "agp", "prune_method/agp/conv0_sparsity": 0.3}
    assert second.params == {"prune_method": "level", "prune_method/level/conv0_sparsity": 0.75}
    assert second.distributions == {
        "prune_method": CategoricalDistribution(("agp", "level")),
        "prune_method/level/conv0_sparsity": FloatDistribution(0, 1, step=0.25),
    }


def test_states_values_curves_and_what_optuna_has_no_place_for(sample: Sample, tmp_path: Path) -> None:
    """The sample's parameters are not of this space."""
    with sample.store.write() as tx:
        config = {**experiments.get(tx, sample.id).config, "searchSpace": {"x": EVERY_TYPE["uniform"]}}
        experiments.set_config(tx, sample.id, config)
    sample.add(9, {"x": 1.5})
    study = exported(sample, tmp_path)
    found = study.trials
    finished = [State.COMPLETE] * 3 + [State.FAIL, State.FAIL, State.PRUNED, State.FAIL]
    assert [trial.state for trial in found] == [*finished, State.RUNNING, State.WAITING, State.WAITING]
    assert [trial.value for trial in found[:4]] == [0.9, 0.95, 0.95, None]
    assert found[0].intermediate_values == {0: 0.45}
    assert found[5].intermediate_values == {0: 0.99}
    assert found[0].duration is not None
    assert found[0].duration.total_seconds() == 4.0
    assert [trial.params for trial in found] == [{}] * 9 + [{"x": 1.5}]
    assert found[4].user_attrs == {
        "state": "INVALID",
        "parameters": {"lr": 0.4},
        "metrics": {"default": "NaN"},
        "message": "not a finite number",
    }
    assert study.user_attrs["experiment"]["maxTrialNumber"] == 9


def test_several_objectives_have_a_direction_and_a_value_each(empty: Sample, tmp_path: Path) -> None:
    create(empty, {"x": EVERY_TYPE["uniform"]}, objectives={"macs": "minimize", "speed": "maximize"})
    empty.add(0, {"x": 0.5})
    empty.start(0)
    empty.finish(0, TrialState.SUCCEEDED, 0.5, values={"default": 0.5, "macs": 1000, "speed": 2.5})
    empty.succeed(1, 0.75, {"x": 0.75})
    study = exported(empty, tmp_path)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MAXIMIZE"]
    assert study.metric_names == ["default", "macs", "speed"]
    assert study.trials[0].values == [0.5, 1000.0, 2.5]
    assert (study.trials[1].state, study.trials[1].user_attrs["state"]) == (State.FAIL, "SUCCEEDED")


def test_an_experiment_without_trials(empty: Sample, tmp_path: Path) -> None:
    create(empty)
    assert exported(empty, tmp_path).trials == []


def test_options_of_the_same_name_are_told_apart() -> None:
    uniform = {"_type": "uniform", "_value": [2, 3]}
    space = space_from_plain({"x": {"_type": "choice", "_value": ["1", 1, uniform, "a"]}}, "test")
    (choice,) = [dimension for path, dimension in space.dimensions() if path == "x"]
    assert isinstance(choice, Choice)
    assert labels(choice) == ["1 #0", "1 #1", "uniform", "a"]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("randint", [-2, 7], IntDistribution(-2, 6)),
        ("uniform", [-1.5, 2], FloatDistribution(-1.5, 2)),
        ("loguniform", [1e-5, 0.1], FloatDistribution(1e-5, 0.1, log=True)),
        ("quniform", [0, 1, 0.1], FloatDistribution(0, 1, step=0.1)),
        ("quniform", [0.5, 2, 0.25], FloatDistribution(0.5, 2, step=0.25)),
        ("quniform", [0.05, 1, 0.1], FloatDistribution(0.05, 1)),
        ("quniform", [0, 1, 0.3], FloatDistribution(0, 1)),
        ("quniform", [0, 1, 1e-7], FloatDistribution(0, 1)),
        ("qloguniform", [1, 100, 3], FloatDistribution(1, 100, log=True)),
    ],
)
def test_distributions(kind: str, value: list[float], expected: BaseDistribution) -> None:
    assert distribution(space_from_plain({"x": {"_type": kind, "_value": value}}, "test").members["x"]) == expected


@given(space=spaces, seed=st.integers(0, 2**32))
def test_distributions_hold_every_value_that_is_drawn(space: dict[str, Any], seed: int) -> None:
    parsed = space_from_plain(space, "test")
    dimensions = dict(parsed.dimensions())
    for path, value in by_path(space, sample(parsed, Random(seed))).items():
        made = distribution(dimensions[path])
        assert made._contains(made.to_internal_repr(value))


@given(value=st.floats(-1e300, 1e300))
def test_a_normal_value_from_elsewhere_is_held_however_far_out(value: float) -> None:
    dimension = space_from_plain({"x": EVERY_TYPE["normal"]}, "test").members["x"]
    made = distribution(dimension, value)
    assert isinstance(made, FloatDistribution)
    assert made.low <= value <= made.high
