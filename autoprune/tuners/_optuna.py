"""How a space and its trials look to Optuna; what its samplers have in common here.

Values are minimised (`Tuner.losses`). Steps are counted in whole numbers, and what Optuna has no distribution for
(normal types) lies on the unit interval. Optuna is imported when a tuner first asks, since `import optuna` takes
longer than everything else the manager does to start.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from autoprune import pareto
from autoprune.records import JSON, Trial, TrialState
from autoprune.search_space import Choice, Dimension, Leaf, Normal, RandInt, Space, suggest
from autoprune.tuners.base import Tuner

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import InMemoryStorage
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

Known: TypeAlias = tuple[Trial, Sequence[float]]
"""A trial with its losses."""


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


def new_study(sampler: BaseSampler, storage: InMemoryStorage | None = None, objectives: int = 1) -> Study:
    """An empty study in memory."""
    import optuna

    return optuna.create_study(storage=storage, sampler=sampler, directions=["minimize"] * objectives)


def chosen(known: Sequence[Known], best: int, newest: int) -> list[Known]:
    """The newest trials and the best of the others, in the order they finished; early stopped ones only for want."""
    start = max(0, len(known) - newest)
    ended = [i for i in range(start) if known[i][0].state is not TrialState.EARLY_STOPPED]
    stopped = [i for i in range(start) if known[i][0].state is TrialState.EARLY_STOPPED]
    kept = [ended[i] for i in pareto.best([known[i][1] for i in ended], best)]
    kept += [stopped[i] for i in pareto.best([known[i][1] for i in stopped], best - len(kept))]
    return [*(known[i] for i in sorted(kept)), *known[start:]]


class Translator:
    """Trials of one space in Optuna's terms and back; names are paths."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._dimensions = dict(space.dimensions())
        self._distributions = {path: _distribution(dim) for path, dim in self._dimensions.items()}

    def frozen(self, tuner: Tuner, trial: Trial, system_attrs: JSON = None) -> FrozenTrial:
        """A trial of the tuner as Optuna has it. One without losses, or that is not of this space, has failed."""
        from optuna import trial as optuna_trial

        state, losses, flat = optuna_trial.TrialState.RUNNING, tuner.losses(trial), tuner.flat(trial)
        if trial.state.finished:
            usable = losses is not None and flat is not None
            pruned = trial.state is TrialState.EARLY_STOPPED
            state = optuna_trial.TrialState.PRUNED if pruned else optuna_trial.TrialState.COMPLETE
            state = state if usable else optuna_trial.TrialState.FAIL
        return optuna_trial.create_trial(
            state=state,
            values=losses if state is optuna_trial.TrialState.COMPLETE else None,
            params={path: _encode(self._dimensions[path], value) for path, value in (flat or {}).items()},
            distributions={path: self._distributions[path] for path in flat or ()},
            intermediate_values={0: losses[0]} if state is optuna_trial.TrialState.PRUNED and losses else {},
            system_attrs=system_attrs,
        )

    def suggest(self, trial: OptunaTrial) -> dict[str, Any]:
        """Parameters, each asked of the trial."""
        from optuna.distributions import IntDistribution

        def pick(path: str, dimension: Dimension) -> float:
            if isinstance(dimension, Choice):
                return trial.suggest_categorical(path, range(len(dimension.options)))
            distribution = self._distributions[path]
            if isinstance(distribution, IntDistribution):
                return _decode(dimension, trial.suggest_int(path, distribution.low, distribution.high))
            unit = isinstance(dimension, Normal)
            low, high = (0.0, 1.0) if unit else (dimension.low, dimension.high)
            return _decode(dimension, trial.suggest_float(path, low, high, log=dimension.log and not unit))

        return suggest(self._space, pick)


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match dimension:
        case Choice():
            return CategoricalDistribution(range(len(dimension.options)))
        case RandInt():
            return IntDistribution(dimension.low, dimension.high - 1)
        case Normal():
            return FloatDistribution(0.0, 1.0)
    if dimension.steps is not None and not dimension.log:
        return IntDistribution(dimension.steps.start, dimension.steps.stop - 1)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _encode(dimension: Dimension, value: float) -> float:
    match dimension:
        case Choice() | RandInt():
            return value
        case Normal():
            return dimension.to_unit(value)
    return value if dimension.q is None or dimension.log else round(value / dimension.q)


def _decode(leaf: Leaf, value: float) -> float:
    match leaf:
        case RandInt():
            return value
        case Normal():
            return leaf.from_unit(value)
    return leaf.round(value if leaf.q is None or leaf.log else value * leaf.q)
