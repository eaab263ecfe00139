"""From the scores of layers to their masks: exact in number, nested over time, never emptying a pooled layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.core.selection import Mask, Values, smallest_by_tier
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.masking import Masked

Score: TypeAlias = Callable[[LayerInfo, Tensor], Tensor]


class Candidate:
    """A layer's weight before a choice: what is pruned of it, by whom, and how its elements score.

    What this pruner has pruned goes first and what others have pruned second, both by the scores of the values
    under the masks; then what is left, by the scores of the weights as the network uses them.
    """

    def __init__(self, info: LayerInfo, held: Masked | None, owner: str, score: Score) -> None:
        self.info = info
        self.weight = info.module.get_parameter(info.parameter).detach()
        self._held = held
        self._score = score
        mine = None if held is None else held.vote(owner)
        pruned = _none(self.weight) if held is None else _flat(~held.kept())
        self.mine = _none(self.weight) if mine is None else _flat(~mine)
        self.others: Mask = pruned & ~self.mine
        self.free: Mask = ~(pruned | self.mine)

    @cached_property
    def used_scores(self) -> Values:
        return self._scores(self.weight)

    @cached_property
    def dense_scores(self) -> Values:
        return self.used_scores if self._held is None else self._scores(self._held.dense())

    def choose(self, k: int) -> Mask:
        return choose([self], k)[0]

    def keep(self, pruned: Mask) -> Tensor:
        """The mask of this layer, in the shape of its weight and on its device."""
        return torch.from_numpy(~pruned).view(self.weight.shape).to(self.weight.device)

    def _scores(self, weight: Tensor) -> Values:
        scores = self._score(self.info, weight).detach()
        if scores.shape != weight.shape:
            raise CompressionError(
                f"given scores of shape {tuple(scores.shape)} for layer {self.info.name!r}; "
                f"expected one for each of its weights, {tuple(weight.shape)}"
            )
        if bool(torch.isnan(scores).any()):
            raise CompressionError(
                f"given scores with NaN for layer {self.info.name!r}; expected numbers (has the training diverged?)"
            )
        exact = torch.float64 if scores.dtype in (torch.float64, torch.int32, torch.int64) else torch.float32
        values: Values = scores.to("cpu", exact).contiguous().view(-1).numpy()
        return values


def choose(pool: Sequence[Candidate], k: int, limits: Sequence[int] | None = None) -> list[Mask]:
    """What to prune of each layer of a pool: k elements in all, and of no layer more than its limit."""
    if sum(int(np.count_nonzero(candidate.mine)) for candidate in pool) == k:
        return [candidate.mine for candidate in pool]
    if limits is None:
        allowed = np.ones(sum(candidate.mine.size for candidate in pool), dtype=np.bool_)
    else:
        allowed = np.concatenate([candidate.choose(limit) for candidate, limit in zip(pool, limits, strict=True)])

    def joined(part: Callable[[Candidate], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([part(candidate) for candidate in pool])

    def dense() -> Values:
        return joined(lambda candidate: candidate.dense_scores)

    def used() -> Values:
        return joined(lambda candidate: candidate.used_scores)

    tiers = [
        (joined(lambda candidate: candidate.mine) & allowed, dense),
        (joined(lambda candidate: candidate.others) & allowed, dense),
        (joined(lambda candidate: candidate.free) & allowed, used),
    ]
    chosen = smallest_by_tier(tiers, k)
    ends = np.cumsum([candidate.mine.size for candidate in pool])
    return np.split(chosen, ends[:-1])


def _flat(mask: Tensor) -> Mask:
    flat: Mask = mask.cpu().contiguous().view(-1).numpy()
    return flat


def _none(weight: Tensor) -> Mask:
    return np.zeros(weight.numel(), dtype=np.bool_)
