"""Pruners together: two on one model, twice in a row, found by name, written by a user."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import autoprune.compression.torch as pruners
from autoprune.compression.torch import AGPPruner, LayerInfo, LevelPruner, Pruner, achieved_sparsity, names
from autoprune.compression.torch import pruners as home
from autoprune.errors import UsageError


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def weight(model: nn.Module, layer: str = "fc") -> Tensor:
    return model.get_submodule(layer).get_parameter("weight").detach()


def fc(sparsity: float) -> list[dict[str, Any]]:
    return [{"sparsity": sparsity, "op_names": ["fc"]}]


def test_building_leaves_the_model_alone(net: nn.Module, train: Callable[..., None]) -> None:
    before = state(net)
    attributes = {name: set(module.__dict__) for name, module in net.named_modules()}
    level = LevelPruner(net, [{"sparsity": 0.5}])
    AGPPruner(net, [{"final_sparsity": 0.5, "end_epoch": 3}])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert {name: set(module.__dict__) for name, module in net.named_modules()} == attributes
    assert level.masks == {}
    level.compress()
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert achieved_sparsity(net) == 0.5


def test_returned_masks_are_a_snapshot(net: nn.Module) -> None:
    pruner = LevelPruner(net, fc(0.5))
    _, masks = pruner.compress()
    masks["fc"]["weight"].fill_(True)
    assert int(pruner.masks["fc"]["weight"].sum()) == 480
    pruner.step()
    assert int((weight(net) == 0).sum()) == 480


def test_compressing_twice_changes_nothing(net: nn.Module, train: Callable[..., None]) -> None:
    dense = weight(net).clone()
    pruner = LevelPruner(net, fc(0.5))
    _, first = pruner.compress()
    train(net, torch.optim.Adam(net.parameters(), lr=0.05))
    trained = weight(net).clone()
    _, second = pruner.compress()
    assert torch.equal(first["fc"]["weight"], second["fc"]["weight"])
    assert torch.equal(weight(net), trained)
    pruner.unwrap()
    assert torch.equal(weight(net), torch.where(first["fc"]["weight"], trained, dense))


def test_compressing_again_after_unwrap_chooses_anew(net: nn.Module) -> None:
    pruner = LevelPruner(net, fc(0.5))
    _, first = pruner.compress()
    pruner.unwrap()
    with torch.no_grad():
        net.get_submodule("fc").get_parameter("weight").copy_(torch.where(first["fc"]["weight"], 0.0, 1.0))
    _, second = pruner.compress()
    assert torch.equal(second["fc"]["weight"], ~first["fc"]["weight"])


def test_a_second_pruner_prunes_on_top_of_the_first(net: nn.Module) -> None:
    dense = weight(net).clone()
    first, second = LevelPruner(net, fc(0.5)), LevelPruner(net, fc(0.75))
    half = first.compress()[1]["fc"]["weight"]
    quarter = second.compress()[1]["fc"]["weight"]
    assert int(quarter.sum()) == 240
    assert not bool((quarter & ~half).any())
    second.unwrap()
    assert torch.equal(weight(net), torch.where(half, dense, 0))
    first.unwrap()
    assert torch.equal(weight(net), dense)


def test_a_second_pruner_brings_nothing_back(net: nn.Module) -> None:
    dense = weight(net).clone()
    first, second = LevelPruner(net, fc(0.75)), LevelPruner(net, fc(0.5))
    quarter = first.compress()[1]["fc"]["weight"]
    half = second.compress()[1]["fc"]["weight"]
    assert int(half.sum()) == 480
    assert torch.equal(weight(net) != 0, quarter)
    first.unwrap()
    assert torch.equal(weight(net), torch.where(half, dense, 0))


def test_zeros_of_one_pruner_stay_when_another_goes(net: nn.Module) -> None:
    dense = weight(net).clone()
    first, second = LevelPruner(net, fc(0.5)), LevelPruner(net, fc(0.75))
    half = first.compress()[1]["fc"]["weight"]
    second.compress()
    first.unwrap(keep_zeros=True)
    second.unwrap()
    assert torch.equal(weight(net), torch.where(half, dense, 0))


def test_calls_out_of_order(net: nn.Module) -> None:
    pruner = LevelPruner(net, fc(0.5))
    before = state(net)
    with pytest.raises(UsageError, match="call compress"):
        pruner.step()
    assert pruner.unwrap() is net
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Checkered(Pruner):
    def __init__(self, given: object) -> None:
        pass

    def calc_mask(self, layer_info: LayerInfo, weight: Tensor) -> Tensor:
        mask = torch.zeros_like(weight).flatten()
        mask[:: 2 if layer_info.name == "fc" else 3] = 1
        return mask.view_as(weight)


class Largest(Pruner):
    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return -weight.abs()


class Misshapen(Pruner):
    def calc_mask(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return torch.ones(2)


class Scoreless(Pruner):
    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.sum()


def test_a_pruner_of_ones_own_without_calling_super(net: nn.Module) -> None:
    _, masks = Checkered("anything")(net)
    assert torch.equal(weight(net) != 0, torch.arange(960).view(10, 96) % 2 == 0)
    assert int(masks["conv0"]["weight"].sum()) == 12


def test_a_score_of_ones_own(net: nn.Module) -> None:
    dense = weight(net).clone()
    _, masks = Largest(net, fc(0.5)).compress()
    keep = masks["fc"]["weight"]
    assert dense[keep].abs().max() <= dense[~keep].abs().min()


@pytest.mark.parametrize(("pruner", "said"), [(Misshapen, r"shape \(2,\)"), (Scoreless, r"shape \(\)")])
def test_results_of_the_wrong_shape(net: nn.Module, pruner: type[Pruner], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pruner(net, fc(0.5)).compress()


def test_names_and_aliases() -> None:
    assert pruners.AGP_Pruner is pruners.AGPruner is AGPPruner
    assert {"LevelPruner", "AGPPruner", "AGP_Pruner", "AGPruner", "Pruner", "layer_sizes"} <= set(dir(pruners))
    with pytest.raises(AttributeError, match="did you mean LevelPruner"):
        _ = pruners.LevlPruner
    star: dict[str, Any] = {}
    exec("from autoprune.compression.torch import *", star)
    assert star["LevelPruner"] is LevelPruner
    assert star["AGP_Pruner"] is AGPPruner


@pytest.fixture
def another_pruner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file added to the package."""
    lines = [
        "from autoprune.compression.torch.pruners.base import Pruner",
        "class ReversePruner(Pruner):",
        "    def score(self, layer, weight):",
        "        return -weight.abs()",
    ]
    (tmp_path / "reverse.py").write_text("\n".join(lines))
    monkeypatch.setattr(home, "__path__", [*home.__path__, str(tmp_path)])
    names.algorithms.cache_clear()
    yield "ReversePruner"
    names.algorithms.cache_clear()
    sys.modules.pop("autoprune.compression.torch.pruners.reverse", None)
    home.__dict__.pop("reverse", None)


def test_a_pruner_is_one_new_file(net: nn.Module, another_pruner: str) -> None:
    _, masks = getattr(pruners, another_pruner)(net, fc(0.5)).compress()
    assert achieved_sparsity(masks) == 0.5


def test_the_library_stands_alone() -> None:
    code = (
        "import sys; from autoprune.compression.torch import LevelPruner; "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "sys.exit(', '.join(loaded & {'optuna', 'pydantic', 'sqlalchemy', 'fastapi', 'hyperopt', 'click'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_type_checkers_see_the_names_that_are_there() -> None:
    """They take the branch that Python does not: run here, it gives every name the class that is found by it."""
    tree = ast.parse(Path(str(pruners.__file__)).read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen: dict[str, Any] = {}
    exec(compile(ast.Module(branch.body, []), "names", "exec"), seen)
    del seen["__builtins__"]
    later = {name: getattr(pruners, name) for name in pruners._LATER}
    assert seen == {**names.algorithms(), **later}
