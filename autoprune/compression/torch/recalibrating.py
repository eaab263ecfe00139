"""BatchNorm statistics anew: those of the model before it was pruned no longer fit what its layers pass on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.feeding import run
from autoprune.compression.torch.untouched import modes_kept

_WHERE = "recalibrate_batchnorm"


def recalibrate_batchnorm(model: nn.Module, batches: Iterable[Any], *, limit: int | None = None) -> nn.Module:
    """Estimate the running statistics of every BatchNorm from scratch, and return the model.

    They become the average of the batches' means and of their unbiased variances, over the first `limit` batches or
    all. A batch is (inputs, target) or the inputs alone. Nothing trains, dropout stays off, and everything else is
    left as it was, BatchNorms without running statistics and those that no batch reaches too.
    """
    layers = with_statistics(model)
    if not layers:
        raise CompressionError(
            f"{_WHERE}: given a {type(model).__name__} without a BatchNorm that has running statistics; "
            "expected one (there is nothing to recalibrate)"
        )
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise CompressionError(f"{_WHERE}: given limit={limit!r}; expected a number of batches, 1 or more, or None")
    with modes_kept(model), _anew(layers):
        model.eval()
        for layer in layers.values():
            layer.train()
        run(model, batches, limit=limit, where=_WHERE)
        _check(layers)
    return model


def with_statistics(model: nn.Module) -> dict[str, _BatchNorm]:
    """The BatchNorms that have running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


@contextmanager
def _anew(layers: dict[str, _BatchNorm]) -> Iterator[None]:
    """Statistics set back, averaged evenly, and guarded; as they were in a layer not reached, or after an error."""
    with ExitStack() as stack:
        before = {layer: [buffer.clone() for buffer in _statistics(layer)] for layer in layers.values()}
        for name, layer in layers.items():
            stack.callback(setattr, layer, "momentum", layer.momentum)
            stack.callback(layer.register_forward_pre_hook(_guard(name), with_kwargs=True).remove)
            layer.momentum = None
            layer.reset_running_stats()
        try:
            yield
        except BaseException:
            _put_back(before)
            raise
        _put_back({layer: values for layer, values in before.items() if not _reached(layer)})


def _statistics(layer: _BatchNorm) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance, count = layer.running_mean, layer.running_var, layer.num_batches_tracked
    assert mean is not None
    assert variance is not None
    assert count is not None
    return mean, variance, count


def _put_back(values: dict[_BatchNorm, list[Tensor]]) -> None:
    with torch.no_grad():
        for layer, kept in values.items():
            for buffer, value in zip(_statistics(layer), kept, strict=True):
                buffer.copy_(value)


def _reached(layer: _BatchNorm) -> bool:
    return int(_statistics(layer)[2]) > 0


def _guard(name: str) -> Any:
    def check(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        values: Tensor = args[0] if args else kwargs["input"]
        if values.numel() // max(values.shape[1], 1) < 2:
            raise CompressionError(
                f"{_WHERE}.batches: given a batch that leaves one value per channel to layer {name!r}, an input of "
                f"shape {tuple(values.shape)}; expected two or more (larger batches, drop_last=True in a DataLoader)"
            )

    return check


def _check(layers: dict[str, _BatchNorm]) -> None:
    if not any(map(_reached, layers.values())):
        raise CompressionError(
            f"{_WHERE}: given a model that calls none of its {len(layers)} BatchNorms; expected one that does"
        )
    for name, layer in layers.items():
        if not all(bool(buffer.isfinite().all()) for buffer in _statistics(layer)):
            raise CompressionError(
                f"{_WHERE}: given batches that make the statistics of layer {name!r} infinite or NaN; expected finite "
                "values (the statistics are as they were)"
            )
