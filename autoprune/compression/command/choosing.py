"""From what the command line says to a pruner: by name, in one go, with what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from autoprune.compression.command.failing import said
from autoprune.compression.command.loading import function
from autoprune.compression.command.subject import Subject
from autoprune.compression.core import allocations
from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.torch import names
from autoprune.compression.torch.compact.limits import limits_of
from autoprune.compression.torch.compact.tracing import traced
from autoprune.compression.torch.components import fixed_sparsity
from autoprune.compression.torch.layers import BATCH_NORMS, layers_of, original, uncalled
from autoprune.compression.torch.pruners._data_driven import DataDrivenPruner
from autoprune.compression.torch.pruners.admm import ADMMPruner
from autoprune.compression.torch.pruners.agp import AGPPruner
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.pruners.lottery_ticket import LotteryTicketPruner
from autoprune.compression.torch.pruners.movement import MovementPruner
from autoprune.compression.torch.pruners.scores import ScoresPruner
from autoprune.compression.torch.pruners.slim import SlimPruner
from autoprune.compression.torch.pruners.sparse import SparsePruner
from autoprune.errors import did_you_mean

_TRAINING = (ADMMPruner, AGPPruner, LotteryTicketPruner, MovementPruner, SparsePruner)
_SHORT = {
    "ActivationAPoZRankPruner": "apoz",
    "ActivationMeanRankPruner": "mean",
    "L1NormPruner": "l1",
    "L2NormPruner": "l2",
    "TaylorFOWeightPruner": "taylor",
}
_COUPLED = "dependency_aware"
_FOLLOWS = "goes with the channels of the layer before it"
_WITH_CHANNELS = (_ConvNd, nn.Linear, *BATCH_NORMS)
_LOSSES = (
    "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "kl_div",
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """How to prune, as the command line says it."""

    pruner: str
    sparsity: float | None = None
    config: str | None = None
    mode: str | None = None
    round_to: int | None = None
    loss: str | Mapping[str, str] = "cross_entropy"
    batches: int = 100
    inexact: bool = False


@dataclass(frozen=True)
class Chosen:
    """A pruner that is ready, and the layers that it leaves alone since nothing of them can be removed, and why."""

    pruner: Pruner
    left_alone: Mapping[str, str]


def check(choice: Choice) -> type[Pruner]:
    """The pruner's class, and what can be known to be wrong before a model is built."""
    kind = _named(choice.pruner)
    if how := otherwise(kind):
        raise CompressionError(
            f"--pruner: given {kind.__name__}, which prunes {how}; expected one that prunes at once "
            f"({', '.join(at_once())})"
        )
    if choice.config is None and choice.sparsity is None and fixed_sparsity(kind.granularity) is None:
        raise CompressionError("given neither --sparsity nor --config; expected one of them")
    if choice.mode is not None and choice.mode not in allocations.names():
        hint = remedy(choice.mode, allocations.names())
        raise CompressionError(f"--mode: given {choice.mode!r}; expected an allocation ({hint})")
    if choice.round_to is not None and kind.granularity != "filter":
        raise CompressionError(
            f"--round-to: given with {kind.__name__}; expected a pruner of filters ({', '.join(at_once(filters=True))})"
        )
    return kind


def choose(kind: type[Pruner], choice: Choice, subject: Subject) -> Chosen:
    """A pruner of the model. One that prunes filters knows what goes together, and leaves alone what cannot go."""
    filters = kind.granularity == "filter"
    left_alone = _left_alone(kind, choice, subject) if filters and choice.config is None else {}
    entries = _entries(choice, left_alone) if choice.config is None else Path(choice.config)
    usual = _COUPLED if filters and kind.allocation == "uniform" and choice.config is None else None
    mode = choice.mode or usual
    settings: dict[str, Any] = {} if mode is None else {"mode": mode}
    if choice.round_to is not None:
        settings["round_to"] = choice.round_to
    graph = {"dummy_input": subject.example} if filters else {}
    pruner = kind(subject.model, entries, **settings, **graph, **_data(kind, choice, subject))
    return Chosen(pruner, {layer: why for layer, why in left_alone.items() if why != _FOLLOWS})


def full_name(given: str) -> str:
    """What a short name stands for; of any other, the name as it is."""
    return next((name for name, short in _SHORT.items() if short == given.casefold()), given)


def _named(given: str) -> type[Pruner]:
    try:
        return names.pruner(full_name(given))
    except CompressionError:
        hint = did_you_mean(given, at_once())
        raise CompressionError(f"--pruner: given {given!r}; expected a pruner's name ({hint})") from None


