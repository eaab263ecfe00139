"""What the pruners that need data share: how it is given, and watching layers while the model runs over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoprune.compression.core.config_list import Layer, is_integer
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.feeding import Feed, Loss, Purpose, Trainer
from autoprune.compression.torch.layers import BATCH_NORMS, LayerInfo, Types, holders, uncalled
from autoprune.compression.torch.pruners.base import Pruner

CONVOLUTIONS: Types = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

LayerKey: TypeAlias = tuple[str, str]
Look: TypeAlias = Callable[[LayerInfo, nn.Module, Tensor, Tensor], None]


class DataDrivenPruner(Pruner):
    """A pruner that runs the model over data: `trainer, optimizer, criterion`, or `batches` and, if needed, `loss`.

    `trainer(model, optimizer, criterion)` runs one epoch, of which `training_batches` are taken (None: all). Scoring
    leaves the model, the optimizer and the random numbers as they were.
    """

    purpose: ClassVar[Purpose] = "outputs"
    reaching: ClassVar[str] = "never reaches"

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        trainer: Trainer | None = None,
        optimizer: Optimizer | None = None,
        criterion: Any = None,
        training_batches: int | None = 20,
        *,
        batches: Iterable[Any] | None = None,
        loss: Loss | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(model, config_list, **settings)
        if training_batches is not None:
            self.check_number("training_batches", training_batches, least=1)
        self.training_batches = training_batches
        self._feed: Feed | None = None
        if self.needs_data:
            self._feed = Feed.of(trainer, optimizer, criterion, batches, loss, where=self._called, purpose=self.purpose)

    def _layers(self, model: nn.Module) -> list[Layer]:
        """Where calls are watched, what is never called cannot be pruned."""
        layers = super()._layers(model)
        if self.purpose != "outputs":
            return layers
        hidden = uncalled(model)
        return [
            replace(layer, tensor=None, default=False) if id(model.get_submodule(layer.name)) in hidden else layer
            for layer in layers
        ]

    @property
    def needs_data(self) -> bool:
        return True

    @property
    def feed(self) -> Feed:
        if self._feed is None:
            raise CompressionError(f"{self._called}: given no data; expected trainer and optimizer, or batches")
        return self._feed

    def observe(self, on_batch: Callable[[], None] | None = None) -> None:
        """Run the model over the batches, without a trace."""
        self.feed.observe(self.model, self.training_batches, on_batch)

    def watch(self, layers: Sequence[LayerInfo], look: Look) -> None:
        """Run the model, and look at the input and the output of each layer in every call of it.

        A weight that several modules share is watched in all of them.
        """
        reached: set[LayerKey] = set()
        users = holders(self.model)
        with ExitStack() as hooks:
            for info in layers:

                def hook(module: nn.Module, args: Any, kwargs: Any, output: Any, info: LayerInfo = info) -> None:
                    with torch.no_grad():
                        look(info, module, first_input(args, kwargs), output)
                    reached.add(key_of(info))

                for module, _ in users[id(info.weight)]:
                    if isinstance(module, self.supported):
                        hooks.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
            self.observe()
        self.check_reached(layers, reached)

    def check_reached(self, layers: Sequence[LayerInfo], reached: set[LayerKey]) -> None:
        missing = [info.called for info in layers if key_of(info) not in reached]
        if missing:
            raise CompressionError(
                f"{self._called}: given data that {self.reaching} the layers {', '.join(missing)}; "
                "expected each layer to be pruned to take part (exclude them otherwise)"
            )

    def check_number(self, name: str, value: Any, *, least: int) -> None:
        if not is_integer(value) or value < least:
            raise CompressionError(f"{self._called}.{name}: given {value!r}; expected a whole number, {least} or more")


def key_of(info: LayerInfo) -> LayerKey:
    return info.name, info.parameter


def first_input(args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Tensor:
    return args[0] if args else kwargs["input"]


def channel_axis(module: nn.Module) -> int:
    """Where the channels are in what goes into a layer and comes out of it."""
    if isinstance(module, BATCH_NORMS):
        return 1
    return 1 - module.get_parameter("weight").dim() if isinstance(module, CONVOLUTIONS) else -1


def sum_by_channel(values: Tensor, axis: int) -> Tensor:
    """Sums over all other dimensions: counts of a mask, or sums in float32 at least."""
    others = [dimension for dimension in range(values.dim()) if dimension != axis % values.dim()]
    kind = torch.int64 if values.dtype == torch.bool else torch.promote_types(values.dtype, torch.float32)
    return values.sum(others, dtype=kind) if others else values.to(kind)


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of what the calls of a layer gave, in float64."""
    return torch.stack([part.to("cpu", torch.float64) for part in parts]).sum(0)
