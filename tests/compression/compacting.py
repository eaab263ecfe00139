"""What tests of smaller models ask of them, worked out from the masks: outputs, shapes, and what stays untouched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from autoprune.compression.torch import compaction, complete_masks, speedup
from autoprune.compression.torch.layers import as_stored, filters_first
from tests.compression.recount import call, kept_shape, layer_macs, shapes
from tests.compression.zoo import normal, seeded

Masks: TypeAlias = Mapping[str, Mapping[str, Tensor]]
Pick: TypeAlias = Callable[[int], Iterable[int]]
BY_WEIGHT = (_ConvNd, nn.Linear)


class Function(nn.Module):
    """A net of some layers and a function of them: `Function(lambda net, x: net.a(x), a=nn.Linear(2, 3))`."""

    def __init__(self, run: Callable[..., Any], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def net(run: Callable[..., Any], **layers: nn.Module | nn.Parameter) -> Any:
    """In evaluation mode, with weights and statistics that let no mistake hide."""
    return seeded(lambda: Function(run, **layers))().eval()


def chain(*layers: nn.Module) -> Any:
    return seeded(lambda: nn.Sequential(*layers))().eval()


def first_half(count: int) -> range:
    return range(count // 2)


def conv(inputs: int, outputs: int, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings)


def image(channels: int = 3, size: int = 8) -> Tensor:
    return normal(2, channels, size, size)


def widths(small: nn.Module) -> dict[str, int]:
    """The output channels of each layer."""
    return {name.removesuffix(".weight"): shape[0] for name, shape in shapes(small).items() if name.endswith("weight")}


def losing(model: nn.Module, **gone: list[int]) -> dict[str, dict[str, Tensor]]:
    """Masks of layers by name, or `_0` where the name is a number, that lose these filters."""
    names = {name.removeprefix("_"): channels for name, channels in gone.items()}
    return {name: without(model.get_submodule(name), channels) for name, channels in names.items()}


def without(module: nn.Module, gone: Iterable[int]) -> dict[str, Tensor]:
    """The mask of a layer that loses these filters; of an embedding, these columns."""
    weight = module.get_parameter("weight")
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        keep = torch.ones_like(weight, dtype=torch.bool)
        keep[:, list(gone)] = False
        return {"weight": keep}
    keep = torch.ones_like(filters_first(module, weight), dtype=torch.bool)
    keep[list(gone)] = False
    return {"weight": as_stored(module, keep)}


def masks_of(model: nn.Module, pick: Pick = first_half, only: Iterable[str] | None = None) -> dict[str, Any]:
    """Masks of whole filters: of the layers named, or of all convolutions, Linear layers and embeddings."""
    layers = {name: module for name, module in model.named_modules() if only is None or name in set(only)}
    kinds = (*BY_WEIGHT, nn.Embedding, nn.EmbeddingBag)
    found = {name: module for name, module in layers.items() if isinstance(module, kinds)}
    return {name: without(module, pick(_width(module))) for name, module in found.items()}


def _width(module: nn.Module) -> int:
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return module.embedding_dim
    return int(module.out_channels if isinstance(module, _ConvNd) else module.get_parameter("weight").shape[0])


def masked(model: nn.Module, masks: Masks) -> nn.Module:
    """A copy whose parameters are multiplied by these masks."""
    plain = copy.deepcopy(model)
    modules = dict(plain.named_modules(remove_duplicate=False))
    for layer, parameters in masks.items():
        for name, keep in parameters.items():
            modules[layer].get_parameter(name).data.mul_(keep)
    return plain


def outputs(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping | list | tuple):
        for part in result.values() if isinstance(result, Mapping) else result:
            yield from outputs(part)


def run(model: nn.Module, example: Any) -> list[Tensor]:
    """What a copy of the model gives in evaluation mode."""
    with torch.no_grad():
        return list(outputs(call(copy.deepcopy(model).eval(), example)))


def assert_close(expected: list[Tensor], got: list[Tensor], tolerance: float = 1e-5) -> None:
    assert len(expected) == len(got) > 0
    for one, other in zip(expected, got, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert bool(one.isfinite().all())
        scale = float(one.abs().max())
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance * scale)


def compact(model: nn.Module, masks: Masks | None, example: Any, *more: Any, tolerance: float = 1e-5) -> nn.Module:
    """`speedup`, held to all that it promises; `more` are other inputs."""
    with untouched(model):
        completed = complete_masks(model, masks, example)
        small = speedup(model, masks, example)
    reference = masked(model, completed)
    for inputs in (example, *more):
        assert_close(run(reference, inputs), run(small, inputs), tolerance)
    assert [type(module) for module in small.modules()] == [type(module) for module in model.modules()]
    assert [module.training for module in small.modules()] == [module.training for module in model.modules()]
    whole, left = shapes(model), shapes(small)
    for name, expected in kept_shapes(model, small, completed).items():
        assert left[name] == expected, name
    for name in {name for name, _ in (*model.named_parameters(), *model.named_buffers())} & whole.keys():
        size = whole[name]
        assert left[name] == size or name.rpartition(".")[0] in _touched(small) or name in _touched(small), name
    return small


def staying(small: nn.Module) -> dict[str, list[str]]:
    """Why masked channels of a layer stay."""
    found: dict[str, list[str]] = {}
    for each in compaction(small).staying:
        found.setdefault(each.layer, []).append(each.reason)
    return found


def kept_shapes(model: nn.Module, small: nn.Module, completed: Masks) -> dict[str, tuple[int, ...]]:
    """The shapes that completed masks leave of weights and biases; not of layers some of whose masked channels stay."""
    modules, but = dict(model.named_modules()), staying(small)
    found = {}
    for layer, parameters in completed.items():
        module = modules[layer]
        for name, keep in parameters.items():
            if layer in but or not isinstance(module, BY_WEIGHT) or (but and _is_depthwise(module)):
                continue
            shape = kept_shape(keep)
            if name == "weight" and isinstance(module, _ConvNd) and module.groups > 1:
                rows = keep.flatten(1).any(1) if keep.dim() > 1 else keep
                columns = keep.flatten(2).any(2)[rows].sum(1)
                assert len(set(columns.tolist())) == 1, f"{layer}: unequal groups"
                shape = (int(rows.sum()), int(columns[0]), *keep.shape[2:])
            found[f"{layer}.{name}"] = shape
    return found


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and module.groups == module.in_channels == module.out_channels


def _touched(small: nn.Module) -> set[str]:
    return {each.layer for each in compaction(small).removed}


def assert_macs(model: nn.Module, small: nn.Module, example: Any) -> None:
    """The multiply-adds of a layer shrink as its weight does: it is applied as often as before."""
    before, after = layer_macs(model, example), layer_macs(small, example)
    old, new = dict(model.named_modules()), dict(small.named_modules())
    assert before.keys() == after.keys()
    for name, count in before.items():
        if isinstance(old.get(name), BY_WEIGHT) and count:
            whole, left = (modules[name].get_parameter("weight").numel() for modules in (old, new))
            assert after[name] * whole == count * left, name
        else:
            assert after[name] <= count, name


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Whatever happens inside, the model stays as it is, and so do the random numbers."""
    before, random = _trace(model), torch.get_rng_state()
    state = {name: value.clone() for name, value in model.state_dict(keep_vars=False).items()}
    try:
        yield
    finally:
        assert _trace(model) == before
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)


def _trace(model: nn.Module) -> list[Any]:
    tensors = {name: (id(value), value.requires_grad) for name, value in model.named_parameters(remove_duplicate=False)}
    kept = [(module.training, set(vars(module)), *_hooks(module)) for module in model.modules()]
    return [tensors, *kept]


def _hooks(module: nn.Module) -> Iterator[list[int]]:
    for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks):
        yield list(hooks)
