"""Automated gradual pruning: the sparsity grows while the network trains, fast at first and slower towards its end.

M. Zhu and S. Gupta, "To prune, or not to prune", 2017, equation 1, with t in epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from autoprune.compression.core.config_list import Entry, Key, integer_key, sparsity_key
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.core.formulas import agp_sparsity
from autoprune.compression.torch.choosing import Formula
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.pruners.level import LevelPruner
from autoprune.errors import Problem

SCHEDULE: tuple[Key, ...] = (
    sparsity_key("initial_sparsity", default=0.0),
    sparsity_key("final_sparsity"),
    sparsity_key("total_sparsity", instead_of="final_sparsity"),
    integer_key("start_epoch", least=0, default=0),
    integer_key("end_epoch", least=0),
    integer_key("frequency", least=1, default=1),
)
"""The keys of a pruner whose sparsity grows with the epochs."""


class AGPPruner(Pruner):
    """Prunes from `initial_sparsity` at `start_epoch` to `final_sparsity` at `end_epoch`, by magnitude or as another.

    `pruning_algorithm` is the pruner that says what goes: a class, or its name. Call `update_epoch(epoch + 1)` after
    each epoch; the masks move on every `frequency`-th of them.
    """

    aliases = ("AGP_Pruner", "AGPruner")
    keys = SCHEDULE
    final_key = "final_sparsity"

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        *misplaced: Any,
        pruning_algorithm: str | type[Pruner] = LevelPruner,
        **settings: Any,
    ) -> None:
        self._scorer = _scorer(pruning_algorithm)
        self.granularity, self.allocation = self._scorer.granularity, self._scorer.allocation
        self.supported = self._scorer.supported
        super().__init__(model, config_list, *misplaced, **settings)

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        return scheduled(settings, epoch)

    def formula(self, entry: Entry) -> Formula:
        return self._scorer.formula(entry)

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        return schedule_problems(where, settings)

    def _check(self, entry: Entry) -> list[Problem]:
        return super()._check(entry) or self._scorer.check(entry.where, entry.settings)


def scheduled(settings: Mapping[str, Any], epoch: int) -> float:
    """The sparsity at an epoch, by the keys of `SCHEDULE`."""
    span = (settings["start_epoch"], settings["end_epoch"], settings["frequency"])
    return agp_sparsity(epoch, settings["initial_sparsity"], _final(settings), *span)


def schedule_problems(where: str, settings: Mapping[str, Any]) -> list[Problem]:
    """Ends before starts."""
    problems = []
    start, end, initial = settings["start_epoch"], settings["end_epoch"], settings["initial_sparsity"]
    final = _final(settings)
    if end < start:
        problems.append(Problem(f"{where}.end_epoch", repr(end), f"start_epoch, {start}, or later"))
    if initial > final:
        problems.append(Problem(f"{where}.initial_sparsity", repr(initial), f"the final sparsity, {final}, or less"))
    return problems


def _final(settings: Mapping[str, Any]) -> float:
    value: float = settings["final_sparsity"] if "final_sparsity" in settings else settings["total_sparsity"]
    return value


def _scorer(algorithm: str | type[Pruner]) -> Pruner:
    """A pruner as the formula it stands for: one that needs data or a loop of its own is none."""
    from autoprune.compression.torch import names

    kind = names.pruner(algorithm) if isinstance(algorithm, str) else algorithm
    if not (isinstance(kind, type) and issubclass(kind, Pruner)):
        raise CompressionError(f"pruning_algorithm: given {kind!r}; expected a pruner's class or its name")
    does_more = kind.__init__ is not Pruner.__init__ or kind.prepare is not Pruner.prepare
    if does_more or kind.score is Pruner.score:
        raise CompressionError(
            f"pruning_algorithm: given {kind.__name__}, which does more than score weights; "
            f"expected one that only scores, as LevelPruner (or ScheduledPruner(pruner, 'agp'), which runs any)"
        )
    return kind.__new__(kind)
