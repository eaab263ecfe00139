"""How a space and its trials look to Optuna; what its samplers have in common here.

Values are minimised (`Tuner.loss`). Steps are counted in whole numbers, and what Optuna has no distribution for
(normal types) lies on the unit interval. Optuna is imported when a tuner first asks, since `import optuna` takes
longer than everything else the manager does to start.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoprune.errors import ConfigError
from autoprune.records import JSON, Trial, TrialState
from autoprune.search_space import Choice, Dimension, Normal, RandInt, Space, flatten, suggest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's log and its warnings about what is experimental or sampled independently: both are known."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def new_study(sampler: BaseSampler) -> Study:
    """An empty study in memory."""
    import optuna

    return optuna.create_study(sampler=sampler, direction="minimize")


class Translator:
    """Trials of one space in Optuna's terms and back; names are paths."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._dimensions = dict(space.dimensions())
        self._distributions = {path: _distribution(dim) for path, dim in self._dimensions.items()}

    def frozen(self, trial: Trial, loss: float | None, system_attrs: JSON = None) -> FrozenTrial:
        """A trial as Optuna has it. One without a loss, or that is not of this space, has failed."""
        from optuna import trial as optuna_trial

        state, values = optuna_trial.TrialState.RUNNING, self._encoded(trial)
        if trial.state.finished:
            usable = loss is not None and values is not None
            pruned = trial.state is TrialState.EARLY_STOPPED
            state = optuna_trial.TrialState.PRUNED if pruned else optuna_trial.TrialState.COMPLETE
            state = state if usable else optuna_trial.TrialState.FAIL
        return optuna_trial.create_trial(
            state=state,
            value=loss if state is optuna_trial.TrialState.COMPLETE else None,
            params=values or {},
            distributions={path: self._distributions[path] for path in values or ()},
            intermediate_values={0: loss} if state is optuna_trial.TrialState.PRUNED and loss is not None else {},
            system_attrs=system_attrs,
        )

    def suggest(self, trial: OptunaTrial) -> dict[str, Any]:
        """Parameters, each asked of the trial."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        def pick(path: str, dimension: Dimension) -> float:
            match self._distributions[path]:
                case CategoricalDistribution(choices=choices):
                    return int(trial.suggest_categorical(path, choices))  # type: ignore[arg-type]
                case IntDistribution(low=low, high=high):
                    return _decode(dimension, trial.suggest_int(path, low, high))
                case FloatDistribution(low=low, high=high, log=log):
                    return _decode(dimension, trial.suggest_float(path, low, high, log=log))
                case other:
                    raise TypeError(other)

        return suggest(self._space, pick)

    def _encoded(self, trial: Trial) -> dict[str, float] | None:
        try:
            flat = flatten(self._space, trial.parameters)
        except ConfigError:
            return None
        return {path: _encode(self._dimensions[path], value) for path, value in flat.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match dimension:
        case Choice(options=options):
            return CategoricalDistribution(range(len(options)))
        case RandInt(low=low, high=high):
            return IntDistribution(low, high - 1)
        case Normal():
            return FloatDistribution(0.0, 1.0)
    if dimension.steps is not None and not dimension.log:
        return IntDistribution(dimension.steps.start, dimension.steps.stop - 1)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _encode(dimension: Dimension, value: float) -> float:
    if isinstance(dimension, Choice | RandInt):
        return int(value)
    if isinstance(dimension, Normal):
        return dimension.to_unit(value)
    return value if dimension.q is None or dimension.log else round(value / dimension.q)


def _decode(dimension: Dimension, value: float) -> float:
    if isinstance(dimension, Choice | RandInt):
        return int(value)
    if isinstance(dimension, Normal):
        return dimension.from_unit(value)
    return dimension.round(value) if dimension.q is None or dimension.log else dimension.round(value * dimension.q)
