"""Compact models in files: weights as safetensors with the plan as JSON in their metadata, so that there is no pickle.

save_compact(small, "small.safetensors")
small = load_compact(Net, "small.safetensors")     # Net() is the class, or a function, that built the whole model
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.torch.compact.cutting import check_plan, cut
from autoprune.compression.torch.compact.plan import Plan, plan_of, remember
from autoprune.compression.torch.layers import COMPILED
from autoprune.compression.torch.saving import check_place, storable, write

Built = TypeVar("Built", bound=nn.Module)
PLAN = "autoprune.plan"


def save_compact(model: nn.Module, path: str | Path) -> Path:
    """Write a model that `speedup` made, with the plan that rebuilds it from its class, to one `.safetensors` file."""
    if not isinstance(model, nn.Module):
        raise CompressionError(f"save_compact: given {shown(model)}; expected a model")
    model = model._modules.get(COMPILED) or model
    place = Path(path)
    check_place(place, "save_compact")
    plan = plan_of(model) or Plan({})
    for name, part in model.named_modules():
        if part is not model and plan_of(part) is not None:
            raise CompressionError(
                f"save_compact: given a {type(model).__name__} of which {name!r} was made by speedup(); "
                "expected what speedup() returned, by itself"
            )
    tensors = storable(model.state_dict(), "save_compact")
    write({place: tensors}, {"format": "pt", PLAN: plan.to_json()}, "save_compact")
    return place


def load_compact(build_model: Callable[[], Built], path: str | Path) -> Built:
    """Build the whole model, cut it to the plan of a file, and load the weights of the file into it.

    They take the type that the class gives them, as with `load_state_dict`: call `.half()` on what comes back.
    """
    plan, tensors = _read(Path(path))
    model = build_model() if callable(build_model) and not isinstance(build_model, nn.Module) else None
    if not isinstance(model, nn.Module):
        given = build_model if model is None else model
        raise CompressionError(
            f"load_compact: given {shown(given)}; expected a class or function that builds the model"
        )
    check_plan(model, plan)
    small = cut(model, plan, {})
    for name, own in small.state_dict().items():
        if name in tensors and tensors[name].is_floating_point() != own.is_floating_point():
            raise CompressionError(
                f"load_compact: given {str(path)!r} with {tensors[name].dtype} for {name!r}; expected {own.dtype}"
            )
    try:
        small.load_state_dict(tensors)
    except RuntimeError as error:
        raise CompressionError(f"load_compact: given {str(path)!r} for another model; {error}") from None
    remember(small, plan)
    return small


def _read(path: Path) -> tuple[Plan, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CompressionError(
            f"load_compact: given {str(path)!r}; expected a file of save_compact ({error})"
        ) from None
    if PLAN not in metadata:
        raise CompressionError(
            f"load_compact: given {str(path)!r}, which has no plan; expected a file of save_compact "
            "(weights of a whole model load by load_state_dict)"
        )
    return Plan.from_json(metadata[PLAN]), tensors
