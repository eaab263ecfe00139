"""The small formulas that pruners and budgets share."""

from __future__ import annotations

import math


def pruned_count(size: int, sparsity: float) -> int:
    """How many of `size` elements a sparsity prunes: 29 % of 100 is 29, although 100 * .29 is below 29."""
    return math.floor(size * sparsity + 1e-9)


def sparsity_of(pruned: int, size: int) -> float:
    """The float nearest pruned / size from which `pruned_count` gives `pruned` back."""
    if size == 0:
        return 0.0
    value = float(pruned / size)
    while pruned_count(size, value) < pruned:
        value = math.nextafter(value, 1.0)
    return value


def agp_sparsity(epoch: int, initial: float, final: float, start_epoch: int, end_epoch: int, frequency: int) -> float:
    """Zhu and Gupta (2017), equation 1, as a pure function of the epoch.

    Epochs between two updates have the sparsity of the earlier one. The target holds from `end_epoch` on, even
    where the frequency does not divide the span.
    """
    if epoch >= end_epoch:
        return final
    if epoch < start_epoch:
        return initial
    updated = (epoch - start_epoch) // frequency * frequency
    return final + (initial - final) * (1 - updated / (end_epoch - start_epoch)) ** 3


def lottery_sparsity(iteration: int, iterations: int, final: float) -> float:
    """Each iteration prunes the same share of what is left, 1 - (1 - final)^(1 / iterations) (Frankle and Carbin)."""
    if iteration >= iterations:
        return final
    return -math.expm1(iteration / iterations * math.log1p(-final))
