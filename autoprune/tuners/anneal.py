"""Annealing: each value drawn near that of one of the best trials, nearer the more trials there are.

The algorithm is hyperopt's. It works on the unit interval, where every numeric type is uniform, and reads the
finished trials from a list that only grows. Trials still running count as many trials more, each as bad as the worst
known: they narrow the neighbourhood as they will once they finish, and are hardly ever searched near.
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
        self._documents: list[dict[str, Any]] = []
        self._seen = 0

    def ask(self, number: int, history: History) -> Proposal:
        from hyperopt import anneal
        from hyperopt.base import Domain

        args = self.args
        assert isinstance(args, AnnealArgs)
        self._domain = domain = self._domain or Domain(None, _group(self.space.members, ""))
        for trial in history.finished[self._seen :]:
            self._add(self._documents, trial, self.loss(trial))
        self._seen = len(history.finished)
        trials = self._with_running(history)
        options = {"avg_best_idx": args.avg_best_idx, "shrink_coef": args.shrink_coef}
        (asked,) = anneal.suggest([number], domain, trials, self.seed_for(number), **options)

        def pick(path: str, dimension: Dimension) -> float:
            (value,) = asked["misc"]["vals"][path]
            return int(value) if isinstance(dimension, Choice) else dimension.from_unit(float(value))

        return Proposal(suggest(self.space, pick))

    def _with_running(self, history: History) -> Trials:
        """What hyperopt reads: all finished trials and, once there is a worst one, the running ones as bad as that."""
        from hyperopt.base import trials_from_docs

        documents = list(self._documents)
        if documents:
            worst = max(document["result"]["loss"] for document in documents)
            for trial in history.running:
                self._add(documents, trial, worst)
        return trials_from_docs(documents, validate=False)

    def _add(self, documents: list[dict[str, Any]], trial: Trial, loss: float | None) -> None:
        """Append the trial as hyperopt has it, unless it has no value, or is not of this space."""
        flat = self.flat(trial)
        if loss is not None and flat is not None:
            documents.append(self._document(trial.number, loss, flat))

    def _document(self, number: int, loss: float, flat: Mapping[str, float]) -> dict[str, Any]:
        from hyperopt import JOB_STATE_DONE, STATUS_OK

        values: dict[str, list[float]] = {path: [] for path in self._dimensions}
        for path, value in flat.items():
            dimension = self._dimensions[path]
            values[path] = [value if isinstance(dimension, Choice) else dimension.to_unit(value)]
        active = {path: [number] if value else [] for path, value in values.items()}
        return {
            "tid": number,
            "state": JOB_STATE_DONE,
            "result": {"loss": loss, "status": STATUS_OK},
            "misc": {"tid": number, "cmd": None, "workdir": None, "idxs": active, "vals": values},
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
