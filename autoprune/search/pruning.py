"""Pruning a model to an allocation: masked where single weights go, really smaller where filters do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor, nn

from autoprune.compression.command.choosing import at_once, full_name, otherwise
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import names
from autoprune.compression.torch.choosing import Budget
from autoprune.compression.torch.compact.speedup import compaction, speedup
from autoprune.compression.torch.components import fixed_sparsity
from autoprune.compression.torch.feeding import Loss
from autoprune.compression.torch.layers import filters_first
from autoprune.compression.torch.pruners._data_driven import DataDrivenPruner
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.pruners.scores import ScoresPruner
from autoprune.compression.torch.pruners.slim import SlimPruner
from autoprune.errors import UsageError, did_you_mean
from autoprune.registry import fold
from autoprune.search.channels import Channels, Removable, removable
from autoprune.search.loading import offers
from autoprune.search.scaling import Kind
from autoprune.search.task import Task

GRADUAL = "gradual"
"""Prunes by what a gradual pruning of the task's model has taught (`learnt`): a search knows it, and nothing else."""

Scores: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Data:
    """What pruners look at: batches, made anew each time, and what is lost where the model is wrong on one."""

    batches: Callable[[], Iterable[Any]]
    loss: Loss

    @classmethod
    def of(cls, task: Task) -> Data | None:
        """What a task offers."""
        return cls(task.calibration_batches, task.loss) if offers(task, "calibration_batches") else None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches())


def is_gradual(pruner: str) -> bool:
    """Whether this is the name of gradual pruning, in any spelling."""
    return fold(pruner) == GRADUAL


def kind_of(pruner: str) -> Kind:
    """What goes with a pruner of this name."""
    return "filters" if named(pruner).granularity == "filter" else "weights"


def check_pruner(pruner: str, data: Data | None) -> type[Pruner]:
    """The pruner of this name, if it prunes at once to any sparsity, with what the task offers."""
    kind = named(pruner)
    if not is_gradual(pruner) and (how := _otherwise(kind)):
        raise UsageError(
            f"search.pruners: given {pruner}, which prunes {how}; expected one that prunes at once, to the "
            f"sparsity that is proposed ({', '.join(_searched())})"
        )
    if issubclass(kind, DataDrivenPruner) and data is None:
        raise UsageError(
            f"search.pruners: given {pruner}, which looks at data; expected a task with calibration_batches, or a "
            "pruner that needs none, such as level, or l1 for filters"
        )
    return kind


def pruned(
    model: nn.Module,
    pruner: str,
    sparsities: Mapping[str, float],
    example: Any,
    data: Data | None = None,
    scores: Scores | None = None,
    found: Removable | None = None,
) -> nn.Module:
    """The model with these layers pruned so: the given one, masked, or a smaller one.

    Where nothing goes, it is the given one as it is. `scores` are what gradual pruning goes by; what can be removed is
    not looked for where it was `found`.
    """
    kind = check_pruner(pruner, data)
    if kind_of(pruner) == "weights":
        going = {layer: sparsity for layer, sparsity in sparsities.items() if sparsity > 0}
        given = {} if scores is None else {"scores": scores}
        if going:
            _made(kind, model, going, data, granularity="element", **given).compress()
        return model
    asked = list(_asked((found or removable(model, example)).channels, sparsities))
    if not asked:
        return model
    going = {layer: sparsity for channels, sparsity in asked for layer in channels.layers}
    made = _made(kind, model, going, data, mode="uniform")
    budgets = {budget.targets[0].layer.name: budget for budget in made.plan()}
    made.prune([_together(channels, budgets) for channels, _ in asked])
    small = speedup(model, None, example)
    _check_channels(model, small, asked)
    return small


def named(pruner: str) -> type[Pruner]:
    """The class of a pruner that a search can name."""
    if is_gradual(pruner):
        return ScoresPruner
    try:
        return names.pruner(full_name(pruner))
    except CompressionError:
        hint = did_you_mean(pruner.casefold(), _searched())
        raise UsageError(f"search.pruners: given {pruner!r}; expected a pruner's name ({hint})") from None


def _searched() -> list[str]:
    return [GRADUAL, *(name for name in at_once() if not _otherwise(named(name)))]


def _otherwise(kind: type[Pruner]) -> str:
    """How it prunes, where that is not at once, by scores of its own, to the sparsity that it is told."""
    if issubclass(kind, SlimPruner):
        return "while a model trains"
    return otherwise(kind) or ("to a pattern" if fixed_sparsity(kind.granularity) is not None else "")


def _made(
    kind: type[Pruner], model: nn.Module, going: Mapping[str, float], data: Data | None, **settings: Any
) -> Pruner:
    entries = [{"sparsity": sparsity, "op_names": [layer]} for layer, sparsity in going.items()]
    if issubclass(kind, DataDrivenPruner) and data is not None:
        loss = {} if kind.purpose == "outputs" else {"loss": data.loss}
        settings |= {"batches": data, "training_batches": None, **loss}
    return kind(model, entries, **settings)


def _asked(channels: Iterable[Channels], sparsities: Mapping[str, float]) -> Iterator[tuple[Channels, float]]:
    """The channels of which something goes, and the sparsity of each: of all of its layers, one."""
    left = {layer: sparsity for layer, sparsity in sparsities.items() if sparsity > 0}
    for each in channels:
        given = {layer: left.pop(layer, 0.0) for layer in each.layers}
        sparsity = next(iter(given.values()))
        if set(given.values()) != {sparsity}:
            said = ", ".join(f"{layer}: {value:.6g}" for layer, value in given.items())
            raise UsageError(f"given sparsities of layers that lose their channels together ({said}); expected one")
        if any(each.gone(sparsity)):
            yield each, sparsity
    if left:
        raise UsageError(f"given sparsities of {', '.join(left)}, of which no filter can go; expected other layers")


def _together(channels: Channels, budgets: Mapping[str, Budget]) -> Budget:
    """The budgets of these layers as one: the same channels of all of them go, and none that can not."""
    own = [budgets[layer] for layer in channels.layers]
    return replace(own[0], targets=[budget.targets[0] for budget in own], coupling=channels.coupling)


def _check_channels(model: nn.Module, small: nn.Module, asked: Iterable[tuple[Channels, float]]) -> None:
    """Whether all that was to go has gone."""
    wrong = []
    for channels, sparsity in asked:
        for layer, gone in channels.filters_gone(sparsity).items():
            whole, left = (_filters(each, layer) for each in (model, small))
            if whole - gone != left:
                wrong.append(f"{layer} has {left} of {whole} filters and not {whole - gone}")
    if wrong:
        raise UsageError(
            f"given a model that can not be pruned as planned: {', '.join(wrong)} ({compaction(small).summary()}); "
            "expected one whose channels can be followed, or pruners of single weights, such as level"
        )


def _filters(model: nn.Module, layer: str) -> int:
    module = model.get_submodule(layer)
    return len(filters_first(module, module.get_parameter("weight")))
