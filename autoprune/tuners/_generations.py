"""What tuners share that think in generations: which trials make up each, read off the history.

A proposal notes its generation. The first `size` trials of a generation to finish make it up, whatever came of them,
so neither failures nor trials that run for long hold the search up; the others of that generation come too late.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from autoprune.records import History, Trial
from autoprune.search_space import Space
from autoprune.tuners.base import Tuner, TunerArgs


class GenerationTuner(Tuner):
    """Subclass, give it a `size`, write `close`; `ask` calls `learn` first, and notes `generation` in its state."""

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self.generation = 0
        self._members: list[Trial] = []
        self._seen = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """How many trials make up the present generation."""

    @abstractmethod
    def close(self, members: Sequence[Trial]) -> None:
        """Learn from a complete generation, its trials in the order they finished."""

    def late(self, trial: Trial) -> None:
        """Learn from a trial whose generation is complete without it; nothing, unless a subclass knows how."""

    def stranger(self, trial: Trial) -> None:
        """Learn from a trial that came from elsewhere; nothing, unless a subclass knows how."""

    def learn(self, history: History) -> None:
        """Take in what has finished since the last time."""
        for trial in history.finished[self._seen :]:
            generation = generation_of(trial)
            if generation is None:
                self.stranger(trial)
            elif generation < self.generation:
                self.late(trial)
            else:
                while generation > self.generation:
                    self._close()
                self._members.append(trial)
                if len(self._members) == self.size:
                    self._close()
        self._seen = len(history.finished)

    def _close(self) -> None:
        """The next generation begins. One that is not full had been, before a trial of it was to run once more."""
        if self._members:
            self.close(self._members)
        self.generation += 1
        self._members = []


def generation_of(trial: Trial) -> int | None:
    state = trial.tuner_state
    return int(state["generation"]) if isinstance(state, Mapping) and "generation" in state else None
