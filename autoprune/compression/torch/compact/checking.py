"""Runs a model with completed masks and its smaller copy on the same input, and says where they first differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.compact.completing import Keeps
from autoprune.compression.torch.compact.cutting import cuts_of
from autoprune.compression.torch.compact.kinds import channel_axis
from autoprune.compression.torch.compact.plan import Layer, Plan
from autoprune.compression.torch.compact.silencing import as_completed
from autoprune.compression.torch.compact.telling import moved, swapped, telling_input, telling_parameters
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.nested import batch_size, each_tensor, resized, tensors
from autoprune.compression.torch.untouched import eager, random_state_kept, undisturbed

_FAR = 3.0
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 0.02, torch.bfloat16: 0.1}


@dataclass(frozen=True)
class Difference:
    """Where a smaller model goes wrong: in or inside of this layer, of the whole model where it has no name."""

    layer: str
    reason: str
    inside: bool


@dataclass
class _Run:
    """What the layers that read fewer channels gave, call by call, and what the model did."""

    layers: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: Sequence[Tensor] = ()
    within: list[str] = field(default_factory=list)
    error: Exception | None = None


@dataclass(frozen=True)
class Trial:
    """What both models are given: an input, and values in the place of some parameters, by their identity."""

    example: Any
    values: Mapping[int, Tensor]


@dataclass(frozen=True)
class Trials:
    """What both models have to give the same on, and what they have to run on in training mode, if anything."""

    equal: tuple[Trial, ...]
    training: tuple[Any, ...]


def trials_of(model: nn.Module, example_input: Any) -> Trials:
    """Trials that hide nothing, as far as the model takes them: noise for constants, the sign of the input turned, and
    all that is computed moved far below zero and far above, where zeros are the greatest and the least."""
    telling, values = each_tensor(example_input, telling_input), telling_parameters(model)
    for example, used in ((telling, values), (example_input, values), (example_input, {})):
        if not _takes(model, Trial(example, used)):
            continue
        more = [Trial(each_tensor(example, _turned), used)]
        more += [Trial(example, moved(model, used, by)) for by in (-_FAR, _FAR)]
        batches = (example, resized(example, batch_size(example), 2))
        training = [each for each in batches if runs(model, each, training=True)]
        equal = (Trial(example, used), *(each for each in more if _takes(model, each)))
        return Trials(equal, tuple(training[:1]))
    if (error := _run(model, example_input).error) is None:
        raise CompressionError(
            "given an example input on which the model gives no finite number; expected one that shows what it computes"
        )
    raise CompressionError(
        f"given a model that does not run on the example input ({_said(error)}); "
        "expected one of the shape, type and device that it takes"
    )


def difference(model: nn.Module, keeps: Keeps, plan: Plan, small: nn.Module, trials: Trials) -> Difference | None:
    """Where the smaller model does not run, or does not give what the masked one gives."""
    for trial in trials.equal:
        with swapped(small, _cut(model, plan, keeps, small, trial.values)):
            if (found := _differing(model, keeps, plan, small, trial)) is not None:
                return found
    for example in trials.training:
        if (error := _run(small, example, training=True).error) is not None:
            return Difference("", f"does not run in training mode with fewer channels ({_said(error)})", True)
    return None


def _takes(model: nn.Module, trial: Trial) -> bool:
    with swapped(model, trial.values):
        return runs(model, trial.example)


def _differing(model: nn.Module, keeps: Keeps, plan: Plan, small: nn.Module, trial: Trial) -> Difference | None:
    fewer = {name: layer for name, layer in plan.layers.items() if "in" in layer.sides}
    new = _run(small, trial.example, dict.fromkeys(fewer))
    if new.error is not None:
        where = new.within[-1] if new.within else ""
        return Difference(where, f"does not run with fewer channels ({_said(new.error)})", True)
    with as_completed(model, plan, keeps, trial.values, small):
        whole = _run(model, trial.example, fewer)
    if whole.error is not None:
        raise whole.error
    for (name, expected), (_, got) in zip(whole.layers, new.layers, strict=True):
        if not _close(expected, got):
            return Difference(name, "reads other channels than Torch-Pruning says", False)
    if len(whole.outputs) != len(new.outputs) or not all(map(_close, whole.outputs, new.outputs)):
        return Difference("", "gives another output", True)
    return None


def runs(model: nn.Module, example: Any, *, training: bool = False) -> bool:
    """Without an error, and not to infinities and NaN alone."""
    run = _run(model, example, training=training)
    if run.error is None and not any(output.numel() for output in run.outputs):
        raise CompressionError("given an example input of which nothing comes out; expected a batch of at least one")
    floating = [output for output in run.outputs if output.is_floating_point() and output.numel()]
    return run.error is None and all(bool(output.isfinite().any()) for output in floating)


def _turned(given: Tensor) -> Tensor:
    return -given if given.is_floating_point() else given


def _said(error: Exception | None) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _cut(
    model: nn.Module, plan: Plan, keeps: Keeps, small: nn.Module, values: Mapping[int, Tensor]
) -> dict[int, Tensor]:
    """These values of parameters, masked and cut, for the parameters of the smaller model."""
    cuts = cuts_of(model, plan)
    found: dict[int, Tensor] = {}
    for (_, old), (_, new) in zip(model.named_parameters(), small.named_parameters(), strict=True):
        if (value := values.get(id(old))) is not None:
            kept = value.where(keeps[id(old)], 0) if id(old) in keeps else value
            found[id(new)] = cuts[id(old)].of(kept) if id(old) in cuts else kept
    return found


def _run(
    model: nn.Module, example: Any, watched: Mapping[str, Layer | None] | None = None, *, training: bool = False
) -> _Run:
    """Run a model without a trace; of layers that are watched, keep what comes out of the channels that stay."""
    run, watched = _Run(), watched or {}
    with ExitStack() as stack:
        for name, module in model.named_modules():

            def enter(*_: object, name: str = name) -> None:
                run.within.append(name)

            def leave(module: nn.Module, _: object, output: Any, name: str = name) -> None:
                run.within.pop()
                if name in watched:
                    first = next(tensors(output)).detach()
                    run.layers.append((name, _staying(module, first, watched[name]).clone()))

            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        stack.enter_context(eager())
        stack.enter_context(undisturbed(model))
        stack.enter_context(random_state_kept())
        stack.enter_context(torch.no_grad())
        model.train(training)
        try:
            run.outputs = [output.clone() for output in tensors(call(model, each_tensor(example, torch.clone)))]
        except Exception as error:
            run.error = error
    return run


def _staying(module: nn.Module, output: Tensor, layer: Layer | None) -> Tensor:
    """The channels of a layer's output that the smaller one has."""
    if layer is None or "out" not in layer.sides:
        return output
    index = torch.tensor(layer.sides["out"].channels, device=output.device)
    return output.index_select(channel_axis(module), index)


def _close(expected: Tensor, got: Tensor) -> bool:
    if expected.shape != got.shape:
        return False
    if not expected.is_floating_point() or not expected.numel():
        return bool(torch.equal(expected, got))
    finite = expected.isfinite()
    if not finite.any():
        raise CompressionError(
            "given an example input on which the model gives no finite number; expected one that shows what it computes"
        )
    scale = float(expected.where(finite, 0).abs().max())
    tolerance = _TOLERANCE.get(expected.dtype, 1e-3) * scale
    return bool(torch.allclose(got, expected, rtol=0, atol=tolerance, equal_nan=True))
