"""The calls in which a task changes a model: in place, and so that it is the same layers afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from autoprune.compression.torch import named_masks
from autoprune.compression.torch.layers import original
from autoprune.errors import UsageError
from autoprune.search.loading import Source, calling
from autoprune.search.task import Task


def prepare(task: Task, source: Source, model: nn.Module, seed: int) -> None:
    """Have the task give the model its weights."""
    with calling(source, "prepare", seed):
        returned: Any = task.prepare(model)  # type: ignore[func-returns-value]
        _check_in_place(source, "prepare", returned, model)


def train(task: Task, source: Source, model: nn.Module, epochs: int, seed: int) -> None:
    """Have the task train the model; what is pruned of it stays so."""
    before = _Form.of(model)
    with calling(source, "train", seed):
        returned: Any = task.train(model, epochs)
        _check_in_place(source, "train", returned, model)
        before.check(source, model)


def _check_in_place(source: Source, method: str, returned: Any, model: nn.Module) -> None:
    if isinstance(returned, nn.Module) and returned is not model:
        raise UsageError(
            f"{source.called}: {method} returns another model; expected it to change the one that it is given "
            "(model.load_state_dict(other.state_dict()) gives it the weights of another)"
        )


@dataclass(frozen=True)
class _Form:
    """The layers of a model, the shapes of what they hold, and what of it is pruned."""

    layers: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    kept: Mapping[tuple[str, str], Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> _Form:
        return cls(
            {original(name): type(module).__qualname__ for name, module in model.named_modules()},
            {
                original(name): tuple(value.shape)
                for name, value in model.state_dict(keep_vars=True).items()
                if isinstance(value, Tensor)
            },
            {(mask.layer, mask.parameter): mask.keep for mask in named_masks.carried(model)},
        )

    def check(self, source: Source, model: nn.Module) -> None:
        """Raises an error where the model is of another form now, or what was pruned is back."""
        now = _Form.of(model)
        changed = _differing(self.layers, now.layers) or _differing(self.shapes, now.shapes)
        if changed:
            raise UsageError(
                f"{source.called}: train replaces, adds or removes layers of the model ({_some(changed)}); expected it "
                "to train those that it is given (what is to be there belongs in build)"
            )
        modules = {original(name): module for name, module in model.named_modules()}
        back = [
            f"{layer}.{parameter}"
            for (layer, parameter), kept in self.kept.items()
            if bool((modules[layer].get_parameter(parameter).detach().masked_fill(kept, 0) != 0).any())
        ]
        if back:
            raise UsageError(
                f"{source.called}: train gives values to weights that are pruned ({_some(back)}); expected it to keep "
                "the layers that it is given and to train them by a torch optimizer, which leaves these at zero"
            )


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return [name or "the model" for name in {**one, **other} if one.get(name) != other.get(name)]


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{', ...' if names[3:] else ''}"
