"""What a task may do to a model that it is given: train it in place, and leave its layers and its zeros as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from search.tasks import Untested
from torch import nn

from autoprune.compression.torch import LevelPruner
from autoprune.errors import UsageError
from autoprune.search import training
from autoprune.search.loading import Source

HERE = Source(__file__, "Doing")


class Doing(Untested):
    """Does what a test wants to the model, before or after it trains as it should."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.change = change

    def prepare(self, model: nn.Module) -> None:
        return self.change(model)  # type: ignore[no-any-return]

    def train(self, model: nn.Module, epochs: int) -> None:
        super().train(model, epochs)
        return self.change(model)  # type: ignore[no-any-return]


def model() -> nn.Module:
    torch.manual_seed(0)
    made = Doing(lambda model: None).build()
    LevelPruner(made, [{"sparsity": 0.5, "op_types": ["Linear"]}]).compress()
    return made


def replace(model: Any) -> None:
    model[5] = nn.Linear(16, 4)


def shrink(model: Any) -> None:
    model[5] = nn.Linear(16, 3)


def smoothen(model: Any) -> None:
    model[2] = nn.GELU()


def grow(model: Any) -> None:
    model.append(nn.Linear(4, 4))


def cut(model: Any) -> None:
    del model[4:]


@torch.no_grad()
def revive(model: Any) -> None:
    model[3].weight.add_(1)


def train(change: Callable[[Any], Any], given: nn.Module) -> None:
    training.train(Doing(change), HERE, given, 1, 0)


@pytest.mark.parametrize("change", [shrink, smoothen, grow, cut])
def test_other_layers_are_refused(change: Callable[[Any], Any]) -> None:
    with pytest.raises(UsageError, match=r"test_training.py:Doing: train replaces, adds or removes layers"):
        train(change, model())


@pytest.mark.parametrize(("change", "layer"), [(replace, "5.weight"), (revive, "3.weight")])
def test_what_is_pruned_stays_pruned(change: Callable[[Any], Any], layer: str) -> None:
    with pytest.raises(UsageError, match=rf"train gives values to weights that are pruned \({layer}\)"):
        train(change, model())


@pytest.mark.parametrize(
    "change",
    [lambda model: None, lambda model: model, lambda model: model.load_state_dict(model.state_dict()), nn.Module.half],
)
def test_training_in_place_is_all_right(change: Callable[[Any], Any]) -> None:
    given = model()
    train(change, given)
    assert sum(int(layer.weight.count_nonzero()) for layer in given if isinstance(layer, nn.Linear)) <= 64 * 24  # type: ignore[attr-defined]


def test_another_model_is_no_result() -> None:
    with pytest.raises(UsageError, match=r"Doing: train returns another model; .*load_state_dict"):
        train(lambda model: nn.Linear(2, 2), model())
    with pytest.raises(UsageError, match=r"Doing: prepare returns another model; .*load_state_dict"):
        training.prepare(Doing(lambda model: nn.Linear(2, 2)), HERE, model(), 0)
    training.prepare(Doing(lambda model: model), HERE, model(), 0)
