"""What the user names: functions in files, the model that one builds, and batches of data."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from autoprune.compression.command.failing import users_code
from autoprune.compression.core.errors import CompressionError, remedy, shown
from autoprune.compression.torch.nested import batch_size, each_tensor

Source: TypeAlias = Mapping[str, str]
"""A function in a file: `file` and `name`."""

_SEED = 0


def build_model(source: Source) -> nn.Module:
    """What the user's function returns."""
    build = _function(source)
    if isinstance(build, nn.Module):
        hint = remedy(type(build).__name__, _own(imported(Path(source["file"]))))
        raise CompressionError(
            f"{called(source)}: given {shown(build)}, which is a model already; expected a function or class that "
            f"builds it ({hint})"
        )
    with users_code(called(source)):
        model = build()
    if not isinstance(model, nn.Module):
        raise CompressionError(f"{called(source)}: returns {shown(model)}; expected a torch.nn.Module")
    return model


def called(source: Source) -> str:
    return f"{source['file']}:{source['name']}"


def function(source: Source) -> Callable[..., Any]:
    """A function that gets arguments, such as a loss."""
    return _found(imported(Path(source["file"])), source)


@dataclass
class Batches:
    """The batches that the user's function returns, as often as they are needed: a generator is made anew."""

    source: Source

    def __post_init__(self) -> None:
        self._make = _function(self.source)
        with users_code(called(self.source)):
            self._made = self._make()
        if isinstance(self._made, Tensor | Mapping | str) or not hasattr(self._made, "__iter__"):
            given = shown(self._made)
            raise CompressionError(f"{called(self.source)}: returns {given}; expected batches, a list or a DataLoader")

    def __iter__(self) -> Iterator[Any]:
        with users_code(called(self.source)):
            yield from self._make() if isinstance(self._made, Iterator) else self._made

    def example(self) -> Any:
        """The inputs of the first row of the first batch."""
        batch = next(iter(self), None)
        if batch is None:
            raise CompressionError(f"{called(self.source)}: returns no batch; expected at least one")
        inputs = batch[0] if isinstance(batch, tuple | list) and len(batch) in (1, 2) else batch
        rows = batch_size(inputs)
        return each_tensor(inputs, lambda tensor: tensor[:1].clone() if tensor.shape[:1] == (rows,) else tensor)


def random_inputs(inputs: Sequence[Mapping[str, Any]]) -> Any:
    """Normally distributed numbers, or zeros and ones where integers are wanted."""
    generator = torch.Generator().manual_seed(_SEED)
    made = tuple(_random(each["shape"], getattr(torch, each["dtype"]), generator) for each in inputs)
    return made[0] if len(made) == 1 else made


def _random(shape: Sequence[int], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    if dtype.is_floating_point:
        return torch.randn(*shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def _function(source: Source) -> Callable[[], Any]:
    """A function or class that can be called without arguments."""
    found = _found(imported(Path(source["file"])), source)
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise CompressionError(f"{called(source)}: {error}; expected a function that is called without") from None
    except ValueError:
        pass  # a callable whose signature cannot be told
    return found


def _found(module: ModuleType, source: Source) -> Callable[..., Any]:
    found: Callable[..., Any] | None = getattr(module, source["name"], None)
    if callable(found):
        return found
    hint = remedy(source["name"], _own(module))
    raise CompressionError(f"{source['file']}: has no function {source['name']!r}; expected one that it has ({hint})")


def _own(module: ModuleType) -> list[str]:
    """The functions and classes that a file defines, without the models that it holds."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not isinstance(value, nn.Module)
        and not name.startswith("_")
        and getattr(value, "__module__", "") == module.__name__
    ]


def imported(path: Path) -> ModuleType:
    """The file as a module, once, with its folder first on the path, as when it is run."""
    place = path.resolve()
    if str(place.parent) not in sys.path:
        sys.path.insert(0, str(place.parent))
    name = path.stem
    while (known := sys.modules.get(name)) is not None:
        if getattr(known, "__file__", None) == str(place):
            return known
        name += "_"
    spec = spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise CompressionError(f"{path}: given a file that is no Python module; expected a name that ends in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    with users_code(f"importing {path}"):
        spec.loader.exec_module(module)
    return module
