"""GP: a Gaussian process over the results, and the point where it expects the most improvement.

The sampler is Optuna's, on the flattened space. It sees the best and the newest results, at most 200, since an ask
takes the longer the more there are. Trials still running count as if their results were drawn from the process, so
trials asked for together spread. Early stopped trials are passed over.

torch computes on one thread: on tensors this small more of them take six times as long, and may round differently
where their number does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from pydantic import Field

from autoprune.records import History, Proposal, Trial, TrialState
from autoprune.search_space import Space
from autoprune.tuners._optuna import Known, Translator, chosen, new_study, quiet
from autoprune.tuners.base import Tuner, TunerArgs

BEST = 100
NEWEST = 100
LARGEST = 1e100
"""Losses are standardised, and their squares have to be finite."""


class GPArgs(TunerArgs):
    n_startup_trials: int = Field(10, ge=1, description="trials with results before the search leaves random sampling")
    deterministic_objective: bool = Field(False, description="take results as exact: the same parameters give the same")


class GP(Tuner):
    name = "GP"
    Args: ClassVar[type[TunerArgs]] = GPArgs
    flattens = True

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._known: list[Known] = []
        self._seen = 0

    def ask(self, number: int, history: History) -> Proposal:
        from optuna.samplers import GPSampler

        args = self.args
        assert isinstance(args, GPArgs)
        for trial in history.finished[self._seen :]:
            losses = self.losses(trial)
            if losses is not None and trial.state is TrialState.SUCCEEDED:
                self._known.append((trial, losses))
        self._seen = len(history.finished)
        with quiet(), _one_thread():
            translator = Translator(self.space)
            sampler = GPSampler(
                seed=self.seed_for(number),
                n_startup_trials=args.n_startup_trials,
                deterministic_objective=args.deterministic_objective,
            )
            study = new_study(sampler)
            for trial, _ in chosen(self._known, BEST, NEWEST):
                study.add_trial(translator.frozen(self, trial))
            for trial in history.running:
                study.add_trial(translator.frozen(self, trial))
            return Proposal(translator.suggest(study.ask()))

    def loss(self, trial: Trial) -> float | None:
        loss = super().loss(trial)
        return None if loss is None else min(max(loss, -LARGEST), LARGEST)


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
