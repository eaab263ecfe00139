"""`speedup`: from masks to a model that is really smaller, and `complete_masks`, which it begins with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.reporting import report
from autoprune.compression.torch import masking, named_masks
from autoprune.compression.torch.compact.agreement import Agreement, Flags, agreed
from autoprune.compression.torch.compact.checking import Difference, Trials, difference, runs, trials_of
from autoprune.compression.torch.compact.compaction import Compaction, compaction_of
from autoprune.compression.torch.compact.completing import Keeps, completed, gone_channels, keeps_of
from autoprune.compression.torch.compact.cutting import cut
from autoprune.compression.torch.compact.graph import Graph
from autoprune.compression.torch.compact.kinds import Side
from autoprune.compression.torch.compact.limits import Limits, limits_of
from autoprune.compression.torch.compact.plan import Plan, plan_of, planned, remember
from autoprune.compression.torch.compact.tracing import traced
from autoprune.compression.torch.copying import plain_copy
from autoprune.compression.torch.layers import COMPILED
from autoprune.compression.torch.named_masks import NamedTensors
from autoprune.compression.torch.nested import each_tensor

_log = logging.getLogger(__name__)
_COMPACTION = "_autoprune_compaction"
_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Settled:
    """What can be cut out of a model, checked, and the model that is left."""

    limits: Limits
    agreement: Agreement
    plan: Plan
    small: nn.Module


@torch.inference_mode(False)
def speedup(model: nn.Module, masks: NamedTensors | None, example_input: Any, *, inexact: bool = False) -> nn.Module:
    """A really smaller copy of a masked model, which gives what the masked one gives.

    `masks` are those of `compress()`, or None for the ones that the model carries. Whole channels are removed from all
    layers that they touch; `compaction(small)` says which, and what stays and why. Zeros that are no whole channels
    stay zeros. With `inexact`, channels that a LayerNorm normalises over go too, which changes what it gives. The given
    model runs meanwhile, with hooks, and is as before afterwards: no other thread should use it until then.
    """
    model = _plain(model, "speedup")
    keeps = _keeps(model, masks, "speedup")
    graph = traced(model, example_input)
    settled = settle(model, keeps, example_input, graph, inexact=inexact)
    made = compaction_of(model, graph, settled.limits, settled.agreement, settled.plan, settled.small, keeps)
    if not settled.plan.layers:
        raise CompressionError(f"speedup: given masks of which nothing can be removed; {made.why_nothing()}")
    if any(True for _ in masking.all_masked(model)):
        made = replace(made, unfinished=report(model).unfinished)
    for each in made.unfinished:
        _log.warning("speedup: %s", each)
    if made.staying:
        _log.warning("speedup: %s (compaction() shows all)", made.summary())
    before, plan = plan_of(model), replace(settled.plan, requested=_requested(model))
    remember(settled.small, plan if before is None else before.then(plan))
    settled.small.__dict__[_COMPACTION] = made
    return settled.small


@torch.inference_mode(False)
def complete_masks(
    model: nn.Module, masks: NamedTensors | None, example_input: Any, *, inexact: bool = False
) -> dict[str, dict[str, Tensor]]:
    """Masks extended to all that goes with a channel that can be removed: biases, norms, and what reads it."""
    model = _plain(model, "complete_masks")
    keeps = _keeps(model, masks, "complete_masks")
    graph = traced(model, example_input)
    return completed(model, settle(model, keeps, example_input, graph, inexact=inexact).plan, keeps)


def compaction(small: nn.Module) -> Compaction:
    """What `speedup` removed to make this model, what it added to the masks, and what stays and why."""
    made: Compaction | None = small.__dict__.get(_COMPACTION)
    if made is None:
        raise CompressionError(
            "compaction: given a model that speedup() did not make; expected what it returned "
            "(measure() shows the channels of one that was loaded)"
        )
    return made


def settle(model: nn.Module, keeps: Keeps, example_input: Any, graph: Graph, *, inexact: bool = False) -> Settled:
    """Find what can go, cut it out of a copy, and see that nothing has changed; what changes something stays.

    In half precision mistakes hide in the rounding: such a model is searched as a copy in single precision, if it runs.
    """
    if any(parameter.dtype in _HALF for parameter in model.parameters()):
        wide = plain_copy(model, {}).float()
        example = each_tensor(example_input, _single)
        if runs(wide, example):
            pairs = zip(model.parameters(), wide.parameters(), strict=True)
            wide_keeps = {id(new): keeps[id(old)] for old, new in pairs if id(old) in keeps}
            settled = settle(wide, wide_keeps, example, graph, inexact=inexact)
            return replace(settled, small=cut(model, settled.plan, keeps))
    trials = trials_of(model, example_input)
    search = _Search(model, keeps, trials, graph, gone_channels(graph, model, keeps))
    return search.settled(limits_of(graph, model, inexact=inexact))


def _single(given: Tensor) -> Tensor:
    return given.float() if given.is_floating_point() else given


@dataclass(frozen=True)
class _Search:
    """A model whose masks are to be turned into a smaller model."""

    model: nn.Module
    keeps: Keeps
    trials: Trials
    graph: Graph
    gone: Mapping[Any, Flags]

    def settled(self, limits: Limits) -> Settled:
        """What can go within these limits, without units that turn out to be something else than the graph says."""
        while True:
            settled, found = self._tried(limits)
            if found is None:
                return settled
            wrong = self._blamed(limits, settled.agreement.going, found)
            limits = replace(limits, fixed={**wrong, **limits.fixed})

    def _tried(self, limits: Limits) -> tuple[Settled, Difference | None]:
        agreement = agreed(self.graph, self.gone, limits)
        plan = planned(self.graph, agreement.going, limits, self.model)
        small = cut(self.model, plan, self.keeps)
        settled = Settled(limits, agreement, plan, small)
        if not plan.layers:
            return settled, None
        return settled, difference(self.model, self.keeps, plan, small, self.trials)

    def _blamed(self, limits: Limits, going: Flags, found: Difference) -> dict[int, str]:
        """What a layer reads wrongly. Where that does not tell: the groups of a block that fail alone, or all of it."""
        read = self._units(going, lambda name, side: name == found.layer and side != "out")
        if read.any():
            return _because(read, found)
        inside = self._units(going, lambda name, _: bool(found.layer) and name.startswith(f"{found.layer}."))
        suspected = inside if inside.any() else going
        return dict(self._failing_alone(limits, going, suspected)) or _because(suspected, found)

    def _units(self, going: Flags, taken: Callable[[str, Side], bool]) -> Flags:
        """The units that go of these sides of layers."""
        units = np.zeros(self.graph.count, dtype=np.bool_)
        for node in self.graph.layers():
            for side, own in node.sides.items():
                if taken(node.name or "", side):
                    units[own] = True
        return units & going

    def _failing_alone(self, limits: Limits, going: Flags, among: Flags) -> Iterator[tuple[int, str]]:
        """Of the groups of layers that these units are in, those that go wrong by themselves."""
        groups = self.graph.groups()
        for group in np.unique(groups[among]):
            others = dict.fromkeys(np.flatnonzero(going & (groups != group)).tolist(), "")
            alone, found = self._tried(replace(limits, fixed={**others, **limits.fixed}))
            if found is not None:
                yield from _because(alone.agreement.going, found).items()


def _because(units: Flags, found: Difference) -> dict[int, str]:
    return dict.fromkeys(np.flatnonzero(units).tolist(), f"{found.layer or 'the model'} {found.reason}")


def _requested(model: nn.Module) -> dict[str, float]:
    """The sparsity that the pruners of each layer were asked for: the highest where there are several."""
    asked: dict[str, float] = {}
    for mask in named_masks.carried(model):
        for request in mask.requests:
            if request.sparsity is not None:
                asked[mask.layer] = max(asked.get(mask.layer, 0.0), request.sparsity)
    return asked


def _plain(model: nn.Module, called: str) -> nn.Module:
    """The model itself, where torch.compile wrapped it; what can not be cut is an error."""
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise CompressionError(f"{called}: given {shown(model)} as the model; expected a torch.nn.Module")
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter) or parameter.is_meta:
            raise CompressionError(
                f"{called}: given a model whose {name!r} has no values; expected weights "
                "(run a lazy layer once on a batch)"
            )
    inner: nn.Module = model._modules.get(COMPILED) or model
    for name, module in inner.named_modules():
        if COMPILED in module._modules:
            raise CompressionError(
                f"{called}: given a model whose part {name!r} is compiled; expected a plain one "
                "(compile what comes out)"
            )
    return inner


def _keeps(model: nn.Module, masks: NamedTensors | None, called: str) -> Keeps:
    if isinstance(masks, Tensor | str | Path):
        raise CompressionError(
            f"{called}: given {shown(masks)} as masks; expected {called}(model, masks, example_input), with masks of "
            "compress(), or None for those of the model (load_masks(model, path) takes them from a file)"
        )
    found = named_masks.carried(model) if masks is None else named_masks.matched(model, masks, called)
    if not found:
        raise CompressionError(
            f"{called}: given a model without masks; expected masks, or a model that has some (load_masks takes a file)"
        )
    return keeps_of(found)
