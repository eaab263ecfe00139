"""Weights from files: of a whole model, or of one that `autoprune compress` made smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from autoprune.compression.command.failing import said
from autoprune.compression.core.errors import CompressionError, remedy, shown
from autoprune.compression.torch.compact.cutting import check_plan
from autoprune.compression.torch.compact.files import PLAN, load_compact
from autoprune.compression.torch.compact.plan import Plan

_SAFETENSORS = ".safetensors"


def load_whole(model: nn.Module, path: Path, if_compact: str) -> None:
    """Load weights into a model. `if_compact` says what to do with those of a smaller one."""
    state = _state(path)
    own = model.state_dict()
    if missing := [name for name in own if name not in state]:
        hint = remedy(missing[0], state)
        raise CompressionError(f"{path}: lacks {_counted(missing)} of the model; expected all its weights ({hint})")
    if unknown := [name for name in state if name not in own]:
        hint = remedy(unknown[0], own)
        raise CompressionError(f"{path}: has {_counted(unknown)}, which the model lacks; expected its own ({hint})")
    for name, value in state.items():
        if isinstance(own[name], Tensor) and value.shape != own[name].shape:
            shapes = f"{tuple(value.shape)} for {name}; expected {tuple(own[name].shape)}"
            hint = f" ({if_compact})" if path.suffix == _SAFETENSORS and _plan(path) is not None else ""
            raise CompressionError(f"{path}: given the shape {shapes}{hint}")
    model.load_state_dict(state)


def cut_as(model: nn.Module, path: Path, called: str) -> nn.Module:
    """The smaller model of a file; `called` is what the user calls the whole one."""
    try:
        plan = _plan(path)
    except (OSError, SafetensorError) as error:
        raise CompressionError(
            f"--compact: given {str(path)!r}, which cannot be read ({said(error)}); expected a file that "
            "`autoprune compress` wrote"
        ) from None
    if plan is None:
        raise CompressionError(
            f"--compact: given {str(path)!r}, which has no plan of what was cut; expected a file of a smaller model "
            "that `autoprune compress` wrote (--weights loads those of a whole model)"
        )
    try:
        check_plan(model, plan)
    except CompressionError as error:
        raise CompressionError(
            f"--compact: given {str(path)!r}, which is of another model than {called} ({error}); expected the function "
            "that built the model it was made of"
        ) from None
    return load_compact(lambda: model, path)


def _plan(path: Path) -> Plan | None:
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(PLAN)
    return None if text is None else Plan.from_json(text)


def _counted(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"


def _state(path: Path) -> Mapping[str, Any]:
    try:
        state = load_file(path) if path.suffix == _SAFETENSORS else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch's unpickler raises anything on a file that is not its own
        lines = said(error).split(". ")[0]
        raise CompressionError(
            f"{path}: given a file that cannot be read as weights ({lines}); expected safetensors, or a state dict "
            "that torch.save wrote"
        ) from None
    named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    if not named or not all(isinstance(each, Tensor) for each in state.values()):
        given = f"the keys {', '.join(map(str, list(state)[:4]))}" if isinstance(state, Mapping) else shown(state)
        raise CompressionError(f"{path}: given {given}; expected a state dict, tensors by name (save it alone)")
    return state
