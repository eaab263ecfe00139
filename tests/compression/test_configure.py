"""Configuration files: found by class, read like a config_list in code, wrong on a line."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression import load_configure
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import AGPPruner, LayerInfo, LevelPruner, Pruner, achieved_sparsity
from autoprune.errors import UsageError

PRINTED = """\
tfAGPruner:       
  config:
    -
        start_epoch: 0
        end_epoch: 16
        frequency: 2
        initial_sparsity: 0.05
        final_sparsity: 0.60
        support_type: default
    - 
        prune: False
        start_epoch: 0
        end_epoch: 20
        frequency: 2
        initial_sparsity: 0.05
        final_sparsity: 0.60
        support_type: [Linear] 
        support_op: [conv1, conv2]
"""  # noqa: W291

LEVEL = """\
LevelPruner:
  config:
    - sparsity: 0.5
    - sparsity: 0.75
      op_names: [fc]
"""


class Convs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 5)
        self.conv2 = nn.Conv2d(4, 8, 5)
        self.fc = nn.Linear(100, 10)


def written(folder: Path, text: str, name: str = "config.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def shares(masks: dict[str, dict[str, Tensor]]) -> dict[str, float]:
    return {name: 1 - float(layer["weight"].double().mean()) for name, layer in masks.items()}


def test_the_printed_sample(tmp_path: Path) -> None:
    """Its second entry excludes Linear layers called conv1 or conv2, of which there are none."""
    pruner = AGPPruner(Convs(), str(written(tmp_path, PRINTED)))
    _, masks = pruner.compress()
    assert {name: layer["weight"].logical_not().sum().item() for name, layer in masks.items()} == {
        "conv1": 5,
        "conv2": 40,
        "fc": 50,
    }
    pruner.update_epoch(16)
    assert shares(pruner.masks) == pytest.approx({"conv1": 0.6, "conv2": 0.6, "fc": 0.6})


def test_all_of_a_file(tmp_path: Path) -> None:
    found = load_configure(written(tmp_path, PRINTED + LEVEL))
    assert list(found) == ["AGPruner", "LevelPruner"]
    assert found["LevelPruner"] == [{"sparsity": 0.5}, {"sparsity": 0.75, "op_names": ["fc"]}]
    assert found["AGPruner"][1]["prune"] is False


@pytest.mark.parametrize("prefix", ["", "tf", "torch"])
def test_a_prefix_is_left_out(tmp_path: Path, prefix: str) -> None:
    assert list(load_configure(written(tmp_path, prefix + LEVEL))) == ["LevelPruner"]


def test_a_name_that_only_begins_like_a_prefix(tmp_path: Path) -> None:
    assert list(load_configure(written(tmp_path, LEVEL.replace("LevelPruner", "torchvisionPruner")))) == [
        "torchvisionPruner"
    ]


HALF = {"conv0": 0.5, "conv1": 0.5, "fc": 0.75}


def test_a_path_stands_for_a_config_list(net: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path, LEVEL)
    for given in (path, str(path)):
        assert shares(LevelPruner(copy.deepcopy(net), given).compress()[1]) == HALF
        assert shares(LevelPruner(given)(copy.deepcopy(net))[1]) == HALF
        assert shares(LevelPruner(copy.deepcopy(net), config_list=given).compress()[1]) == HALF
    assert shares(LevelPruner(net, load_configure(path)["LevelPruner"]).compress()[1]) == HALF


def test_a_pruner_loads_what_is_for_its_class(net: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(net)
    pruner.load_configure(written(tmp_path, PRINTED.replace("conv2", "conv0") + LEVEL))
    assert shares(pruner.compress()[1]) == HALF
    other = AGPPruner([{"final_sparsity": 0.25, "end_epoch": 1}])
    other.load_configure(str(written(tmp_path, PRINTED.replace("conv2", "conv0") + LEVEL)))
    pruner.unwrap()
    assert shares(other(net)[1])["fc"] == pytest.approx(0.05)


def test_a_pruner_without_any_configuration(net: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(net)
    for _ in range(2):
        with pytest.raises(UsageError, match="LevelPruner: given no sparsity"):
            pruner.compress()


def test_what_is_masked_keeps_its_configuration(net: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(net, [{"sparsity": 0.5}])
    pruner.compress()
    with pytest.raises(CompressionError, match="call unwrap"):
        pruner.load_configure(written(tmp_path, LEVEL))
    pruner.unwrap()
    pruner.load_configure(written(tmp_path, LEVEL))
    assert shares(pruner.compress()[1]) == HALF


@pytest.mark.parametrize("name", ["config.json", "config.yml"])
def test_a_list_is_for_any_class(net: nn.Module, tmp_path: Path, name: str) -> None:
    path = written(tmp_path, json.dumps([{"sparsity": 0.5}]), name)
    assert load_configure(path) == {"*": [{"sparsity": 0.5}]}
    assert achieved_sparsity(LevelPruner(net, path).compress()[1]) == 0.5


class Alternate(Pruner):
    """Written by a user, as printed: without super()."""

    def __init__(self) -> None:
        pass

    def calc_mask(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        mask = torch.zeros(weight.numel())
        mask[::2] = 1
        return mask.view_as(weight)


def test_a_pruner_of_ones_own(net: nn.Module, tmp_path: Path) -> None:
    pruner = Alternate()
    pruner.load_configure(written(tmp_path, "torchAlternate:\n  config:\n    - op_names: [fc]\n"))
    assert shares(pruner(net)[1]) == {"fc": 0.5}


def test_keywords_hold_where_the_file_says_nothing(net: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path, "LevelPruner:\n  config:\n  - op_names: [fc]\n  - {op_names: [conv0], sparsity: 0.25}\n")
    assert shares(LevelPruner(net, path, sparsity=0.5).compress()[1]) == {"conv0": pytest.approx(0.25), "fc": 0.5}


MISTAKES: dict[str, tuple[str, list[str]]] = {
    "class": (LEVEL.replace("Level", "Levl"), [":1:1: given LevlPruner; expected an entry for LevelPruner", "did you"]),
    "range": (LEVEL.replace("0.75", "1.75"), [":4:7: config_list[1].sparsity: given 1.75"]),
    "name": (LEVEL.replace("fc", "fc1"), [":5:7: config_list[1].op_names: given 'fc1'", "did you mean fc?"]),
    "old spelling": (LEVEL.replace("op_names", "support_op").replace("fc", "fc1"), [":5:7: ", "given 'fc1'"]),
    "old type": (LEVEL.replace("op_names: [fc]", "support_type: [Linaer]"), [":5:7: ", "did you mean Linear?"]),
    "key": (LEVEL.replace("0.75", "0.75\n      sparsty: 1"), [":5:7: config_list[1].sparsty: given the key 'sparsty'"]),
    "twice": (LEVEL + "torch" + LEVEL, [":6:1: LevelPruner: given the same class twice", "line 1"]),
    "duplicate": (LEVEL + "      sparsity: 0.5\n", [":6:7: sparsity: given the same key twice"]),
    "no list": ("LevelPruner:\n  config: {sparsity: 0.5}\n", [":2:11: LevelPruner.config: given a table"]),
    "no config": (
        "LevelPruner:\n  confg:\n  - sparsity: 0.5\n",
        [":2:3: LevelPruner: given the key 'confg'", "config?"],
    ),
    "no entry": ("LevelPruner:\n  config: [fc]\n", [":2:12: LevelPruner.config: given 'fc'", "an entry"]),
    "empty list": ("LevelPruner:\n  config: []\n", [":1:1: config_list: given an empty list"]),
    "empty": ("", [":1:1: given an empty table; expected a table of class names"]),
    "scalar": ("0.5", [":1:1: given 0.5; expected a table of class names"]),
    "no yaml": ("LevelPruner: [", [":1:15", "YAML"]),
    "unmet": (
        LEVEL.replace("[fc]", "[fc]\n      op_types: [Conv2d]"),
        [":4:7: config_list[1]: given op_types Conv2d and op_names fc"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_on_a_line(net: nn.Module, tmp_path: Path, mistake: str) -> None:
    text, said = MISTAKES[mistake]
    path = written(tmp_path, text)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CompressionError) as caught:
        LevelPruner(net, path)
    message = str(caught.value)
    assert f"{path}{said[0]}" in message
    assert all(part in message for part in said)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_pruner_that_read_a_file_can_be_copied(net: nn.Module, tmp_path: Path) -> None:
    pruner = pickle.loads(pickle.dumps(copy.deepcopy(LevelPruner(net, written(tmp_path, LEVEL)))))
    assert shares(pruner.compress()[1]) == HALF


def test_all_mistakes_of_a_file_are_told_in_its_order(net: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path, LEVEL.replace("0.75", "2").replace("0.5", "'half'"))
    with pytest.raises(CompressionError, match="2 problems") as caught:
        LevelPruner(net, path)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()[1:]] == [f"{path}:3:7", f"{path}:4:7"]


def test_mistakes_show_when_the_model_comes_later(net: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path, LEVEL.replace("fc", "fc1"))
    with pytest.raises(CompressionError, match=r"config\.yml:5:7: .*fc1"):
        LevelPruner(path)(net)


def test_two_names_of_one_class(net: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path, PRINTED + PRINTED.replace("tfAGPruner", "AGPPruner"))
    with pytest.raises(CompressionError, match=r"both AGPPruner and AGPruner"):
        AGPPruner(net, path)


@pytest.mark.parametrize("given", ["missing.yml", Path("missing.yml"), Path("missing")])
def test_a_file_that_is_not_there(net: nn.Module, given: Any) -> None:
    with pytest.raises(CompressionError, match=r"given missing.*a file that can be read .No such file"):
        LevelPruner(net, given)
