"""`Heuristic`: a rule that says how sparse each group should be, without a trial."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from autoprune.search.knapsack import Points
from autoprune.search.scaling import KINDS, Kind, Scaler


@dataclass(frozen=True)
class Subject:
    """The dense model with its weights, and what scales sparsities of its groups to the budget.

    `batches` are those that the task offers to calibrate with, and `loss` is its own. `lost` is what each group alone
    loses in accuracy at some sparsities, where that was scanned; `scores` say which weights a gradual pruning of the
    model took first, where there was one.
    """

    model: nn.Module
    scaler: Scaler
    example: Any = None
    batches: Sequence[Any] = ()
    loss: Callable[[Any, Any], Tensor] | None = None
    lost: Mapping[str, Points] = field(default_factory=dict)
    scores: Mapping[str, Tensor] = field(default_factory=dict)


class Heuristic(ABC):
    """Subclass, give it a `name`, write `sparsities`.

    `places` says what it can be used for, and where it comes among the others: the strongest first. It is combined with
    the first pruner of its kind, or where it is searched, with the `pruner` that it goes best with. The model stays as
    it is.
    """

    name: ClassVar[str]
    places: ClassVar[Mapping[Kind, int]] = dict.fromkeys(KINDS, 100)
    pruner: ClassVar[str | None] = None

    def obstacle(self, subject: Subject) -> str:
        """Why it can not be used here; empty where it can."""
        return ""

    @abstractmethod
    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        """The sparsity of each group, in [0, 1); they are scaled to the budget afterwards."""
