"""Annealing: each value drawn near that of one of the best trials, nearer the more trials there are.

The algorithm is hyperopt's. It works on the unit interval, where every numeric type is uniform, and reads the
finished trials from a list that only grows. Trials still running are left out: hyperopt would take them for the worst
of all and search near them while nothing better is known. Its draws are random enough not to ask for one twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from autoprune.records import History, Proposal, Trial
from autoprune.search_space import Choice, Dimension, Option, Space, suggest
from autoprune.search_space.space import Branch, Constant, branch_prefix, member_path, option_path
from autoprune.tuners.base import Tuner, TunerArgs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hyperopt import Trials
    from hyperopt.base import Domain


class AnnealArgs(TunerArgs):
    avg_best_idx: float = Field(2.0, ge=1, description="mean rank of the trial to stay near; 1 is always the best")
    shrink_coef: float = Field(0.1, ge=0, description="how fast the neighbourhood shrinks with the number of trials")


class Anneal(Tuner):
    name = "Anneal"
    Args: ClassVar[type[TunerArgs]] = AnnealArgs

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._dimensions = dict(space.dimensions())
        self._domain: Domain | None = None
        self._trials: Trials | None = None
        self._seen = 0

    def ask(self, number: int, history: History) -> Proposal:
        from hyperopt import Trials, anneal
        from hyperopt.base import Domain

        args = self.args
        assert isinstance(args, AnnealArgs)
        self._domain = domain = self._domain or Domain(None, _group(self.space.members, ""))
        if self._trials is None:
            self._trials = Trials()
        documents = [self._document(trial) for trial in history.finished[self._seen :]]
        self._seen = len(history.finished)
        self._trials.insert_trial_docs([document for document in documents if document is not None])
        self._trials.refresh()
        options = {"avg_best_idx": args.avg_best_idx, "shrink_coef": args.shrink_coef}
        (asked,) = anneal.suggest([number], domain, self._trials, self.seed_for(number), **options)

        def pick(path: str, dimension: Dimension) -> float:
            (value,) = asked["misc"]["vals"][path]
            return int(value) if isinstance(dimension, Choice) else dimension.from_unit(float(value))

        return Proposal(suggest(self.space, pick))

    def _document(self, trial: Trial) -> dict[str, Any] | None:
        """The trial as hyperopt has it; None for one without a value, or that is not of this space."""
        from hyperopt import JOB_STATE_DONE, STATUS_OK

        loss, flat = self.loss(trial), self.flat(trial)
        if loss is None or flat is None:
            return None
        values: dict[str, list[float]] = {path: [] for path in self._dimensions}
        for path, value in flat.items():
            dimension = self._dimensions[path]
            values[path] = [value if isinstance(dimension, Choice) else dimension.to_unit(value)]
        active = {path: [trial.number] if value else [] for path, value in values.items()}
        return {
            "tid": trial.number,
            "state": JOB_STATE_DONE,
            "result": {"loss": loss, "status": STATUS_OK},
            "misc": {"tid": trial.number, "cmd": None, "workdir": None, "idxs": active, "vals": values},
            **dict.fromkeys(("spec", "exp_key", "owner", "book_time", "refresh_time")),
            "version": 0,
        }


def _group(members: Mapping[str, Dimension], prefix: str) -> dict[str, Any]:
    return {key: _expression(dimension, member_path(prefix, key)) for key, dimension in members.items()}


def _expression(dimension: Dimension, path: str) -> Any:
    """The dimension as hyperopt has it; labels are paths."""
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
