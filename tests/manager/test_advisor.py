"""A tuner or an assessor that raises, dies, hangs or talks nonsense does not harm the run."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from autoprune.assessors import Assessor, assessors
from autoprune.errors import UsageError
from autoprune.records import ExperimentState, TrialState

from .conftest import Lab

QUICK = """
    import autoprune
    autoprune.report_intermediate_result(1.0)
    autoprune.report_final_result(autoprune.get_parameters()["method"]["sparsity"])
    """
SLOW = """
    import time, autoprune
    autoprune.report_intermediate_result(1.0)
    time.sleep(60)
    autoprune.report_final_result(autoprune.get_parameters()["method"]["sparsity"])
    """
TUNER = """
    import os, time, pathlib

    class Tuner:
        def __init__(self, folder):
            self.calls = pathlib.Path(folder) / "calls"

        def update_search_space(self, search_space):
            pass

        def generate_parameters(self, parameter_id, **kwargs):
            with self.calls.open("a") as file:
                file.write(f"{{parameter_id}}\\n")
            asked = self.calls.read_text().split().count(str(parameter_id))
            {misbehave}
            return {{"method": {{"_name": "agp", "sparsity": 0.1 + parameter_id / 100}}}}

        def receive_trial_result(self, parameter_id, parameters, value, **kwargs):
            pass
    """


def run(lab: Lab, misbehave: str, **settings: Any) -> tuple[Any, Any]:
    (lab.code / "bad.py").write_text(dedent(TUNER.format(misbehave=misbehave)))
    tuner = {"className": "bad.Tuner", "codeDirectory": str(lab.code), "classArgs": {"folder": str(lab.code)}}
    return lab.run(QUICK, tuner=tuner, maxTrialNumber=4, **settings)


@pytest.mark.parametrize(
    ("misbehave", "said"),
    [
        ("if parameter_id == 2 and asked == 1: raise RuntimeError('a bad day')", "RuntimeError: a bad day"),
        ("if parameter_id == 2 and asked == 1: os._exit(3)", "exit code 3"),
        ("if parameter_id == 2 and asked == 1: os.kill(os.getpid(), 9)", "signal 9"),
        ("if parameter_id == 2 and asked == 1: time.sleep(1000)", "no answer within"),
        ("print('chatter on stdout')", ""),
    ],
)
def test_a_tuner_that_recovers(lab: Lab, misbehave: str, said: str) -> None:
    outcome, trials = run(lab, misbehave, tunerTimeout=5)
    assert outcome.code == 0
    assert [trial.state for trial in trials] == ["SUCCEEDED"] * 4
    assert [trial.value for trial in trials] == pytest.approx([0.1, 0.11, 0.12, 0.13])
    warnings = [notice["message"] for notice in lab.events("warning")]
    assert len(warnings) == (1 if said else 0)
    assert all(said in warning for warning in warnings)


@pytest.mark.parametrize(
    ("misbehave", "said"),
    [
        ("if parameter_id == 2: raise RuntimeError('every day is bad')", "every day is bad"),
        ("if parameter_id == 2: os._exit(3)", "exit code 3"),
        ("if parameter_id == 2: return {1, 2}", "expected"),
        ("if parameter_id == 2: return {'method': float('nan')}", "JSON"),
    ],
)
def test_a_tuner_that_does_not(lab: Lab, misbehave: str, said: str) -> None:
    outcome, trials = run(lab, misbehave, trialConcurrency=2)
    assert (outcome.code, outcome.state) == (1, ExperimentState.FAILED)
    assert said in outcome.message
    assert "tuner.log" in outcome.message
    assert [trial.state for trial in trials] == ["SUCCEEDED"] * 2


def test_a_tuner_that_cannot_start_is_a_usage_error(lab: Lab) -> None:
    tuner = {"className": "nowhere.Tuner", "codeDirectory": str(lab.code), "classArgs": {}}
    with pytest.raises(UsageError, match="nowhere"):
        lab.create(QUICK, tuner=tuner)


ASSESSOR = """
from autoprune.assessors import Assessor
from autoprune.records import Verdict
import os, time

class Odd(Assessor):
    name = "Odd"

    def judge(self, curve, others):
        {misbehave}
        return Verdict()
"""


@pytest.mark.parametrize(
    "misbehave",
    ["raise ValueError('no idea')", "os._exit(1)", "time.sleep(1000 if curve.number == 1 else 0)", "return None"],
)
def test_a_bad_assessor_costs_no_trial(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misbehave: str
) -> None:
    site = tmp_path / "site"
    info = site / "odd-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "odd.py").write_text(ASSESSOR.format(misbehave=misbehave))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[autoprune.assessors]\nOdd = odd:Odd\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(str(site))
    assert issubclass(assessors.get("Odd"), Assessor)
    outcome, trials = lab.run(SLOW, assessor={"name": "Odd"}, maxTrialNumber=3, tunerTimeout=4)
    assert outcome.code == 0
    assert all(trial.state is TrialState.SUCCEEDED for trial in trials)
    assert any("assessor failed" in notice["message"] for notice in lab.events("warning"))


def test_a_repeated_ask_knows_what_finished_meanwhile(lab: Lab) -> None:
    """A rebuild tells a tuner what it knew at the ask that was answered, not at the one that failed."""
    script = """
        import pathlib, time, autoprune
        if autoprune.get_sequence_id() == 1:
            time.sleep(1)
            pathlib.Path("one-is-done").touch()
        autoprune.report_final_result(1.0)
        """
    misbehave = """
            if parameter_id == 2 and asked == 1:
                while not (self.calls.parent / "one-is-done").exists():
                    time.sleep(0.05)
                time.sleep(1)
                os._exit(3)
"""
    (lab.code / "bad.py").write_text(dedent(TUNER.format(misbehave=misbehave.strip())))
    tuner = {"className": "bad.Tuner", "codeDirectory": str(lab.code), "classArgs": {"folder": str(lab.code)}}
    _, trials = lab.run(script, platform="local", tuner=tuner, maxTrialNumber=3, trialConcurrency=2)
    assert [trial.known for trial in trials] == [0, 0, 2]
