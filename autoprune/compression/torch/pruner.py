"""`Pruner`: what every pruner shares, so that one algorithm is one small formula.

A subclass says how elements score (`score`) or, for its own rule, gives the mask itself (`calc_mask`), and where a
schedule moves the sparsity, how much of it there is at an epoch (`amount`). Reading config_list, choosing exactly,
keeping the masks while training and giving the weights back are here and in the engine.
"""

from __future__ import annotations

import operator
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from torch import Tensor, nn

from autoprune.compression.core import config_list as configuration
from autoprune.compression.core.config_list import Entry, Key, Target, pooled_keys, sparsity_key
from autoprune.compression.core.errors import CompressionError, ConfigListError
from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.torch import masking
from autoprune.compression.torch.choosing import Candidate, choose
from autoprune.compression.torch.layers import LayerInfo, holders, layers_of
from autoprune.errors import Problem

Masks: TypeAlias = dict[str, dict[str, Tensor]]
ConfigList: TypeAlias = Sequence[Mapping[str, Any]]


class Pruner:
    """Prunes the layers that a config_list selects.

    `Pruner(model, config_list)`, `Pruner(config_list)(model)` and `Pruner(sparsity=.8)(model)` are one. Building
    a pruner checks everything and leaves the model alone; `compress()` masks it.
    """

    keys: ClassVar[tuple[Key, ...]] = (
        sparsity_key("sparsity", spellings=("sparsity_per_layer",)),
        *pooled_keys("sparsity"),
    )
    aliases: ClassVar[tuple[str, ...]] = ()
    parameter: ClassVar[str] = "weight"

    _model: nn.Module | None = None
    _entries: Sequence[Entry] | None = None
    _targets: Sequence[Target] = ()
    _compressed: bool = False
    _epoch: int = 0

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        **settings: Any,
    ) -> None:
        if model is not None and not isinstance(model, nn.Module):
            if config_list is not None:
                raise CompressionError(f"{self._called}: given {model!r} as the model; expected a torch.nn.Module")
            model, config_list = None, model
        self._entries, problems = self._read(config_list, settings)
        if model is not None:
            self._model = model
            problems += self._match(model)[1]
        if problems:
            raise ConfigListError(problems)

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        """How much each weight matters; the smallest go first. A tensor of the shape of `weight`."""
        raise NotImplementedError(f"{self._called} must override score or calc_mask")

    def calc_mask(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        """Override to give the mask itself: true or 1 where a weight is kept, in the shape of `weight`."""
        raise NotImplementedError(f"{self._called} must override score or calc_mask")

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        """The sparsity that an entry asks for at an epoch."""
        value: float = settings["sparsity"] if "sparsity" in settings else settings["total_sparsity"]
        return value

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the settings of an entry beyond each key's own range."""
        return []

    @property
    def model(self) -> nn.Module:
        if self._model is None:
            raise CompressionError(f"{self._called}: given no model; expected one, or a call: pruner(model)")
        return self._model

    @property
    def masks(self) -> Masks:
        """What this pruner keeps at present, by layer and parameter: copies."""
        return {
            target.layer.name: {self.parameter: keep.clone()}
            for target in self._targets
            if (keep := self._vote(target)) is not None
        }

    def __call__(self, model: nn.Module) -> tuple[nn.Module, Masks]:
        """Compress this model: for a pruner that was built without one."""
        if not isinstance(model, nn.Module):
            raise CompressionError(f"{self._called}: given {model!r} as the model; expected a torch.nn.Module")
        self._model = model
        return self.compress()

    def compress(self) -> tuple[nn.Module, Masks]:
        """Mask the model, and return it with its masks. Again, it changes only what the sparsity asks for."""
        self._targets, problems = self._match(self.model)
        if problems:
            raise ConfigListError(problems)
        self._apply()
        self._compressed = True
        return self.model, self.masks

    def update_epoch(self, epoch: int) -> None:
        """Tell the pruner where the training is; one with a schedule moves its masks."""
        self._check_compressed("update_epoch")
        try:
            number = operator.index(epoch)
        except TypeError:
            number = -1
        if number < 0 or isinstance(epoch, bool):
            raise CompressionError(f"update_epoch: given {epoch!r}; expected a whole number, 0 or more")
        self._epoch = number
        self._apply()

    def step(self) -> None:
        """Enforce the masks. Only loops that change weights without torch.optim need to call it."""
        self._check_compressed("step")
        for target in self._targets:
            if (held := masking.find(self._module(target), self.parameter)) is not None:
                held.enforce()

    def unwrap(self, *, keep_zeros: bool = False) -> nn.Module:
        """Take the masks off: pruned weights get back their last values, or stay zero with `keep_zeros`."""
        masking.drop(self.model, self._owner, keep_zeros=keep_zeros)
        self._targets, self._compressed = (), False
        return self.model

    @property
    def _called(self) -> str:
        return type(self).__name__

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

    def _read(self, given: ConfigList | None, settings: Mapping[str, Any]) -> tuple[list[Entry], list[Problem]]:
        """The entries of a config_list, or the one that keywords make."""
        keys = tuple(key.optional() for key in self.keys) if self._masks_itself else self.keys
        problems: list[Problem] = []
        if given is None:
            entries = [configuration.read_entry(self._called, settings, keys, problems, selectors=False)]
        else:
            entries, problems = configuration.read(given, keys)
            if settings:
                names = ", ".join(settings)
                problems.append(Problem(self._called, f"a config_list and the keywords {names}", "one of the two"))
        if not problems:
            problems = [
                problem for entry in entries if not entry.exclude for problem in self.check(entry.where, entry.settings)
            ]
        return entries, problems

    def _match(self, model: nn.Module) -> tuple[list[Target], list[Problem]]:
        """The layers of the model that the entries select. A subclass may have skipped `__init__`: read lazily."""
        if self._entries is None:
            self._entries = self._read(None, {})[0]
        found, problems = configuration.targets(self._entries, layers_of(model, self.parameter))
        for entry in self._entries:
            pool = [target for target in found if target.entry is entry]
            if entry.pooled and pool:
                problems += _budget_problems(entry, pool)
        return found, problems

    def _apply(self) -> None:
        """Choose for all layers, then mask them, so that an error leaves the model as it was."""
        chosen = [choice for pool in self._pools() for choice in self._choose(pool)]
        sharing = holders(self.model)
        for target, keep in chosen:
            parameter = self._module(target).get_parameter(self.parameter)
            held = [masking.attach(module, name) for module, name in sharing[id(parameter)]]
            held[0].set_vote(self._owner, keep)

    def _pools(self) -> list[list[Target]]:
        """The layers that share a budget: those of a pooled entry together, all others alone."""
        pools: dict[str, list[Target]] = {}
        for target in self._targets:
            key = target.entry.where if target.entry.pooled else f"layer {target.layer.name}"
            pools.setdefault(key, []).append(target)
        return list(pools.values())

    def _choose(self, pool: list[Target]) -> list[tuple[Target, Tensor]]:
        if self._masks_itself:
            return [(target, self._given_mask(target)) for target in pool]
        entry = pool[0].entry
        k = pruned_count(sum(target.layer.size for target in pool), self.amount(entry.settings, self._epoch))
        limits = _limits(entry, pool) if entry.pooled else None
        candidates = [self._candidate(target) for target in pool]
        pruned = choose(candidates, k, limits)
        return [(target, own.keep(mask)) for target, own, mask in zip(pool, candidates, pruned, strict=True)]

    def _given_mask(self, target: Target) -> Tensor:
        info = self._info(target)
        weight = info.module.get_parameter(self.parameter).detach()
        mask = self.calc_mask(info, weight)
        if not isinstance(mask, Tensor) or mask.shape != weight.shape:
            given = f"shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
            raise CompressionError(
                f"{self._called}.calc_mask: given {given} for layer {info.name!r}; "
                f"expected a mask tensor of shape {tuple(weight.shape)}"
            )
        return (mask != 0).to(weight.device)

    def _candidate(self, target: Target) -> Candidate:
        info = self._info(target)
        return Candidate(info, masking.find(info.module, self.parameter), self._owner, self.score)

    def _info(self, target: Target) -> LayerInfo:
        return LayerInfo(target.layer.name, self._module(target), self.parameter, target.entry.settings)

    def _module(self, target: Target) -> nn.Module:
        return self.model.get_submodule(target.layer.name)

    def _vote(self, target: Target) -> Tensor | None:
        held = masking.find(self._module(target), self.parameter)
        return None if held is None else held.vote(self._owner)


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
    else:
        kept = [keep for layer in masked.values() for keep in layer.values()]
    total = sum(keep.numel() for keep in kept)
    return 1 - sum(int(keep.sum()) for keep in kept) / total if total else 0.0


def _limits(entry: Entry, pool: Sequence[Target]) -> list[int]:
    """The most that each layer of a pool may lose: its cap, and never the whole layer."""
    cap = entry.settings.get("max_sparsity_per_layer")
    most = [max(target.layer.size - 1, 0) for target in pool]
    if cap is None:
        return most
    return [min(limit, pruned_count(target.layer.size, cap)) for limit, target in zip(most, pool, strict=True)]


def _budget_problems(entry: Entry, pool: Sequence[Target]) -> list[Problem]:
    total = sum(target.layer.size for target in pool)
    budget, most = entry.settings["total_sparsity"], sum(_limits(entry, pool))
    if pruned_count(total, budget) <= most:
        return []
    return [
        Problem(
            f"{entry.where}.total_sparsity",
            repr(budget),
            f"at most {most / total:.10g}, what its layers allow",
        )
    ]
