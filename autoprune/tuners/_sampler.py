"""Any Optuna sampler, named by its path.

Each ask makes a new sampler, seeded for the trial, and a study with all trials under their own numbers. What a
sampler notes beside them (attributes it adds to the trial and the study) is the state that travels with the proposal.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoprune.errors import TunerError
from autoprune.records import JSON, History, Proposal, Trial
from autoprune.search_space import Space
from autoprune.tuners._optuna import Translator, new_study, quiet
from autoprune.tuners.base import Tuner, TunerArgs

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


class SamplerTuner(Tuner):
    """`sampler` is the class, `options` its arguments besides the seed."""

    def __init__(
        self, space: Space, args: TunerArgs, seed: int, sampler: type[BaseSampler], options: Mapping[str, JSON]
    ) -> None:
        super().__init__(space, args, seed)
        self._class = sampler
        self._options = dict(options)
        self._takes_seed = "seed" in inspect.signature(sampler).parameters
        self._translator = Translator(space)
        self._sampler(0)

    def ask(self, number: int, history: History) -> Proposal:
        from optuna.storages import InMemoryStorage

        trials = {trial.number: trial for trial in (*history.finished, *history.running) if trial.number < number}
        storage = InMemoryStorage()
        with quiet():
            study = new_study(self._sampler(number), storage)
            study_id = storage.get_study_id_from_name(study.study_name)
            for earlier in range(number):
                study.add_trial(self._frozen(trials.get(earlier)))
            for earlier in sorted(trials):
                for key, value in _state(trials[earlier], "study").items():
                    storage.set_study_system_attr(study_id, key, value)
            before = dict(storage.get_study_system_attrs(study_id))
            asked = study.ask()
            parameters = self._translator.suggest(asked)
            own = storage.get_trial_system_attrs(storage.get_trial_id_from_study_id_trial_number(study_id, number))
            after = storage.get_study_system_attrs(study_id)
        changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
        try:
            return Proposal(parameters, json.loads(json.dumps({"trial": own, "study": changed})))
        except TypeError as error:
            raise TunerError(f"{self._class.__name__} keeps a state that is not JSON: {error}") from None

    def _sampler(self, number: int) -> BaseSampler:
        seed = {"seed": self.seed_for(number)} if self._takes_seed else {}
        with quiet():
            return self._class(**self._options, **seed)

    def _frozen(self, trial: Trial | None) -> FrozenTrial:
        """A trial as Optuna has it; a failed one stands in for a number that was never used."""
        from optuna.trial import TrialState, create_trial

        if trial is None:
            return create_trial(state=TrialState.FAIL)
        return self._translator.frozen(self, trial, _state(trial, "trial"))


def _state(trial: Trial, part: str) -> Mapping[str, Any]:
    """What the sampler noted when it was asked for this trial; nothing for one that came from elsewhere."""
    state = trial.tuner_state
    return state.get(part, {}) if isinstance(state, Mapping) else {}
