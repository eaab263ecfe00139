"""What makes up a generation when a trial of an old one is run once more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sample_spaces import SPACES

from autoprune.records import History, OptimizeMode, Proposal, Trial, TrialState
from autoprune.search_space import space_from_plain

from .simulated_search import maker

SPACE = space_from_plain(SPACES["seed"])


def generation(proposal: Proposal | None) -> int:
    assert proposal is not None
    found: Any = proposal.state
    return int(found["inner"]["generation"])


@pytest.mark.parametrize("name", ["CmaEs", "NSGA2"])
@pytest.mark.parametrize("again", [0, 2, 7])
def test_a_trial_that_runs_again_takes_nothing_away(name: str, again: int) -> None:
    def new() -> Any:
        return maker(name, population_size=4)(SPACE, OptimizeMode.MAXIMIZE, 1)

    tuner, trials = new(), []
    for number in range(24):
        proposal = tuner.ask(number, History(tuple(trials)))
        state = TrialState.FAILED if number == again else TrialState.SUCCEEDED
        value = None if number == again else float(number % 7)
        trials.append(Trial(number, state, proposal.parameters, value, tuner_state=proposal.state))
    before = generation(tuner.ask(24, History(tuple(trials))))
    assert before == 6
    rest = [trial for trial in trials if trial.number != again]
    running = (replace(trials[again], state=TrialState.RUNNING),)
    without = new().ask(24, History(tuple(rest), running))
    assert generation(without) in (before - 1, before)
    back = replace(trials[again], state=TrialState.SUCCEEDED, value=9.0)
    rebuilt = new()
    assert generation(rebuilt.ask(24, History((*rest, back)))) in (before - 1, before)
    assert rebuilt.ask(24, History((*rest, back))) == new().ask(24, History((*rest, back)))


def test_a_late_trial_of_nsga2_can_still_be_a_parent() -> None:
    tuner = maker("NSGA2", population_size=4)(SPACE, OptimizeMode.MAXIMIZE, 1)
    asked = [tuner.ask(number, History()) for number in range(5)]
    trials = [
        Trial(number, TrialState.SUCCEEDED, proposal.parameters, float(number), tuner_state=proposal.state)
        for number, proposal in enumerate(asked)
        if proposal is not None
    ]
    learnt = maker("NSGA2", population_size=4)(SPACE, OptimizeMode.MAXIMIZE, 1)
    more = []
    for number in range(5, 9):
        proposal = learnt.ask(number, History((*trials, *more)))
        assert proposal is not None
        more.append(Trial(number, TrialState.SUCCEEDED, proposal.parameters, -1.0, tuner_state=proposal.state))
    learnt.ask(9, History((*trials, *more)))
    parents: Any = learnt
    assert max(-parent.losses[0] for parent in parents.inner._parents) == 4.0
