"""From scores to what is pruned: exact in number, nested over time, never emptying a layer that shares a budget.

A budget is spent in three tiers: what this pruner has pruned already goes first, then what others have pruned, both
by the scores of the values under the masks, and then what is left, by the scores of the weights as the network uses
them. Masks of a rising schedule nest for that reason, whatever the weights have done meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoprune.compression.core.allocations.base import Allocation
from autoprune.compression.core.config_list import Target
from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.core.selection import Array, Mask, NotANumber, Source, Values, smallest, whole
from autoprune.compression.torch.coupling import Coupling, rounded_count
from autoprune.compression.torch.granularities.base import Granularity
from autoprune.compression.torch.granularities.element import Element
from autoprune.compression.torch.layers import LayerInfo, as_stored, filters_first
from autoprune.compression.torch.masking import Masked
from autoprune.compression.torch.voting import chosen

Score: TypeAlias = Callable[[LayerInfo, Tensor], Tensor]
Rows: TypeAlias = NDArray[Any]
ScoreMethod = TypeVar("ScoreMethod", bound=Callable[..., Tensor])


def elementwise(score: ScoreMethod) -> ScoreMethod:
    """Say of a `score` that it can score any stretch of a layer's weights, so that no copy of the layer is made."""
    score.__dict__["elementwise"] = True
    return score


@dataclass(frozen=True)
class Budget:
    """Layers and the sparsity they have to reach: each by itself, or together where they are ranked or coupled.

    `target` is where the schedule ends, if there is one.
    """

    targets: Sequence[Target]
    sparsity: float
    target: float
    allocation: Allocation
    coupling: Coupling | None = None


@dataclass(frozen=True)
class Formula:
    """What a pruner says of a layer: how its elements score, how a unit scores, and what a unit is."""

    score: Score
    combine: Callable[[Tensor], Tensor]
    granularity: Granularity


@dataclass(frozen=True)
class Tier:
    """Some units of a layer, all of them where `among` is None, and whether values under masks give their scores."""

    among: Mask | None
    count: int
    dense: bool


