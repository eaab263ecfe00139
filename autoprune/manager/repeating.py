"""Running the leaders again: which trials are repeated after the search, and what came of it.

What is due is a function of the trials alone, so it is the same after any number of kills. A repeat counts however it
ended: one that fails is not repeated for ever.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from autoprune.records import JSON, Trial, TrialState
from autoprune.standings import SAME_AS, Standing, leader_and_rival, values


def leaders(trials: Sequence[Trial], count: int, *, highest: bool) -> list[Trial]:
    """The best distinct allocations by their own values, the best first; with them the best starting point.

    One with a repeat that breaks a constraint is out, and the next takes its place.
    """
    sign = -1 if highest else 1
    ranked = sorted(filter(_eligible, trials), key=lambda trial: (sign * (trial.value or 0.0), trial.number))
    distinct: dict[str, Trial] = {}
    for trial in ranked:
        distinct.setdefault(json.dumps(trial.parameters, sort_keys=True), trial)
    out = {trial.repeat_of for trial in trials if not trial.feasible}
    best = [trial for trial in distinct.values() if trial.number not in out][:count]
    start = next((trial for trial in ranked if trial.origin and trial.number not in out), None)
    return best if start is None or start in best else [*best, start]


def due(trials: Sequence[Trial], count: int, repeats: int, *, highest: bool) -> list[Trial]:
    """The trials to run again, in order: every leader once, every leader once more. Nothing while others still run."""
    if any(trial.repeat_of is None and not trial.state.finished for trial in trials):
        return []
    begun = Counter(trial.repeat_of for trial in trials)
    best = leaders(trials, count, highest=highest)
    return [trial for turn in range(repeats) for trial in best if begun[trial.number] <= turn]


def contest(trials: Sequence[Trial], *, highest: bool) -> JSON:
    """The best trial and the best starting point as plain JSON, for what is made of them; None without a best."""
    found = leader_and_rival(trials, highest=highest)
    if found is None:
        return None
    rival = None if found.rival is None else _described(found.rival)
    return {"winner": _described(found.winner), "rival": rival, "noise": found.noise, "ahead": found.ahead}


def _described(standing: Standing) -> JSON:
    return {
        "number": standing.trial.number,
        "origin": standing.trial.origin,
        "parameters": dict(standing.trial.parameters),
        "value": standing.value,
        "mean": standing.mean,
        "repeats": [trial.number for trial in standing.repeats],
        "values": values(standing.repeats),
    }


def _eligible(trial: Trial) -> bool:
    """Whether a trial may lead: with a result of its own, that breaks no constraint."""
    own = trial.repeat_of is None and SAME_AS not in trial.metrics
    return own and trial.state is TrialState.SUCCEEDED and trial.feasible and trial.value is not None
