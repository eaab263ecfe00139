"""What is to be known of an optimizer before its step: closures, gradients that are still scaled, whom it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

_scoring = 0


@contextmanager
def scoring() -> Iterator[None]:
    """While a model is only looked at: steps change nothing, and are not training."""
    global _scoring
    _scoring += 1
    try:
        yield
    finally:
        _scoring -= 1


def is_scoring() -> bool:
    return _scoring > 0


def closure_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[], Any] | None:
    """The closure that `optimizer.step` was given; the optimizer itself is the first of its arguments."""
    closure: Callable[[], Any] | None = kwargs.get("closure", args[1] if len(args) > 1 else None)
    return closure


def with_closure(closure: Callable[[], Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    return (args[0], closure, *args[2:]), {name: value for name, value in kwargs.items() if name != "closure"}


@torch.no_grad()
def unscale(optimizer: Optimizer) -> bool:
    """Do what a fused optimizer does itself in a scaled step: true gradients. False where they overflowed."""
    scale, overflowed = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
    if scale is not None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.div_(scale.to(parameter.grad.device))
        vars(optimizer)["grad_scale"] = None
    return overflowed is None or not bool(overflowed)


def trains(optimizer: Optimizer, model: nn.Module) -> bool:
    """Whether an optimizer holds any parameter of a model."""
    own = {id(parameter) for parameter in model.parameters()}
    return any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"])
