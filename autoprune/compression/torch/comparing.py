"""Whether a file computes what the model it was made of computes: over its outputs, at several batch sizes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.nested import batch_size, each_tensor, resized

_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Case:
    """Inputs, as arguments or keyword arguments, and what the model makes of them."""

    batch: int
    inputs: Any
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Cases:
    """What a file has to reproduce: the example first. Errors name the function they are for, and the model."""

    where: str
    model: str
    cases: tuple[Case, ...]

    @classmethod
    def of(cls, where: str, model: nn.Module, example_input: Any, *, any_batch: bool) -> Cases:
        """What the model computes for the example and, with `any_batch`, for one row more and for a single one."""
        inputs = example_input if isinstance(example_input, Mapping | tuple | list) else (example_input,)
        outputs = returned(where, call(model, copied(inputs)))
        batch = batch_size(arguments(model, inputs))
        if batch == 0:
            raise CompressionError(f"{where}: given an example_input without a row; expected a batch of at least one")
        cases = [Case(batch, inputs, outputs)]
        for size in sorted({1, batch + 1} - {batch}, reverse=True) if any_batch else ():
            other = resized(inputs, batch, size)
            try:
                cases.append(Case(size, other, returned(where, call(model, copied(other)))))
            except Exception as error:
                raise CompressionError(
                    f"{where}: given a {type(model).__name__} that takes a batch of {batch} and not of {size} "
                    f"({said(error)}); expected one that takes any (dynamic_batch=False exports it for {batch} alone)"
                ) from error
        return cls(where, type(model).__name__, tuple(cases))

    @property
    def batches(self) -> tuple[int, ...]:
        return tuple(case.batch for case in self.cases)

    def difference(self, runtime: str, run: Callable[[Any], Sequence[Tensor]]) -> float:
        """The greatest absolute one between what `run` and the model make of the inputs; too great, it is an error."""
        return max(self._differ(case, runtime, run) for case in self.cases)

    def _differ(self, case: Case, runtime: str, run: Callable[[Any], Sequence[Tensor]]) -> float:
        at = f"in {runtime}, for a batch of {case.batch}"
        try:
            given = run(copied(case.inputs))
        except Exception as error:
            raise self.cannot_run(at, error) from error
        shapes, wanted = ([(tuple(each.shape), each.dtype) for each in values] for values in (given, case.outputs))
        if shapes != wanted:
            raise CompressionError(
                f"{self.where}: given a {self.model} whose outputs are {wanted} and become {shapes} {at}; "
                "expected the same (no file was written)"
            )
        differences = [_difference(*pair) for pair in zip(given, case.outputs, strict=True)]
        for index, (found, expected) in enumerate(zip(differences, case.outputs, strict=True)):
            if found > (allowed := _allowed(expected)):
                raise CompressionError(
                    f"{self.where}: given a {self.model} whose output {index} differs by {found:.3g} {at}; expected "
                    f"{allowed:.3g} at most (no file was written; a model that draws random numbers in evaluation "
                    "mode, or changes itself, cannot be checked)"
                )
        return max(differences, default=0.0)

    def cannot_run(self, at: str, error: Exception) -> CompressionError:
        return CompressionError(
            f"{self.where}: given a {self.model} whose file does not run {at} ({said(error)}); expected one that does "
            "(no file was written)"
        )


def arguments(model: nn.Module, inputs: Any) -> dict[str, Any]:
    """Inputs under the names that `forward` has for them, in its order."""
    args, kwargs = ((), inputs) if isinstance(inputs, Mapping) else (inputs, {})
    return inspect.signature(model.forward).bind(*args, **kwargs).arguments


def copied(inputs: Any) -> Any:
    """Inputs for a model that may write on them."""
    return each_tensor(inputs, torch.clone)


def has_batch(tensor: Tensor, batch: int) -> bool:
    return tensor.dim() > 0 and tensor.shape[0] == batch


def returned(where: str, value: Any) -> tuple[Tensor, ...]:
    """The tensors that a model returns, in order; None is nothing."""
    if value is None or isinstance(value, Tensor):
        return () if value is None else (value,)
    if isinstance(value, Mapping | tuple | list):
        items = value.values() if isinstance(value, Mapping) else value
        return tuple(tensor for item in items for tensor in returned(where, item))
    raise CompressionError(
        f"{where}: given a model that returns {shown(value)}; expected tensors, in tuples, lists or dicts"
    )


def said(error: BaseException) -> str:
    """The first line of what was wrong in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _difference(value: Tensor, expected: Tensor) -> float:
    """The greatest one; equal infinities do not differ, nor does NaN from NaN."""
    value, expected = value.cpu(), expected.cpu()
    wide = torch.complex128 if expected.is_complex() else torch.float64
    same = (value == expected) | (value.isnan() & expected.isnan())
    differences = (value.to(wide) - expected.to(wide)).abs().masked_fill(same, 0)
    greatest = float(differences.max()) if differences.numel() else 0.0
    return math.inf if math.isnan(greatest) else greatest


def _allowed(expected: Tensor) -> float:
    """So much of the greatest value of the output; what is counted has to be equal."""
    if expected.dtype not in _TOLERANCE:
        return 0.0
    finite = expected[expected.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    return _TOLERANCE[expected.dtype] * max(scale, _SMALLEST_SCALE)
