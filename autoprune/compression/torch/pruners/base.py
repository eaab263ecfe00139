"""`Pruner`: what every pruner shares, so that one algorithm is one small formula.

A subclass says how elements score (`score`) or, for its own rule, gives the mask itself (`calc_mask`), and where a
schedule moves the sparsity, how much of it there is at an epoch (`amount`). What is pruned as one (granularity) and
how a budget is divided among layers (allocation) are the entry's to say, for any score. Reading config_list, choosing
exactly, keeping the masks while training and giving the weights back are here and in the engine.
"""

from __future__ import annotations

import operator
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from torch import Tensor, nn

from autoprune.compression.core.allocations.base import Allocation
from autoprune.compression.core.allocations.uniform import Uniform
from autoprune.compression.core.config_list import Entry, Key, Layer, Target, sparsity_key
from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.torch import masking, saving, voting
from autoprune.compression.torch.choosing import Budget, Candidate, Formula, choose, choose_coupled
from autoprune.compression.torch.components import (
    COMPONENT_KEYS,
    allocation_of,
    budget_problems,
    budgets_of,
    component_problems,
    coupled_as_said,
    coupled_as_traced,
    fixed_sparsity,
    granularity_of,
    limits_of,
    multiple_of,
)
from autoprune.compression.torch.configured import ConfigList, Configured
from autoprune.compression.torch.coupling import Tracing
from autoprune.compression.torch.granularities.base import Granularity
from autoprune.compression.torch.layers import LayerInfo, Types, companions, layer_info, layers_of, original
from autoprune.compression.torch.masking import Request, Vote
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.saving import Exported
from autoprune.errors import Problem

Masks: TypeAlias = dict[str, dict[str, Tensor]]

AT_THE_END = sys.maxsize
"""The epoch by which every schedule has reached its target."""


