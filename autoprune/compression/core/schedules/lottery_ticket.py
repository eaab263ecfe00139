"""Lottery ticket: every round prunes the same share of what is left, then the weights go back to the start.

J. Frankle and M. Carbin, "The Lottery Ticket Hypothesis", 2019.
"""

from __future__ import annotations

from autoprune.compression.core.formulas import lottery_sparsity
from autoprune.compression.core.schedules.base import Stepwise


class LotteryTicket(Stepwise):
    """1 - (1 - target)^(i / N) at round i, for i = 1..N."""

    name = "lottery_ticket"
    rewinds = True
    first_step = 1

    def sparsity(self, step: int, target: float) -> float:
        return lottery_sparsity(step, self.total_iteration, target)