class Candidate:
    """A layer before a choice: its units, what is pruned of it and by whom, and how the units score."""

    def __init__(
        self, info: LayerInfo, held: Masked | None, owner: str, formula: Formula, allocation: Allocation
    ) -> None:
        self.info = info
        self.granularity = formula.granularity
        self._formula = formula
        self._allocation = allocation
        self._held = held
        self._weight = info.weight.detach()
        self.shape = tuple(self._ordered(self._weight).shape)
        self.size = self._weight.numel()
        self.count = self.granularity.count(self.shape)
        self.mine = self._marks(None if held is None else chosen(held, owner))
        pruned = self._marks(None if held is None else held.kept())
        self.others = None if pruned is None else pruned if self.mine is None else pruned & ~self.mine

    @property
    def sizes(self) -> NDArray[np.intp]:
        """How many weights each unit has."""
        sizes = self.granularity.sizes(self.shape)
        return np.full(self.count, self.size // max(self.count, 1), dtype=np.intp) if sizes is None else sizes

    @cached_property
    def tiers(self) -> tuple[Tier, Tier, Tier]:
        mine, others = (0 if part is None else int(np.count_nonzero(part)) for part in (self.mine, self.others))
        pruned = [part for part in (self.mine, self.others) if part is not None]
        free = ~np.logical_or.reduce(pruned) if pruned else None
        return (
            Tier(self.mine, mine, dense=True),
            Tier(self.others, others, dense=True),
            Tier(free, self.count - mine - others, dense=False),
        )

    def source(self, *, dense: bool) -> Source:
        return self._dense_source if dense else self._used_source

    def ranked(self) -> tuple[NDArray[np.int8], Values]:
        """The tier and the score of every unit."""
        tiers = np.full(self.count, 2, dtype=np.int8)
        scores = whole(self.source(dense=False))
        for number in (1, 0):
            tier = self.tiers[number]
            if tier.among is not None and tier.count:
                tiers[tier.among] = number
                scores = np.where(tier.among, whole(self.source(dense=True)), scores)
        return tiers, scores

    def keep(self, pruned: Mask) -> Tensor:
        """The mask of this layer, in the shape of its weight and on its device: marks of units turned around."""
        np.logical_not(pruned, out=pruned)
        kept = self.granularity.spread(torch.from_numpy(pruned), self.shape)
        stored = as_stored(self.info.module, kept) if self.granularity.by_filter else kept
        return stored.contiguous().to(self._weight.device)

    def _ordered(self, values: Tensor) -> Tensor:
        return filters_first(self.info.module, values) if self.granularity.by_filter else values

    def _marks(self, kept: Tensor | None) -> Mask | None:
        """Units of which nothing is kept; None where there is no mask."""
        if kept is None or bool(kept.all()):
            return None
        marks: Mask = (~self.granularity.units(self._ordered(kept))).all(1).cpu().numpy()
        return marks

    @cached_property
    def _used_source(self) -> Source:
        return self._source(self._weight)

    @cached_property
    def _dense_source(self) -> Source:
        return self._used_source if self._held is None else self._source(self._held.dense())

    def _source(self, weight: Tensor) -> Source:
        if type(self.granularity) is Element and getattr(self._formula.score, "elementwise", False):
            source: Source = _Stretches(self._formula.score, self.info, weight)
        else:
            source = Array(self._unit_scores(weight))
        return self._allocation.comparable(source)

    def _unit_scores(self, weight: Tensor) -> Values:
        given: object = self._formula.score(self.info, weight)
        if not isinstance(given, Tensor):
            raise CompressionError(f"given {shown(given)} as scores of layer {self.info.called}; expected a tensor")
        scores = given.detach()
        filters = self.granularity.name == "filter" and scores.shape == self.shape[:1]
        if scores.shape == weight.shape:
            units = self.granularity.units(self._ordered(scores))
            scores = units.squeeze(1) if isinstance(self.granularity, Element) else self._formula.combine(units)
        elif not filters:
            raise CompressionError(
                f"given scores of shape {tuple(scores.shape)} for layer {self.info.called}; expected one for each of "
                f"its weights, {tuple(weight.shape)}, or one for each filter where filters are pruned"
            )
        if bool(torch.isnan(scores).any()):
            raise _not_a_number(self.info)
        return _numpy(scores)


class _Stretches:
    """The scores of a layer, computed stretch by stretch as they are asked for."""

    def __init__(self, score: Score, info: LayerInfo, weight: Tensor) -> None:
        self._score = score
        self._info = info
        self._flat = weight.cpu().contiguous().view(-1)

    @property
    def size(self) -> int:
        return self._flat.numel()

    def stretch(self, start: int, stop: int) -> Values:
        return self._scores(self._flat[start:stop])

    def at(self, index: NDArray[np.intp]) -> Values:
        return self._scores(self._flat[torch.from_numpy(index)])

    def _scores(self, weights: Tensor) -> Values:
        scores = self._score(self._info, weights)
        if scores.shape != weights.shape:
            raise CompressionError(
                f"given scores of shape {tuple(scores.shape)} for {tuple(weights.shape)} weights of layer "
                f"{self._info.called}; expected one for each from a score that is marked elementwise"
            )
        return _numpy(scores)


def choose(
    pool: Sequence[Candidate], sparsity: float, limits: Sequence[int] | None = None, multiple: int = 1
) -> list[Mask]:
    """What to prune of the layers of a budget: units of a single layer, or weights where layers share one.

    Where filters are pruned, what stays of a single layer may have to be a `multiple`.
    """
    if limits is not None:
        return _pooled(pool, pruned_count(sum(candidate.size for candidate in pool), sparsity), limits)
    return [_alone(candidate, sparsity, multiple) for candidate in pool]


def choose_coupled(pool: Sequence[Candidate], coupling: Coupling, sparsity: float, multiple: int = 1) -> list[Mask]:
    """Whole atoms of coupled layers: those of the lowest score, which is the sum over all filters of an atom."""
    tiers, scores = np.zeros(coupling.count, dtype=np.int8), np.zeros(coupling.count)
    for candidate, atoms in zip(pool, coupling.atoms, strict=True):
        own_tiers, own_scores = candidate.ranked()
        np.maximum.at(tiers, atoms, own_tiers)
        np.add.at(scores, atoms, own_scores)
    pruned = np.zeros(coupling.count, dtype=np.bool_)
    for rows in coupling.rows:
        pruned[rows] = _lowest_in_rows(tiers[rows], scores[rows], coupling.going(rows, sparsity, multiple))
    return [pruned[atoms] for atoms in coupling.atoms]


def _alone(candidate: Candidate, sparsity: float, multiple: int) -> Mask:
    granularity, shape = candidate.granularity, candidate.shape
    if not granularity.in_rows or candidate.count == 0:
        return _select([candidate], rounded_count(candidate.count, sparsity, multiple))[0]
    tiers, scores = candidate.ranked()
    tiers, scores = granularity.rows(tiers, shape, -1), granularity.rows(scores, shape, 0)
    marked = _lowest_in_rows(tiers, scores, pruned_count(scores.shape[1], sparsity))
    return granularity.from_rows(marked, shape).copy()


def _lowest_in_rows(tiers: Rows, scores: Rows, k: int) -> Mask:
    order = np.lexsort((scores, tiers), axis=1)
    marked = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(marked, order[:, :k], True, axis=1)
    return marked


def _pooled(pool: Sequence[Candidate], k: int, limits: Sequence[int]) -> list[Mask]:
    """k weights of all layers together, and of none more than its limit: one that would lose more loses just that."""
    select = _select if all(candidate.count == candidate.size for candidate in pool) else _select_weighed
    fixed: dict[int, Mask] = {}
    while True:
        free = [index for index in range(len(pool)) if index not in fixed]
        left = k - sum(_weights(pool[index], mask) for index, mask in fixed.items())
        chosen = dict(zip(free, select([pool[index] for index in free], left), strict=True)) if free else {}
        over = [index for index, mask in chosen.items() if _weights(pool[index], mask) > limits[index]]
        if not over:
            return [(fixed | chosen)[index] for index in range(len(pool))]
        fixed |= {index: select([pool[index]], limits[index])[0] for index in over}


def _weights(candidate: Candidate, mask: Mask) -> int:
    return int(np.count_nonzero(mask)) if candidate.count == candidate.size else int(candidate.sizes[mask].sum())


def _select(pool: Sequence[Candidate], k: int) -> list[Mask]:
    """k units of all layers together."""
    chosen: dict[int, Mask] = {}
    for number in range(3):
        covered = [index for index, candidate in enumerate(pool) if candidate.tiers[number].count]
        count = sum(pool[index].tiers[number].count for index in covered)
        if min(k, count) > 0:
            taken = _take([pool[index] for index in covered], number, k, whole=count <= k)
            for index, mask in zip(covered, taken, strict=True):
                chosen[index] = chosen[index] | mask if index in chosen else mask
        k -= min(k, count)
    return [
        chosen[index] if index in chosen else np.zeros(candidate.count, dtype=np.bool_)
        for index, candidate in enumerate(pool)
    ]


def _take(pool: Sequence[Candidate], number: int, k: int, *, whole: bool) -> list[Mask]:
    """All of a tier, or the k smallest of it."""
    tiers = [candidate.tiers[number] for candidate in pool]
    if whole:
        return [np.ones(tier.count, dtype=np.bool_) if tier.among is None else tier.among.copy() for tier in tiers]
    sources = [candidate.source(dense=tier.dense) for candidate, tier in zip(pool, tiers, strict=True)]
    try:
        return smallest(sources, k, [tier.among for tier in tiers])
    except NotANumber as error:
        raise _not_a_number(pool[error.source].info) from None


def _select_weighed(pool: Sequence[Candidate], k: int) -> list[Mask]:
    """Units in their order while they fit into k weights: filters of different layers are not of one size."""
    sizes = np.concatenate([candidate.sizes for candidate in pool])
    ranked = [candidate.ranked() for candidate in pool]
    order = np.lexsort(
        (np.concatenate([scores for _, scores in ranked]), np.concatenate([tiers for tiers, _ in ranked]))
    )
    chosen = np.zeros(sizes.size, dtype=np.bool_)
    chosen[order[np.cumsum(sizes[order]) <= k]] = True
    return np.split(chosen, np.cumsum([candidate.count for candidate in pool])[:-1])


def _numpy(scores: Tensor) -> Values:
    exact = torch.float64 if scores.dtype in (torch.float64, torch.int32, torch.int64) else torch.float32
    values: Values = scores.detach().to("cpu", exact).contiguous().view(-1).numpy()
    return values


def _not_a_number(info: LayerInfo) -> CompressionError:
    return CompressionError(
        f"given scores with NaN for layer {info.called}; expected numbers (has the training diverged?)"
    )
