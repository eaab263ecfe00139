"""Pruning what the loss would miss least, by its second-order expansion, in a few rounds.

L. Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018: the second derivatives of
Y. LeCun et al., "Optimal brain damage", 1989, come from the diagonal of the empirical Fisher information, the mean
square of an example's gradient. What one weight is worth changes as others go, so a few are pruned at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from torch import nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.core.formulas import lottery_sparsity
from autoprune.compression.torch import masking
from autoprune.compression.torch.choosing import Budget
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.feeding import Feed, Loss, read
from autoprune.compression.torch.nested import in_parts
from autoprune.compression.torch.pruners.taylor import TaylorFOWeightPruner
from autoprune.compression.torch.recalibrating import recalibrate_batchnorm, with_statistics
from autoprune.compression.torch.untouched import random_state_kept, undisturbed
from autoprune.compression.torch.voting import chosen


class FisherPruner(TaylorFOWeightPruner):
    """Prunes the weights with the smallest w^2 E[g^2], in `rounds` that each leave the same share of what is left.

    The mean over many rows is a gradient near zero and says little of each of them, so a batch is cut into parts of
    a few `rows` (None: it is taken whole), and the first `gradients` parts score. A round scores the network that the
    rounds before have left, with BatchNorm statistics that all the batches give it. They are put back afterwards.
    """

    granularity = "element"

    _data: Sequence[Any] = ()

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        *misplaced: Any,
        batches: Iterable[Any] | None = None,
        loss: Loss | None = None,
        rounds: int = 5,
        gradients: int = 64,
        rows: int | None = 4,
        **settings: Any,
    ) -> None:
        super().__init__(model, config_list, *misplaced, batches=batches, loss=loss, **settings)
        if batches is None:
            raise CompressionError(
                f"{self._called}: given a trainer; expected batches and loss, since every round cuts the same batches"
            )
        self.check_number("rounds", rounds, least=1)
        self.check_number("gradients", gradients, least=1)
        if rows is not None:
            self.check_number("rows", rows, least=1)
        self.rounds, self.gradients, self.rows = rounds, gradients, rows
        self._batches, self._loss = batches, loss

    def prune(self, budgets: Sequence[Budget]) -> None:
        """Prune to these budgets in rounds, all of which see the same batches."""
        with random_state_kept():
            self._data = read(self._batches, self.training_batches, self._called)
        try:
            super().prune(budgets)
        finally:
            self._data = ()

    def stages(self, budgets: Sequence[Budget]) -> Iterator[Sequence[Budget]]:
        """From what each budget has pruned by now to its sparsity, the density falling by one factor."""
        now = [self._pruned(budget) for budget in budgets]
        rising = any(budget.sparsity > start for budget, start in zip(budgets, now, strict=True))
        for number in range(1, self.rounds) if rising else ():
            yield [
                replace(budget, sparsity=_between(start, budget.sparsity, number, self.rounds))
                for budget, start in zip(budgets, now, strict=True)
            ]
        yield budgets

    def observe(self, on_batch: Callable[[], None] | None = None) -> None:
        """Run the model over parts of the batches, with the statistics of the network as it is pruned by now."""
        parts = chain.from_iterable(in_parts(batch, self.rows) for batch in self._data)
        feed = Feed.of(batches=list(islice(parts, self.gradients)), loss=self._loss, where=self._called)
        with random_state_kept(), undisturbed(self.model):
            norms = with_statistics(self.model)
            if norms and any(masking.all_masked(self.model)):
                recalibrate_batchnorm(self.model, self._data)
            for norm in norms.values():
                norm.eval()
            feed.observe(self.model, None, on_batch)

    def _pruned(self, budget: Budget) -> float:
        """The share of a budget's weights that this pruner has chosen to prune so far."""
        pruned = size = 0
        for info in map(self.info, budget.targets):
            held = masking.find(info.module, info.parameter)
            keep = None if held is None else chosen(held, self._owner)
            size += info.weight.numel()
            pruned += 0 if keep is None else int((~keep).sum())
        return pruned / max(size, 1)


def _between(start: float, end: float, number: int, rounds: int) -> float:
    """The sparsity after a round: of what is left at the start, each prunes the same share of what is left by then."""
    if end <= start:
        return end
    return start + (1 - start) * lottery_sparsity(number, rounds, (end - start) / (1 - start))
