"""How a space and its trials look to hyperopt; what the tuners that use it have in common here.

Labels are paths. Every numeric type lies on the unit interval, where it is uniform. Trials still running count as
trials that are as bad as the worst known: they are searched near as seldom as that one, and are forgotten once they
finish. hyperopt is imported when a tuner first asks.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from autoprune.records import History, Proposal, Trial
from autoprune.search_space import Branch, Choice, Constant, Dimension, Option, Space, suggest
from autoprune.search_space.space import branch_prefix, member_path, option_path
from autoprune.tuners.base import Tuner, TunerArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hyperopt.base import Domain

Document: TypeAlias = "dict[str, Any]"
"""A trial as hyperopt has it."""


class HyperoptTuner(Tuner):
    """A tuner that shows trials to one of hyperopt's algorithms: `learn` hears of each once, `propose` asks."""

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._dimensions = dict(space.dimensions())
        self._domain: Domain | None = None
        self._worst: float | None = None
        self._seen = 0

    @abstractmethod
    def learn(self, document: Document) -> None:
        """Keep what will be needed of a finished trial."""

    @abstractmethod
    def propose(self, number: int, domain: Domain, running: Sequence[Document]) -> Document:
        """Trial `number` as hyperopt wants it, where these others run."""

    def ask(self, number: int, history: History) -> Proposal:
        from hyperopt.base import Domain

        self._domain = domain = self._domain or Domain(None, _group(self.space.members, ""))
        for trial in history.finished[self._seen :]:
            document = self._document(trial, self.loss(trial))
            if document is not None:
                self._worst = max(loss_of(document), loss_of(document) if self._worst is None else self._worst)
                self.learn(document)
        self._seen = len(history.finished)
        running = [self._document(trial, self._worst) for trial in history.running]
        values = self.propose(number, domain, [document for document in running if document])["misc"]["vals"]

        def pick(path: str, dimension: Dimension) -> float:
            (value,) = values[path]
            return int(value) if isinstance(dimension, Choice) else dimension.from_unit(float(value))

        return Proposal(suggest(self.space, pick))

    def _document(self, trial: Trial, loss: float | None) -> Document | None:
        """The trial with this loss; None for one without a loss, or that is not of this space."""
        from hyperopt import JOB_STATE_DONE, STATUS_OK

        flat = self.flat(trial)
        if loss is None or flat is None:
            return None
        values: dict[str, list[float]] = {path: [] for path in self._dimensions}
        for path, value in flat.items():
            dimension = self._dimensions[path]
            values[path] = [value if isinstance(dimension, Choice) else dimension.to_unit(value)]
        number = trial.number
        active = {path: [number] if value else [] for path, value in values.items()}
        return {
            "tid": number,
            "state": JOB_STATE_DONE,
            "result": {"loss": loss, "status": STATUS_OK},
            "misc": {"tid": number, "cmd": None, "workdir": None, "idxs": active, "vals": values},
            **dict.fromkeys(("spec", "exp_key", "owner", "book_time", "refresh_time")),
            "version": 0,
        }


def loss_of(document: Document) -> float:
    return float(document["result"]["loss"])


def active_paths(document: Document) -> list[str]:
    """The paths that the trial has a value for."""
    return [path for path, value in document["misc"]["vals"].items() if value]


def _group(members: Mapping[str, Dimension], prefix: str) -> dict[str, Any]:
    return {key: _expression(dimension, member_path(prefix, key)) for key, dimension in members.items()}


def _expression(dimension: Dimension, path: str) -> Any:
    """The dimension as hyperopt has it."""
    from hyperopt import hp

    if isinstance(dimension, Choice):
        return hp.choice(path, [_option(option, path, index) for index, option in enumerate(dimension.options)])
    return hp.uniform(path, 0, 1)


def _option(option: Option, path: str, index: int) -> Any:
    match option:
        case Constant():
            return index
        case Branch():
            return _group(option.members, branch_prefix(path, option))
    return _expression(option, option_path(path, index))
