"""NNI-style tuner classes, which learn by being called: each is rebuilt by making the same calls again.

A trial says how many others had finished when it was asked for, and in what place it finished itself. So the calls of
`generate_parameters`, `receive_trial_result` and `trial_end` can be made in the order they were first made in, with
the global random generators seeded before each. The results are told with the parameters the trial really had. Trials
that the class did not ask for (enqueued, imported) go to `import_data`.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from typing import Any

from autoprune.errors import TunerError
from autoprune.records import JSON, History, Proposal, Trial, TrialState
from autoprune.search_space import Space
from autoprune.tuners.base import Tuner, TunerArgs

_MARK = {"generated": True}


class NNITuner(Tuner):
    """`make` makes a new instance of the user's class."""

    def __init__(self, space: Space, args: TunerArgs, seed: int, make: Callable[[], Any], search_space: JSON) -> None:
        super().__init__(space, args, seed)
        self._make = make
        self._search_space = search_space
        self._start()

    def ask(self, number: int, history: History) -> Proposal | None:
        if self._generated >= number:
            self._start()
        candidates = (*history.finished[self._received :], *history.running)
        past = [trial for trial in candidates if trial.tuner_state == _MARK and trial.number > self._generated]
        for trial in sorted(past, key=lambda trial: trial.number):
            self._receive_until(trial.known, history)
            self._generate(trial.number)
        self._receive_until(len(history.finished), history)
        parameters = self._generate(number)
        return None if parameters is None else Proposal(parameters, _MARK)

    def _start(self) -> None:
        _seed_globals(self.seed)
        self._user = self._make()
        self._received = 0
        self._generated = -1
        if hasattr(self._user, "update_search_space"):
            self._user.update_search_space(self._search_space)

    def _generate(self, number: int) -> dict[str, JSON] | None:
        """The class's parameters; None when it has no more."""
        _seed_globals(self.seed_for(number))
        self._generated = number
        try:
            parameters = _call(self._user.generate_parameters, number)
        except Exception as error:
            if type(error).__name__ == "NoMoreTrialError":
                return None
            raise
        if parameters is None:
            return None
        if not isinstance(parameters, Mapping):
            given = f"{type(parameters).__name__} {parameters!r}"
            raise TunerError(f"generate_parameters returned {given}; expected a dict, or None when there are no more")
        return {str(key): _plain(value) for key, value in parameters.items()}

    def _receive_until(self, count: int, history: History) -> None:
        for trial in history.finished[self._received : count]:
            self._receive(trial)
        self._received = max(self._received, count)

    def _receive(self, trial: Trial) -> None:
        _seed_globals(self.seed_for(-1 - trial.number))
        user, parameters = self._user, dict(trial.parameters)
        valued = trial.value is not None and trial.state in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED)
        if trial.tuner_state != _MARK:
            if valued and hasattr(user, "import_data"):
                user.import_data([{"parameter": parameters, "value": trial.value}])
            return
        if valued and hasattr(user, "receive_trial_result"):
            metrics = dict(trial.metrics)
            _call(user.receive_trial_result, trial.number, parameters, trial.value, metrics=metrics)
        if hasattr(user, "trial_end"):
            _call(user.trial_end, trial.number, trial.state is TrialState.SUCCEEDED)


def _call(method: Callable[..., Any], number: int, *values: Any, **extra: Any) -> Any:
    """The method, with the optional arguments if it takes any name, as NNI's do."""
    parameters = inspect.signature(method).parameters.values()
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return method(number, *values, **(extra if takes_any else {}))


def _seed_globals(seed: int) -> None:
    """Seeds the generators that user code draws from without saying so."""
    import numpy

    random.seed(seed)
    numpy.random.seed(seed)


def _plain(value: Any) -> JSON:
    """The value without numpy's types, as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value
