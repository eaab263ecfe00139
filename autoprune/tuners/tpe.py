"""TPE: a density of the good trials over one of the rest, and the candidate where their ratio is highest.

The sampler is Optuna's. It sees the best and the newest trials, at most 400, chosen anew every 100 trials from the
history alone: an ask takes as long after 10,000 trials as after 400, and does not depend on the asks before it.
Trials still running count as poor, so that trials asked for together spread. With several objectives, the best are
those that the fewest others dominate, front by front.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from autoprune.records import History, Proposal
from autoprune.search_space import Space
from autoprune.tuners._optuna import Known, Translator, chosen, new_study, quiet
from autoprune.tuners.base import NestedArgs, ObjectivesArgs, Tuner, TunerArgs

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import TPESampler

BEST = 100
NEWEST = 200
GROWTH = 100


class TPEArgs(NestedArgs, ObjectivesArgs):
    n_startup_trials: int = Field(10, ge=0, description="trials with results before the search leaves random sampling")
    n_ei_candidates: int = Field(24, ge=1, description="candidates of which the most promising is taken")
    multivariate: bool = Field(True, description="model parameters jointly instead of each on its own")


class TPE(Tuner):
    name = "TPE"
    Args: ClassVar[type[TunerArgs]] = TPEArgs

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._known: list[Known] = []
        self._seen = 0
        self._translator: Translator | None = None
        self._study: Study | None = None
        self._in_study = (0, 0)

    def ask(self, number: int, history: History) -> Proposal:
        from optuna.trial import TrialState as OptunaState

        for trial in history.finished[self._seen :]:
            losses = self.losses(trial)
            if losses is not None:
                self._known.append((trial, losses))
        self._seen = len(history.finished)
        with quiet():
            self._translator = translator = self._translator or Translator(self.space)
            study = self._updated(translator, self._sampler(number))
            for trial in history.running:
                study.add_trial(translator.frozen(self, trial))
            asked = study.ask()
            parameters = translator.suggest(asked)
            for running in study.get_trials(deepcopy=False, states=[OptunaState.RUNNING]):
                study.tell(running.number, state=OptunaState.FAIL)
        return Proposal(parameters)

    def _sampler(self, number: int) -> TPESampler:
        from optuna.samplers import TPESampler

        args = self.args
        assert isinstance(args, TPEArgs)
        return TPESampler(
            seed=self.seed_for(number),
            n_startup_trials=args.n_startup_trials,
            n_ei_candidates=args.n_ei_candidates,
            multivariate=args.multivariate,
            group=args.multivariate,
            constant_liar=True,
        )

    def _updated(self, translator: Translator, sampler: TPESampler) -> Study:
        """The study with the trials it should have, made anew where the choice of trials is."""
        count = len(self._known)
        base = count // GROWTH * GROWTH if count >= BEST + NEWEST + GROWTH else 0
        study, (last_base, last) = self._study, self._in_study
        if study is None or last_base != base:
            study, last = new_study(sampler, objectives=1 + len(self.objectives)), base
            self._add(study, translator, chosen(self._known[:base], BEST, NEWEST))
        study.sampler = sampler
        self._add(study, translator, self._known[last:])
        self._study, self._in_study = study, (base, count)
        return study

    def _add(self, study: Study, translator: Translator, trials: Iterable[Known]) -> None:
        for trial, _ in trials:
            study.add_trial(translator.frozen(self, trial))
