"""What `speedup` did: which layers lost which channels, what it added to the masks, and what stays and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from autoprune.compression.torch.compact.agreement import Agreement, Gone, staying
from autoprune.compression.torch.compact.completing import Keeps, gone_channels, gone_of
from autoprune.compression.torch.compact.cutting import cuts_of
from autoprune.compression.torch.compact.graph import Graph, leaving_side
from autoprune.compression.torch.compact.kinds import Side
from autoprune.compression.torch.compact.limits import Limits
from autoprune.compression.torch.compact.plan import Plan

_SHOWN = 3
_ROWS = 256


@dataclass(frozen=True)
class Removed:
    """A layer that lost channels: how many it has of how many, coming in and going out."""

    layer: str
    type: str
    sides: Mapping[Side, tuple[int, int]]
    attributes: Mapping[str, tuple[int, int]]
    parameters: tuple[int, int]

    def __str__(self) -> str:
        changes = [*self.sides.items(), *self.attributes.items(), ("parameters", self.parameters)]
        shown = [f"{name} {before} -> {after}" for name, (before, after) in changes if before != after]
        return f"{self.layer} ({self.type}): {', '.join(shown)}"


@dataclass(frozen=True)
class Added:
    """Weights that go with removed channels though no mask named them."""

    layer: str
    parameter: str
    count: int


@dataclass(frozen=True)
class Stays:
    """Masked channels of a layer that were not removed."""

    layer: str
    channels: int
    reason: str

    def __str__(self) -> str:
        return f"{self.channels} of {self.layer}: {self.reason}"


@dataclass(frozen=True)
class Compaction:
    """What became of a masked model: `parameters` before and after, of it all and of each layer.

    `unfinished` names schedules that had not reached their target when the model was cut.
    """

    parameters: tuple[int, int]
    removed: tuple[Removed, ...]
    added: tuple[Added, ...]
    staying: tuple[Stays, ...]
    unfinished: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def summary(self) -> str:
        """What stays, in a line."""
        count = sum(each.channels for each in self.staying)
        more = f"; and {len(self.staying) - _SHOWN} more" if len(self.staying) > _SHOWN else ""
        stay = "1 masked channel stays" if count == 1 else f"{count} masked channels stay"
        return f"{stay}, as zeros: {'; '.join(map(str, self.staying[:_SHOWN]))}{more}"

    def why_nothing(self) -> str:
        if not self.staying:
            return (
                "expected masks of whole channels, as filter pruners make them (single weights do not make it smaller)"
            )
        return self.summary()

    def __str__(self) -> str:
        before, after = self.parameters
        lines = [f"{before} -> {after} parameters ({after / before:.1%})" if before else "no parameters"]
        lines += [f"  {each}" for each in self.removed]
        if self.added:
            count = sum(each.count for each in self.added)
            lines.append(f"added to the masks: {count} weights of {len(self.added)} parameters that go with them")
        lines += [f"stays: {each}" for each in self.staying]
        lines += [f"unfinished: {each}" for each in self.unfinished]
        return "\n".join(lines)


def compaction_of(
    model: nn.Module, graph: Graph, limits: Limits, agreement: Agreement, plan: Plan, small: nn.Module, keeps: Keeps
) -> Compaction:
    names = (name for module, _ in model.named_modules() for name in (module, *_own_names(model, module)))
    order = {name: number for number, name in enumerate(names)}
    gone = gone_channels(graph, model, keeps)
    reasons = staying(graph, gone, limits, agreement)
    stay = (*_staying(graph, reasons, gone), *_unseen(model, graph, keeps))
    return Compaction(
        (_count(model.parameters()), _count(small.parameters())),
        tuple(sorted(_removed(model, plan, small), key=lambda each: order[each.layer])),
        tuple(_added(model, plan, keeps)),
        tuple(sorted(stay, key=lambda each: order[each.layer])),
    )


def _removed(model: nn.Module, plan: Plan, small: nn.Module) -> Iterable[Removed]:
    before, after = dict(model.named_modules()), dict(small.named_modules())
    for name, layer in plan.layers.items():
        sides = {side: (kept.of, len(kept.channels)) for side, kept in layer.sides.items()}
        if name not in before:
            counts = (model.get_parameter(name).numel(), small.get_parameter(name).numel())
            yield Removed(name, "Parameter", sides, {}, counts)
            continue
        old, new = before[name], after[name]
        attributes = {key: (getattr(old, key), getattr(new, key)) for key in layer.attributes}
        counts = (_count(old.parameters(recurse=False)), _count(new.parameters(recurse=False)))
        yield Removed(name, type(old).__name__, sides, attributes, counts)


def _added(model: nn.Module, plan: Plan, keeps: Keeps) -> Iterable[Added]:
    cuts = cuts_of(model, plan)
    for name, parameter in model.named_parameters():
        if (own := cuts.get(id(parameter))) is not None:
            going, keep = (~own.staying()).expand_as(parameter), keeps.get(id(parameter))
            parts = zip(torch.split(going, _ROWS), torch.split(going if keep is None else keep, _ROWS), strict=True)
            if count := sum(int((gone & kept).count_nonzero()) for gone, kept in parts):
                layer, _, key = name.rpartition(".")
                yield Added(layer, key, count)


def _staying(graph: Graph, reasons: Mapping[int, str], gone: Gone) -> Iterable[Stays]:
    counts: Counter[tuple[str, str]] = Counter()
    for node in graph.layers():
        name, side = node.name or "", leaving_side(node)
        for unit in node.leaving[gone[name, side]].tolist() if (name, side) in gone else ():
            if reason := reasons.get(unit):
                counts[name, reason] += 1
    return [Stays(layer, count, reason) for (layer, reason), count in counts.items()]


def _unseen(model: nn.Module, graph: Graph, keeps: Keeps) -> Iterable[Stays]:
    """Masked layers that the outputs of the model do not depend on, as far as autograd can follow."""
    seen = {node.name for node in graph.layers()}
    sides: tuple[Side, ...] = ("out", "both")
    for name, module in model.named_modules():
        gone = [gone_of(module, side, keeps) for side in sides] if name not in seen else []
        if count := max((int(flags.sum()) for flags in gone if flags is not None), default=0):
            yield Stays(name, count, "is not called as a layer on the way from the input to an output")
        if isinstance(module, nn.RNNBase):
            own = [keeps[id(each)] for each in module.parameters() if id(each) in keeps]
            if count := sum(int((~keep.flatten(1).any(1)).sum()) for keep in own if keep.dim() > 1):
                yield Stays(name, count, f"rows of the gates of {name} ({type(module).__name__}) keep its hidden units")


def _own_names(model: nn.Module, module: str) -> list[str]:
    return [f"{module}.{name}".lstrip(".") for name, _ in model.get_submodule(module).named_parameters(recurse=False)]


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
