"""The leaders, found without reading all trials, are those that all trials give."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sample_workspace import Sample

from autoprune.records import OptimizeMode, Trial, TrialState
from autoprune.results.leaders import leaders
from autoprune.standings import standings
from autoprune.store import Workspace, experiments, trials

STATES = [TrialState.SUCCEEDED] * 4 + [TrialState.FAILED, TrialState.EARLY_STOPPED, TrialState.RUNNING]
VALUES = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@st.composite
def made(draw: st.DrawFn) -> list[Trial]:
    """Trials of few values, so that many are equal; some are repeats of those before them."""
    found: list[Trial] = []
    for number in range(draw(st.integers(0, 14))):
        own = [trial.number for trial in found if trial.repeat_of is None]
        repeat_of = draw(st.none() | st.sampled_from(own)) if own else None
        state, value = draw(st.sampled_from(STATES)), draw(VALUES)
        feasible = draw(st.sampled_from([True, True, True, False]))
        found.append(Trial(number, state, {}, value, created="c", repeat_of=repeat_of, feasible=feasible))
    return found


@settings(max_examples=60)
@given(every=made(), mode=st.sampled_from(list(OptimizeMode)), limit=st.integers(1, 16))
def test_the_first_leaders_are_those_of_all_trials(every: list[Trial], mode: OptimizeMode, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "experiments")
        store = workspace.create()
        sample = Sample(workspace, store)
        sample.create(mode=mode)
        with store.write() as tx:
            trials.create_all(tx, sample.id, every)
        with store.read() as tx:
            found = leaders(tx, experiments.get(tx, sample.id), limit)
        store.close()
    expected = standings(every, highest=mode is OptimizeMode.MAXIMIZE)[:limit]
    assert [(one.number, one.mean, one.repeats) for one in found] == [
        (one.trial.number, one.mean, len(one.repeats)) for one in expected
    ]
