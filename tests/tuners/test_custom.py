"""Users' own classes: what they are told, in which order, and what is said when they cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from autoprune.errors import TunerError, UsageError
from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import space_from_plain
from autoprune.tuners import Tuner
from autoprune.tuners._custom import load_custom
from autoprune.tuners._nni import NNITuner

PLAIN = {"x": {"_type": "uniform", "_value": [0, 1]}}
RECORDER = """
    class Recorder:
        def __init__(self, optimize_mode, start=0.0):
            self.calls = [("init", optimize_mode, start)]

        def update_search_space(self, search_space):
            self.calls.append(("space", search_space))

        def generate_parameters(self, parameter_id, **kwargs):
            self.calls.append(("generate", parameter_id))
            return {"x": 0.1 * parameter_id}

        def receive_trial_result(self, parameter_id, parameters, value, **kwargs):
            self.calls.append(("receive", parameter_id, parameters, value, kwargs))

        def trial_end(self, parameter_id, success, **kwargs):
            self.calls.append(("end", parameter_id, success))

        def import_data(self, data):
            self.calls.append(("import", data))
    """


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("mine", None)


def load(folder: Path, source: str, class_name: str = "mine.Mine", **class_args: Any) -> Tuner:
    (folder / "mine.py").write_text(dedent(source))
    return load_custom(class_name, folder, class_args, space_from_plain(PLAIN), PLAIN, OptimizeMode.MAXIMIZE, 1)


def trial(number: int, known: int, **fields: Any) -> Trial:
    return Trial(number, TrialState.RUNNING, {"x": number}, known=known, tuner_state={"generated": True}, **fields)


def test_calls_are_made_again_in_their_order(tmp_path: Path) -> None:
    """0, 1, 2 were asked for at once; 1 finished; 3 was asked for; 0 failed, 2 stopped; 4 came from elsewhere."""
    finished = (
        replace(trial(1, 0), state=TrialState.SUCCEEDED, value=0.5, metrics={"default": 0.5, "size": 3}),
        replace(trial(0, 0), state=TrialState.FAILED),
        replace(trial(2, 0), state=TrialState.EARLY_STOPPED, value=0.1, metrics={"default": 0.1}),
        Trial(4, TrialState.SUCCEEDED, {"x": 9}, 0.9, known=1),
    )
    tuner = load(tmp_path, RECORDER, "mine.Recorder", start=2.5)
    tuner.ask(5, History(finished, (trial(3, 1),)))
    assert isinstance(tuner, NNITuner)
    assert tuner._user.calls == [
        ("init", "maximize", 2.5),
        ("space", PLAIN),
        ("generate", 0),
        ("generate", 1),
        ("generate", 2),
        ("receive", 1, {"x": 1}, 0.5, {"metrics": {"default": 0.5, "size": 3}}),
        ("end", 1, True),
        ("generate", 3),
        ("end", 0, False),
        ("receive", 2, {"x": 2}, 0.1, {"metrics": {"default": 0.1}}),
        ("end", 2, False),
        ("import", [{"parameter": {"x": 9}, "value": 0.9}]),
        ("generate", 5),
    ]


def test_numpy_values_become_plain(tmp_path: Path) -> None:
    source = """
        import numpy as np

        class Mine:
            def generate_parameters(self, parameter_id):
                return {"a": np.float64(0.5), "b": [np.int64(3)], "c": {"d": np.array([1, 2])}, "e": np.bool_(True)}
        """
    proposal = load(tmp_path, source).ask(0, History())
    assert proposal is not None
    assert proposal.parameters == {"a": 0.5, "b": [3], "c": {"d": [1, 2]}, "e": True}
    assert [type(value) for value in proposal.parameters.values()] == [float, list, dict, bool]


@pytest.mark.parametrize("end", ["return None", "raise NoMoreTrialError('done')"])
def test_a_class_that_has_no_more(tmp_path: Path, end: str) -> None:
    source = f"""
        class NoMoreTrialError(Exception):
            pass

        class Mine:
            def generate_parameters(self, parameter_id, **kwargs):
                if parameter_id < 2:
                    return {{"x": 0.5}}
                {end}
        """
    tuner = load(tmp_path, source)
    assert tuner.ask(1, History()) is not None
    assert tuner.ask(2, History()) is None
    assert tuner.ask(2, History()) is None


def test_a_class_that_returns_something_else(tmp_path: Path) -> None:
    source = "class Mine:\n    def generate_parameters(self, parameter_id):\n        return 3\n"
    with pytest.raises(TunerError, match="returned int 3; expected a dict, or None"):
        load(tmp_path, source).ask(0, History())


OWN = """
    from pydantic import Field
    from autoprune.records import Proposal
    from autoprune.tuners import Tuner, TunerArgs

    class Args(TunerArgs):
        step: float = Field(0.1, gt=0)

    class Mine(Tuner):
        Args = Args

        @classmethod
        def check(cls, space, args):
            return "it only takes y" if args.step == 7 else None

        def ask(self, number, history):
            return Proposal({"x": self.args.step, "seed": self.seed})
    """


def test_a_subclass_gets_its_own_arguments(tmp_path: Path) -> None:
    proposal = load(tmp_path, OWN, step=0.3).ask(0, History())
    assert proposal is not None
    assert proposal.parameters == {"x": 0.3, "seed": 1}


NEEDS = (
    "class Mine:\n    def __init__(self, depth, width=3):\n        {body}\n    def generate_parameters(self, i): ...\n"
)


@pytest.mark.parametrize(
    ("source", "class_name", "class_args", "said"),
    [
        ("", "Mine", {}, "names no module; expected module.Class"),
        ("", "missing.Mine", {}, "missing cannot be imported"),
        ("class Mime: ...", "mine.Mine", {}, "mine has no class Mine (did you mean Mime?)"),
        ("class Mine: ...", "mine.Mine", {}, "is no tuner; expected a class with generate_parameters"),
        ("import nni", "mine.Mine", {}, "it imports nni, which is not installed; a tuner needs no base class here"),
        ("1 / 0", "mine.Mine", {}, "mine cannot be imported (codeDirectory"),
        ("1 / 0", "mine.Mine", {}, "ZeroDivisionError: division by zero"),
        ("class Mine(", "mine.Mine", {}, "SyntaxError"),
        (NEEDS.format(body="pass"), "mine.Mine", {"depht": 3}, "given depht, which it does not take"),
        (NEEDS.format(body="pass"), "mine.Mine", {"depht": 3}, "expected depth, width (did you mean depth?)"),
        (NEEDS.format(body="pass"), "mine.Mine", {"width": 3}, "depth is missing; expected depth, width"),
        (NEEDS.format(body="1 / 0"), "mine.Mine", {"depth": 3}, "cannot be made with {'depth': 3}: ZeroDivisionError"),
        (OWN, "mine.Mine", {"step": 0}, "classArgs of mine.Mine: step: Input should be greater than 0, given 0"),
        (OWN, "mine.Mine", {"stop": 0}, "stop: Extra inputs are not permitted"),
        (OWN, "mine.Mine", {"step": 7.0}, "cannot search this space: it only takes y"),
        ("", "optuna.samplers.NSGAISampler", {}, "has no class NSGAISampler (did you mean NSGAIISampler?)"),
        (
            "",
            "optuna.samplers.NSGAIISampler",
            {"size": 3},
            "given size, which it does not take; expected population_size",
        ),
        ("", "optuna.samplers.NSGAIISampler", {"population_size": 1}, "ValueError: `population_size` must be greater"),
    ],
)
def test_what_cannot_be_used_is_explained(
    tmp_path: Path, source: str, class_name: str, class_args: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, source, class_name, **class_args)
    assert said in str(error.value)


def test_a_module_called_like_pythons_own(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("class Mine: ...")
    with pytest.raises(UsageError, match=r"a module cannot be called random.*rename random\.py"):
        load(tmp_path, "", "random.Mine")


def test_two_folders_with_the_same_module(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        source = f"class Mine:\n    def generate_parameters(self, parameter_id):\n        return {{'x': {name!r}}}\n"
        proposal = load(folder, source).ask(0, History())
        assert proposal is not None
        assert proposal.parameters == {"x": name}


def test_cma_es_takes_the_same_course_after_a_rebuild() -> None:
    """Its state is a pickle, whose bytes may differ; the parameters may not."""

    def new() -> Tuner:
        plain = {"x": {"_type": "uniform", "_value": [0, 1]}, "y": {"_type": "uniform", "_value": [0, 1]}}
        space = space_from_plain(plain)
        name, args = "optuna.samplers.CmaEsSampler", {"n_startup_trials": 2}
        return load_custom(name, None, args, space, plain, OptimizeMode.MAXIMIZE, 3)

    tuner, finished = new(), []
    for number in range(12):
        proposal = tuner.ask(number, History(list(finished)))
        again = new().ask(number, History(list(finished)))
        assert proposal is not None
        assert again is not None
        assert proposal.parameters == again.parameters
        value = -((proposal.parameters["x"] - 0.3) ** 2) - proposal.parameters["y"] ** 2
        finished.append(
            Trial(number, TrialState.SUCCEEDED, proposal.parameters, value, tuner_state=proposal.state, known=number)
        )
