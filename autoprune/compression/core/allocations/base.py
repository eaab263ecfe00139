"""`Allocation`: a rule that divides one budget among layers."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import ClassVar

from autoprune.compression.core.selection import Source


class Allocation(ABC):
    """Divides beforehand (`divide`), or makes the scores of layers comparable and lets one ranking divide.

    An allocation that does not share gives each layer the sparsity asked for; one that couples prunes the layers of a
    group as one.
    """

    name: ClassVar[str]
    shares: ClassVar[bool] = True
    ranks: ClassVar[bool] = False
    couples: ClassVar[bool] = False

    def divide(self, shapes: Mapping[str, tuple[int, ...]], sparsity: float, most: float | None) -> Mapping[str, float]:
        """The sparsity of each layer, none above `most`: what an allocation does that does not rank."""
        raise NotImplementedError(f"{type(self).__name__} must override divide, or rank")

    def comparable(self, scores: Source) -> Source:
        """The scores of one layer on a scale that all layers share: what an allocation does that ranks."""
        return scores
