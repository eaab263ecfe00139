"""Automated gradual pruning: the sparsity grows while the network trains, fast at first and slower towards its end.

M. Zhu and S. Gupta, "To prune, or not to prune", 2017, equation 1, with t in epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoprune.compression.core.config_list import integer_key, sparsity_key
from autoprune.compression.core.formulas import agp_sparsity
from autoprune.compression.torch.pruners.level import LevelPruner
from autoprune.errors import Problem


class AGPPruner(LevelPruner):
    """Prunes by magnitude, from `initial_sparsity` at `start_epoch` to `final_sparsity` at `end_epoch`.

    Call `update_epoch(epoch + 1)` after each epoch; the masks move on every `frequency`-th of them.
    """

    aliases = ("AGP_Pruner", "AGPruner")
    final_key = "final_sparsity"
    keys = (
        sparsity_key("initial_sparsity", default=0.0),
        sparsity_key("final_sparsity"),
        sparsity_key("total_sparsity", instead_of="final_sparsity"),
        integer_key("start_epoch", least=0, default=0),
        integer_key("end_epoch", least=0),
        integer_key("frequency", least=1, default=1),
    )

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        return agp_sparsity(
            epoch,
            settings["initial_sparsity"],
            _final(settings),
            settings["start_epoch"],
            settings["end_epoch"],
            settings["frequency"],
        )

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        problems = []
        start, end, initial, final = (
            settings["start_epoch"],
            settings["end_epoch"],
            settings["initial_sparsity"],
            _final(settings),
        )
        if end < start:
            problems.append(Problem(f"{where}.end_epoch", repr(end), f"start_epoch, {start}, or later"))
        if initial > final:
            problems.append(
                Problem(f"{where}.initial_sparsity", repr(initial), f"the final sparsity, {final}, or less")
            )
        return problems


def _final(settings: Mapping[str, Any]) -> float:
    value: float = settings["final_sparsity"] if "final_sparsity" in settings else settings["total_sparsity"]
    return value