class Pruner(Configured):
    """Prunes the layers that a config_list selects.

    `Pruner(model, config_list)`, `Pruner(config_list)(model)` and `Pruner(sparsity=.8)(model)` are one; keywords
    beside a config_list hold for every entry that does not say otherwise. A config_list may be the path of a file;
    a pruner that has a model alone waits for `load_configure`. Building a pruner checks everything and leaves the
    model alone; `compress()` masks it.

    With a `dummy_input` (a tensor, a tuple of arguments, a dict of keyword arguments) the model is traced once, and
    masks extend to all that goes with a channel: its bias, its norm, and what reads it.
    """

    keys: ClassVar[tuple[Key, ...]] = (
        sparsity_key("sparsity", spellings=("sparsity_per_layer",)),
        sparsity_key("total_sparsity", instead_of="sparsity"),
    )
    options: ClassVar[tuple[str, ...]] = ("dummy_input", "dependency_aware", "groups")
    final_key: ClassVar[str] = "sparsity"
    granularity: str = "element"
    allocation: str = "uniform"
    supported: Types = ()
    grows: ClassVar[bool] = False

    _targets: Sequence[Target] = ()
    _groups: Sequence[Sequence[str]] = ()
    _tracing: Tracing | None = None
    _epoch: int = 0

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        *misplaced: Any,
        groups: Sequence[Sequence[str]] = (),
        dummy_input: Any = None,
        dependency_aware: bool = False,
        **settings: Any,
    ) -> None:
        if not isinstance(groups, list | tuple) or not all(isinstance(group, list | tuple) for group in groups):
            raise CompressionError(f"{self._called}.groups: given {shown(groups)}; expected a list of lists of names")
        if not isinstance(dependency_aware, bool):
            raise CompressionError(
                f"{self._called}.dependency_aware: given {dependency_aware!r}; expected true or false"
            )
        self._groups = groups
        self._tracing = None if dummy_input is None else Tracing(dummy_input, f"{self._called}.dummy_input")
        settings = {"mode": "dependency_aware", **settings} if dependency_aware else settings
        super().__init__(model, config_list, *misplaced, **settings)

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        """How much each weight matters; the smallest go first. The shape of `weight`, or one for each filter."""
        raise NotImplementedError(f"{self._called} must override score or calc_mask")

    def combine(self, blocks: Tensor) -> Tensor:
        """The score of each unit of several weights, from a matrix with their scores, a row for each unit."""
        return wide(blocks).sum(1)

    def calc_mask(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        """Override to give the mask itself: true or 1 where a weight is kept, in the shape of `weight`."""
        raise NotImplementedError(f"{self._called} must override score or calc_mask")

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        """The sparsity that an entry asks for at an epoch."""
        value: float = settings["total_sparsity" if "total_sparsity" in settings else self.final_key]
        return value

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        """Override to gather what scores need, or to train, before the layers are pruned."""

    def stages(self, budgets: Sequence[Budget]) -> Iterable[Sequence[Budget]]:
        """Override to go to these budgets in several stages, each prepared with the masks of the one before."""
        return [budgets]

    def budgets(self, model: nn.Module, entry: Entry, targets: Sequence[Target]) -> list[Budget]:
        """What an entry asks for of its layers at this epoch."""
        now, last = (self.amount(entry.settings, epoch) for epoch in (self._epoch, AT_THE_END))
        shapes = [tuple(layer_info(model, target).weight.shape) for target in targets]
        return budgets_of(targets, self._allocation(entry), now, last, shapes)

    def formula(self, entry: Entry) -> Formula:
        """How the layers of an entry score."""
        return Formula(self.score, self.combine, self._granularity(entry))

    @property
    def masks(self) -> Masks:
        """What this pruner keeps at present, by layer and parameter: copies."""
        masks: Masks = {}
        seen: set[int] = set()
        for layer, module, name in self._maskable():
            held = masking.find(module, name)
            if held is not None and id(held) not in seen and (keep := held.vote(self._owner)) is not None:
                masks.setdefault(layer, {})[name] = keep.clone()
                seen.add(id(held))
        return masks

    def __call__(self, model: nn.Module) -> tuple[nn.Module, Masks]:
        """Compress this model: for a pruner that was built without one."""
        self._take(model)
        return self.compress()

    def compress(self) -> tuple[nn.Module, Masks]:
        """Mask the model, and return it with its masks. Again, it changes only what the sparsity asks for."""
        self.prune(self.plan())
        return self.model, self.masks

    def plan(self) -> list[Budget]:
        """What the entries ask for at this epoch: budgets, each of layers that share one sparsity."""
        self._targets = self._matched()
        self._check_values()
        return self._budgets()

    def prune(self, budgets: Sequence[Budget]) -> None:
        """Prune to these budgets, of `plan()` or made from them."""
        with voting.all_or_nothing(self.model, self._owner):
            for stage in self.stages(budgets):
                self.prepare([self.info(target) for budget in stage for target in budget.targets])
                self._mask(stage)
        self._compressed = True

    def update_epoch(self, epoch: int) -> None:
        """Tell the pruner where the training is; one with a schedule moves its masks."""
        self._check_compressed("update_epoch")
        try:
            number = operator.index(epoch)
        except TypeError:
            number = -1
        if number < 0 or isinstance(epoch, bool):
            raise CompressionError(f"update_epoch: given {epoch!r}; expected a whole number, 0 or more")
        before, self._epoch = self._epoch, number
        try:
            self._mask(self._budgets())
        except BaseException:
            self._epoch = before
            raise

    def step(self) -> None:
        """Enforce the masks. Only loops that change weights without torch.optim need to call it."""
        self._check_compressed("step")
        for _, _, held in masking.all_masked(self.model):
            if self._owner in held.votes:
                held.enforce()

    def export(self, path: str | Path) -> Exported:
        """Write the weights as safetensors to `path` and the masks beside it; see `saving.export`."""
        self._check_compressed("export")
        return saving.export(self.model, path)

    def unwrap(self, *, keep_zeros: bool = False) -> nn.Module:
        """Take the masks off: pruned weights get back their last values, or stay zero with `keep_zeros`."""
        masking.drop(self.model, self._owner, keep_zeros=keep_zeros)
        self._targets, self._compressed = (), False
        return self.model

    def info(self, target: Target) -> LayerInfo:
        """A layer as formulas get it."""
        return layer_info(self.model, target)

    def _maskable(self) -> Iterator[tuple[str, nn.Module, str]]:
        """What may have masks: the layers to prune, and where masks extend, all others."""
        for info in map(self.info, self._targets):
            yield from ((info.name, info.module, name) for name in (info.parameter, *companions(info.module)))
        for path, module in self.model.named_modules() if self._tracing is not None else ():
            yield from ((original(path), module, name) for name in module._parameters)

    @property
    def _owner(self) -> str:
        owner: str = self.__dict__.setdefault("_owner_id", uuid.uuid4().hex)
        return owner

    @property
    def _masks_itself(self) -> bool:
        return type(self).calc_mask is not Pruner.calc_mask

    def _check_compressed(self, call: str) -> None:
        if not self._compressed:
            raise CompressionError(
                f"{self._called}.{call}: given a model that it has not masked; call compress() first"
            )

    def _check_values(self) -> None:
        for info in map(self.info, self._targets):
            if info.weight.is_meta:
                raise CompressionError(f"given layer {info.called} on the meta device; expected weights with values")

    def _keys(self) -> tuple[Key, ...]:
        own = tuple(key.optional() for key in self.keys) if self._masks_itself else self.keys
        return (*own, *COMPONENT_KEYS)

    def _filled(self, item: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """An entry with the keywords that hold for all, and with the sparsity that a pattern such as 2:4 makes."""
        filled = super()._filled(item, settings)
        spellings = {name for key in self.keys for name in key.names if name.endswith("sparsity")}
        fixed = fixed_sparsity(filled.get("granularity", self.granularity))
        return filled if fixed is None or spellings & set(filled) else {self.final_key: fixed, **filled}

    def _implied(self, item: Mapping[str, Any]) -> set[str]:
        """A pattern such as 2:4 says the sparsity; a sparsity for each layer, that no budget is shared."""
        implied = {self.final_key} if fixed_sparsity(item.get("granularity")) is not None else set()
        each = not allocation_of({}, self.allocation).shares and any(
            name in key.names for key in self.keys if key.name == self.final_key for name in item
        )
        alone = each and "allocation" not in item and "mode" not in item
        return implied | ({"max_sparsity_per_layer"} if alone else set())

    def _check(self, entry: Entry) -> list[Problem]:
        problems = super()._check(entry)
        if problems:
            return problems
        if self._masks_itself:
            given = {name: value for name, value in entry.settings.items() if name == "round_to"}
            expected = f"none: {self._called} gives its masks itself"
            return [Problem(f"{entry.where}.{name}", repr(value), expected) for name, value in given.items()]
        last = self.amount(entry.settings, AT_THE_END)
        return component_problems(entry.where, last, self._granularity(entry), self._allocation(entry), entry.settings)

    def _layers(self, model: nn.Module) -> list[Layer]:
        return layers_of(model, self.supported)

    def _unfit(self, model: nn.Module, targets: Sequence[Target]) -> list[Problem]:
        """Budgets that the layers cannot spend, groups that do not fit, and a model that cannot be traced."""
        if self._tracing is not None:
            self._tracing.graph(model)
        if self._masks_itself:
            return []
        problems: list[Problem] = []
        for own in _by_entry(targets):
            if self._allocation(own[0].entry).shares:
                problems += budget_problems(own, self.amount(own[0].entry.settings, AT_THE_END))
        return problems or self._divided(model, targets)[1]

    def _budgets(self) -> list[Budget]:
        if self._masks_itself:
            return [Budget([target], 0.0, 0.0, Uniform()) for target in self._targets]
        budgets, problems = self._divided(self.model, self._targets)
        if problems:
            raise self._error(problems)
        return budgets

    def _divided(self, model: nn.Module, targets: Sequence[Target]) -> tuple[list[Budget], list[Problem]]:
        budgets = [budget for own in _by_entry(targets) for budget in self.budgets(model, own[0].entry, own)]
        if self._tracing is not None and not self._groups:
            return coupled_as_traced(budgets, model, self._tracing)
        infos = {target.layer.name: layer_info(model, target) for target in targets}
        return coupled_as_said(budgets, self._groups, infos)

    def _allocation(self, entry: Entry) -> Allocation:
        return allocation_of(entry.settings, self.allocation)

    def _granularity(self, entry: Entry) -> Granularity:
        return granularity_of(entry.settings, self.granularity)

    def _mask(self, budgets: Sequence[Budget]) -> None:
        """Choose for all layers, then mask them, so that an error leaves the model as it was."""
        votes = {
            id(info.module.get_parameter(name)): Vote(keep, request, self.grows)
            for budget in budgets
            for info, keep, request in self._choose(budget)
            for name in (info.parameter, *companions(info.module))
        }
        if self._tracing is not None:
            complete = partial(self._tracing.completed, self.model)
            votes = voting.extended(self.model, self._owner, votes, complete, Request(self._called, None, None))
        voting.cast(self.model, self._owner, votes)

    def _choose(self, budget: Budget) -> list[tuple[LayerInfo, Tensor, Request]]:
        infos = [self.info(target) for target in budget.targets]
        if self._masks_itself:
            return [(info, self._given_mask(info), Request(self._called, None, None)) for info in infos]
        candidates = [
            self._candidate(info, target.entry, budget) for info, target in zip(infos, budget.targets, strict=True)
        ]
        multiple = multiple_of(budget.targets)
        if budget.coupling is not None:
            pruned = choose_coupled(candidates, budget.coupling, budget.sparsity, multiple)
        else:
            limits = limits_of(budget.targets) if budget.allocation.ranks else None
            pruned = choose(candidates, budget.sparsity, limits, multiple)
        request = Request(self._called, budget.sparsity, budget.target, pooled=len(infos) > 1)
        return [(info, own.keep(mask), request) for info, own, mask in zip(infos, candidates, pruned, strict=True)]

    def _candidate(self, info: LayerInfo, entry: Entry, budget: Budget) -> Candidate:
        held = masking.find(info.module, info.parameter)
        return Candidate(info, held, self._owner, self.formula(entry), budget.allocation)

    def _given_mask(self, info: LayerInfo) -> Tensor:
        weight = info.weight.detach()
        mask = self.calc_mask(info, weight)
        if not isinstance(mask, Tensor) or mask.shape != weight.shape:
            given = f"shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
            raise CompressionError(
                f"{self._called}.calc_mask: given {given} for layer {info.called}; "
                f"expected a mask tensor of shape {tuple(weight.shape)}"
            )
        keep = mask != 0
        if bool((mask[keep] != 1).any()):
            raise CompressionError(
                f"{self._called}.calc_mask: given other values than 0 and 1 for layer {info.called}; "
                "expected true or 1 where a weight is kept, and false or 0 elsewhere"
            )
        return keep.to(weight.device)


def _by_entry(targets: Sequence[Target]) -> list[list[Target]]:
    """The layers of each entry, in the order of the entries' first layers."""
    found: dict[str, list[Target]] = {}
    for target in targets:
        found.setdefault(target.entry.where, []).append(target)
    return list(found.values())


def unwrap(model: nn.Module, *, keep_zeros: bool = False) -> nn.Module:
    """Take every mask off a model, whoever set it: for a copy or a loaded model, whose pruner is elsewhere."""
    masking.drop(model, None, keep_zeros=keep_zeros)
    return model


def achieved_sparsity(masked: nn.Module | Masks) -> float:
    """The pruned share of the masked layers, from the masks that `compress` returned or from a masked model."""
    if isinstance(masked, nn.Module):
        held = {id(held): held for _, _, held in masking.all_masked(masked)}
        if not held:
            raise CompressionError(
                "achieved_sparsity: given a model without masks; expected one that compress() has masked, or masks"
            )
        kept = [each.kept() for each in held.values()]
    elif isinstance(masked, Mapping):
        kept = [keep for layer in masked.values() for keep in layer.values()]
    else:
        raise CompressionError(f"achieved_sparsity: given {shown(masked)}; expected a masked model, or its masks")
    total = sum(keep.numel() for keep in kept)
    return 1 - sum(int(keep.count_nonzero()) for keep in kept) / total if total else 0.0
