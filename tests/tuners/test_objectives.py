"""Several objectives: what is asked of a configuration and of a result, and what tuners make of them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autoprune.config import load as load_config
from autoprune.config.model import TunerConfig
from autoprune.errors import ConfigError
from autoprune.manager.verdict import conclude
from autoprune.records import Exit, History, Metric, OptimizeMode, Trial, TrialState
from autoprune.search_space import sample, space_from_plain
from autoprune.tuners import Tuner, tuners
from autoprune.tuners._flat import FlatTuner

from .simulated_search import brief, flattening, layers, maker

MAXIMIZE, MINIMIZE = OptimizeMode.MAXIMIZE, OptimizeMode.MINIMIZE
SPACE = space_from_plain(layers(2))
CAPABLE = [name for name in tuners.names() if "objectives" in tuners.get(name).Args.model_fields]
BOTH = {"objectives": {"latency": "minimize", "sparsity": "maximize"}}

CONFIG = """\
searchSpace: {x: {_type: uniform, _value: [0, 1]}}
trialCommand: python trial.py
tuner:
  name: NSGA2
  classArgs:
    optimize_mode: maximize
    objectives: {sparsity: maximize, latency: minimize}
"""


def load(folder: Path, text: str) -> Any:
    path = folder / "config.yml"
    path.write_text(text)
    (folder / "trial.py").touch()
    return load_config(path).config


def test_a_configuration_names_them(tmp_path: Path) -> None:
    config = load(tmp_path, CONFIG)
    assert config.objectives == {"sparsity": MAXIMIZE, "latency": MINIMIZE}
    assert type(config).from_json(config.to_json()).objectives == config.objectives


@pytest.mark.parametrize(
    ("right", "wrong", "place", "said"),
    [
        ("latency: minimize", "latency: minimise", ":7:", "classArgs.objectives.latency: given 'minimise'"),
        ("latency: minimize", "latency: minimise", ":7:", "expected 'maximize' or 'minimize'"),
        ("latency: minimize", "latency: 1", ":7:", "classArgs.objectives.latency: given 1"),
        ("sparsity: maximize", "default: maximize", ":7:", "classArgs.objectives.default: given 'maximize'"),
        ("sparsity: maximize", "default: maximize", ":7:", "optimize_mode is its direction"),
        ("{sparsity: maximize, latency: minimize}", "[latency]", ":7:", "classArgs.objectives: given a list"),
        ("NSGA2", "GridSearch", ":7:", "objectives: given an unknown argument; expected an argument of GridSearch"),
    ],
)
def test_what_is_wrong_with_them_is_said_with_its_place(
    tmp_path: Path, right: str, wrong: str, place: str, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, CONFIG.replace(right, wrong))
    assert said in str(error.value)
    assert place in str(error.value)


def test_a_class_of_ones_own_may_mean_something_else() -> None:
    for given in (3, ["latency"], {"latency": 0.5}):
        assert TunerConfig(class_name="own.Tuner", class_args={"objectives": given}).objectives == {}


def report(**values: Any) -> Metric:
    return Metric(0, 0, True, values.get("default"), values, "t")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"default": 0.9, "latencyy": 3},
            "its final result lacks latency, which is an objective; it reported default, latencyy"
            " (did latencyy mean latency?)",
        ),
        ({"default": 0.9}, "its final result lacks latency, which is an objective; it reported default"),
        ({"default": 0.9, "latency": "NaN"}, "its final result has latency 'NaN'; expected a finite number"),
        ({"default": 0.9, "latency": True}, "its final result has latency True; expected a finite number"),
    ],
)
def test_a_result_without_an_objective_is_invalid(values: dict[str, Any], said: str) -> None:
    ending = conclude(Exit(0), report(**values), None, None, "", "", ["latency"])
    assert (ending.state, ending.value, ending.metrics) == (TrialState.INVALID, None, values)
    assert ending.message.startswith(said)


def test_every_missing_objective_is_named() -> None:
    message = conclude(Exit(0), report(default=1.0), None, None, "", "", ["latency", "size"]).message
    assert "lacks latency" in message
    assert "lacks size" in message


def test_a_result_with_all_objectives_succeeds() -> None:
    ending = conclude(Exit(0), report(default=0.9, latency=3), None, None, "", "", ["latency"])
    assert (ending.state, ending.value) == (TrialState.SUCCEEDED, 0.9)


def trial(number: int = 0, **values: Any) -> Trial:
    return Trial(number, TrialState.SUCCEEDED, {}, values["default"], values)


def test_losses_are_all_turned_the_same_way() -> None:
    args = tuners.get("TPE").Args.model_validate({"optimize_mode": "maximize", **BOTH})
    tuner = tuners.get("TPE")(SPACE, args, 1)
    whole = trial(default=0.9, sparsity=0.8, latency=3, other="x")
    assert tuner.losses(whole) == (-0.9, 3.0, -0.8)
    assert tuner.losses(replace(whole, state=TrialState.EARLY_STOPPED)) is None
    assert tuner.losses(replace(whole, state=TrialState.FAILED)) is None
    assert tuner.losses(trial(default=0.9, sparsity=0.8)) is None
    assert tuner.losses(trial(default=0.9, sparsity=0.8, latency="NaN")) is None


def test_one_objective_is_a_tuple_of_one() -> None:
    tuner = tuners.get("TPE")(SPACE, tuners.get("TPE").Args(), 1)
    stopped = replace(trial(default=0.5), state=TrialState.EARLY_STOPPED)
    assert tuner.losses(stopped) == (-0.5,)


def test_default_is_none_of_them() -> None:
    with pytest.raises(ValidationError, match="another name"):
        tuners.get("TPE").Args.model_validate({"objectives": {"default": "maximize"}})


def tradeoff(parameters: Any) -> dict[str, float]:
    """Accuracy falls with sparsity; layers are best pruned alike, and only then is a result on the front."""
    method = parameters["method"]
    sparsity = (method["conv0"] + method["conv1"]) / 2
    waste = abs(method["conv0"] - method["conv1"]) + 0.3 * (method["_name"] != "agp")
    return {"default": 1 - sparsity - waste, "sparsity": sparsity - waste}


def explored(tuner: Tuner, count: int) -> list[Trial]:
    finished: list[Trial] = []
    for number in range(count):
        proposal = tuner.ask(number, History(finished))
        assert proposal is not None
        values = tradeoff(proposal.parameters)
        state = TrialState.SUCCEEDED
        finished.append(
            Trial(number, state, proposal.parameters, values["default"], values, tuner_state=proposal.state)
        )
    return finished


def volume(trials: list[Trial]) -> float:
    """The area that the results dominate, from a reference point of (-1, -1)."""
    points = sorted(((t.metrics["default"], t.metrics["sparsity"]) for t in trials), reverse=True)
    area, reached = 0.0, -1.0
    for accuracy, sparsity in points:
        if sparsity > reached:
            area += (accuracy + 1) * (sparsity - reached)
            reached = sparsity
    return area


@pytest.mark.parametrize(
    ("name", "flatten"),
    [(name, flatten) for name in CAPABLE for flatten in ([False, True] if flattening(name) else [True])],
)
def test_the_front_is_ahead_of_random(name: str, flatten: bool) -> None:
    """By the area that 160 trials dominate, the middle of five searches."""

    def middle(make: Any) -> float:
        return sorted(volume(explored(make(SPACE, MAXIMIZE, seed), 160)) for seed in range(5))[2]

    more = {"flatten": flatten} if flattening(name) else {}
    make = maker(name, objectives={"sparsity": "maximize"}, **more)
    assert middle(make) > middle(maker("Random"))


@pytest.mark.parametrize("name", CAPABLE)
def test_the_other_objective_makes_a_difference(name: str) -> None:
    """With all the same accuracies, the other number alone leads the search, in its own direction."""

    def mean(direction: str) -> float:
        tuner = maker(name, objectives={"sparsity": direction}, **brief(name))(SPACE, MAXIMIZE, 1)
        finished: list[Trial] = []
        sparsities = []
        for number in range(60):
            proposal = tuner.ask(number, History(finished))
            assert proposal is not None
            method = proposal.parameters["method"]
            sparsities.append((method["conv0"] + method["conv1"]) / 2)
            values = {"default": 0.5, "sparsity": sparsities[-1]}
            state = TrialState.SUCCEEDED
            finished.append(Trial(number, state, proposal.parameters, 0.5, values, tuner_state=proposal.state))
        return sum(sparsities[30:]) / 30

    assert mean("minimize") + 0.1 < mean("maximize")


@pytest.mark.parametrize("name", CAPABLE)
def test_a_rebuild_gives_the_same_answer(name: str) -> None:
    """Also where trials run beside it, stopped early, or lack an objective."""
    make = maker(name, objectives={"sparsity": "maximize"}, **brief(name))
    trials = explored(make(SPACE, MAXIMIZE, 1), 40)
    trials[3] = replace(trials[3], state=TrialState.EARLY_STOPPED)
    trials[8] = replace(trials[8], metrics={"default": 0.1})
    running = [replace(trial, state=TrialState.RUNNING, value=None, metrics={}) for trial in trials[35:]]
    tuner = make(SPACE, MAXIMIZE, 1)
    for count in range(0, 35, 5):
        history = History(trials[:count], running)
        assert tuner.ask(40 + count, history) == make(SPACE, MAXIMIZE, 1).ask(40 + count, history)


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPABLE)
def test_ten_thousand_trials(name: str) -> None:
    generator, space = random.Random(0), space_from_plain(layers(50))

    finished = []
    for number in range(10_000):
        values = {"default": generator.random(), "sparsity": generator.random()}
        parameters = sample(space, generator)
        finished.append(Trial(number, TrialState.SUCCEEDED, parameters, values["default"], values))
    tuner = maker(name, objectives={"sparsity": "maximize"})(space, MAXIMIZE, 1)
    assert tuner.ask(10_000, History(finished)) is not None


def test_metrics_reach_a_tuner_that_searches_flat() -> None:
    tuner = maker("NSGA2", objectives={"sparsity": "maximize"}, population_size=4)(SPACE, MAXIMIZE, 1)
    assert isinstance(tuner, FlatTuner)
    trials = explored(tuner, 8)
    parents = tuner.inner._parents  # type: ignore[attr-defined]
    assert {parent.losses for parent in parents} <= {(-t.metrics["default"], -t.metrics["sparsity"]) for t in trials}
    assert len(parents) == 4