def at_once(*, filters: bool = False) -> list[str]:
    """The short names of those that prune at once, or only of those among them that prune filters."""
    found = []
    for name, kind in names.algorithms().items():
        fits = issubclass(kind, Pruner) and not otherwise(kind)
        if name == kind.__name__ and fits and (kind.granularity == "filter" or not filters):
            found.append(_SHORT.get(name) or name.removesuffix("Pruner").casefold())
    return sorted(found)


def otherwise(kind: type[Pruner]) -> str:
    """How it prunes, where that is not at once, by scores of its own."""
    if issubclass(kind, _TRAINING):
        return "while a model trains"
    return "by scores that it is given" if issubclass(kind, ScoresPruner) else ""


def _entries(choice: Choice, left_alone: Mapping[str, str]) -> list[dict[str, Any]]:
    sparsity = {} if choice.sparsity is None else {"sparsity": choice.sparsity}
    entries: list[dict[str, Any]] = [{**sparsity, "op_types": ["default"]}]
    return [*entries, {"op_names": list(left_alone), "exclude": True}] if left_alone else entries


def _left_alone(kind: type[Pruner], choice: Choice, subject: Subject) -> dict[str, str]:
    """Layers of which no filter can be removed, as the output needs them all, or an LSTM: masks would only hurt."""
    modules = {original(name): module for name, module in subject.model.named_modules(remove_duplicate=False)}
    offered = layers_of(subject.model, kind.supported)
    layers = [layer.name for layer in offered if layer.default and layer.tensor is not None]
    reasons = _Reasons(subject, inexact=choice.inexact)
    found = {name: why for name in layers if (why := reasons.left_alone(modules[name]))}
    if len(found) == len(layers):
        why_not = "; ".join(f"{name}: {why}" for name, why in found.items()) or "it has none of its types"
        raise CompressionError(
            f"{subject.called}: given a model without a layer of which {kind.__name__} can remove anything; "
            f"expected one ({why_not})"
        )
    return found


class _Reasons:
    """Why layers of a model stay as they are."""

    def __init__(self, subject: Subject, *, inexact: bool) -> None:
        graph = traced(subject.model, subject.example)
        modules = dict(subject.model.named_modules())
        self._units = {id(modules.get(node.name or "")): node.leaving.tolist() for node in graph.layers()}
        self._fixed = limits_of(graph, subject.model, inexact=inexact).fixed
        self._uncalled = uncalled(subject.model)

    def left_alone(self, module: nn.Module) -> str:
        """Empty where filters of it can go."""
        units = self._units.get(id(module), [])
        if isinstance(module, nn.PReLU):
            return _FOLLOWS
        if not isinstance(module, _WITH_CHANNELS):
            return "its rows are no channels"
        if id(module) in self._uncalled:
            return "an attention computes with its weight"
        if not units:
            return "the example input does not reach it"
        fixed = [self._fixed.get(unit) for unit in units]
        return "; ".join(dict.fromkeys(filter(None, fixed))) if all(fixed) else ""


def _data(kind: type[Pruner], choice: Choice, subject: Subject) -> dict[str, Any]:
    """What a pruner that looks at data is given; network slimming goes by the scales as they are."""
    if issubclass(kind, SlimPruner):
        return {"training_epochs": 0}
    if not issubclass(kind, DataDrivenPruner):
        return {}
    if subject.batches is None:
        raise CompressionError(
            f"--pruner: given {kind.__name__}, which looks at data; expected --data FILE.py:FUNCTION"
        )
    loss = {} if kind.purpose == "outputs" else {"loss": _loss(choice.loss)}
    return {"batches": subject.batches, "training_batches": choice.batches, **loss}


def _loss(given: str | Mapping[str, str]) -> Callable[..., Tensor]:
    if not isinstance(given, str):
        return function(given)
    if given not in _LOSSES:
        raise CompressionError(f"--loss: given {given!r}; expected a loss of torch ({remedy(given, _LOSSES)})")
    of_torch: Callable[..., Tensor] = getattr(functional, given)

    def loss(output: Any, target: Any) -> Tensor:
        try:
            return of_torch(output, target)
        except Exception as error:
            raise CompressionError(
                f"--loss: given {given}, which does not take the output of the model, {_kind(output)}, with a target "
                f"of --data, {_kind(target)} ({said(error)}); expected a loss that does (--loss FILE.py:FUNCTION, "
                "called with the output and the target)"
            ) from None

    return loss


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
