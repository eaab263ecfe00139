"""Where a tuner stands that goes through a sequence: the position travels with each proposal, and comes back.

So no position is left out or comes twice through any number of restarts, and trials from elsewhere do not count.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoprune.records import JSON, History, Trial


class Sequence:
    """Finds the next position in a history, reading its finished trials once."""

    def __init__(self) -> None:
        self._next = 0
        self._seen = 0

    def next(self, history: History) -> int:
        """The first position after all that were proposed."""
        for trial in history.finished[self._seen :]:
            self._next = max(self._next, position_of(trial) + 1)
        self._seen = len(history.finished)
        return max([self._next, *(position_of(trial) + 1 for trial in history.running)])


def state(position: int) -> JSON:
    """What a proposal notes."""
    return {"position": position}


def position_of(trial: Trial) -> int:
    """The trial's position; -1 for one that has none."""
    noted = trial.tuner_state
    return int(noted["position"]) if isinstance(noted, Mapping) and "position" in noted else -1
