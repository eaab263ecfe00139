"""config_list: which layers an entry selects, and what every mistake says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from autoprune.compression.core.errors import ConfigListError
from autoprune.compression.torch import AGPPruner, LevelPruner, Pruner, unwrap
from autoprune.errors import UsageError

ALL = {"sparsity": 0.5, "op_types": ["default"]}


def shares(model: nn.Module, entries: list[dict[str, Any]]) -> dict[str, float]:
    """The sparsity each layer got, in quarters."""
    masks = LevelPruner(model, entries).compress()[1]
    return {name: round(4 * (1 - float(layer["weight"].float().mean()))) / 4 for name, layer in masks.items()}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([ALL], {"conv0": 0.5, "conv1": 0.5, "fc": 0.5}),
        ([{"sparsity": 0.5}], {"conv0": 0.5, "conv1": 0.5, "fc": 0.5}),
        ([{"sparsity": 0.5, "op_types": ["Conv2d"]}], {"conv0": 0.5, "conv1": 0.5}),
        ([{"sparsity": 0.5, "op_types": ["Conv2d", "Linear"], "op_names": ["fc"]}], {"fc": 0.5}),
        ([{"sparsity": 0.5, "op_partial_names": ["conv"]}], {"conv0": 0.5, "conv1": 0.5}),
        ([{"sparsity": 0.5, "op_partial_names": ["n"]}], {"conv0": 0.5, "conv1": 0.5}),
        ([{"sparsity": 0.5, "op_partial_names": ["conv"], "op_names": ["conv1", "fc"]}], {"conv1": 0.5}),
        ([{"sparsity": 0.5, "op_types": ["BatchNorm2d"]}], {"bn": 0.5}),
        ([ALL, {"sparsity": 0.25, "op_names": ["fc"]}], {"conv0": 0.5, "conv1": 0.5, "fc": 0.25}),
        ([ALL, {"op_names": ["fc"], "exclude": True}], {"conv0": 0.5, "conv1": 0.5}),
        ([{"op_names": ["fc"], "exclude": True}, ALL], {"conv0": 0.5, "conv1": 0.5, "fc": 0.5}),
        ([ALL, {"op_names": ["fc"], "exclude": False, "sparsity": 0.25}], {"conv0": 0.5, "conv1": 0.5, "fc": 0.25}),
        (
            [ALL, {"op_types": ["Linear"], "op_names": ["conv0"], "exclude": True}],
            {"conv0": 0.5, "conv1": 0.5, "fc": 0.5},
        ),
        ([ALL, {"op_types": ["ReLU"], "exclude": True}], {"conv0": 0.5, "conv1": 0.5, "fc": 0.5}),
        ([{"sparsity": np.float32(0.5), "op_name": "conv0"}], {"conv0": 0.5}),
        ([{"sparsity": 0.5, "op_types": "default"}], {"conv0": 0.5, "conv1": 0.5, "fc": 0.5}),
        ([{"sparsity": 0.5, "support_type": "default"}], {"conv0": 0.5, "conv1": 0.5, "fc": 0.5}),
        ([{"sparsity": 0.5, "support_layer": "default", "support_op": ["conv0", "fc"]}], {"conv0": 0.5, "fc": 0.5}),
        ([{"sparsity_per_layer": 0.75, "op_names": ("fc",)}], {"fc": 0.75}),
        ([ALL, {"prune": False, "sparsity": 0.3, "support_op": ["fc"]}], {"conv0": 0.5, "conv1": 0.5}),
        ([{"prune": True, "sparsity": 0.5, "op_names": ["fc"]}], {"fc": 0.5}),
    ],
)
def test_selection(net: nn.Module, entries: list[dict[str, Any]], expected: dict[str, float]) -> None:
    assert shares(net, entries) == expected


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("default", ["config_list", "'default'", "a list of dicts"]),
        (ALL, ["put the dict in a list"]),
        ([], ["an empty list"]),
        ([ALL, "fc"], ["config_list[1]", "'fc'", "a dict"]),
        ([{"sparsty": 0.5}], ["config_list[0]", "'sparsty'", "did you mean sparsity?", "no sparsity"]),
        ([{1: 0.5, "sparsity": 0.5}], ["the key 1"]),
        ([{"op_names": ["fc"]}], ["no sparsity", "total_sparsity"]),
        ([{"sparsity": 1.0}], ["config_list[0].sparsity", "given 1.0", "up to but not 1"]),
        ([{"sparsity": -0.1}], ["-0.1"]),
        ([{"sparsity": float("nan")}], ["nan"]),
        ([{"sparsity": "0.5"}], ["'0.5'"]),
        ([{"sparsity": True}], ["True"]),
        ([{"sparsity": None}], ["None"]),
        ([{"sparsity": 0.5, "sparsity_per_layer": 0.5}], ["both sparsity and sparsity_per_layer"]),
        ([{"sparsity": 0.5, "total_sparsity": 0.5}], ["both sparsity and total_sparsity"]),
        ([{"sparsity": 0.5, "max_sparsity_per_layer": 0.9}], ["max_sparsity_per_layer alone", "total_sparsity"]),
        ([{"sparsity": 0.5, "op_name": "fc", "op_names": ["fc"]}], ["both op_name and op_names"]),
        ([{"sparsity": 0.5, "op_names": ["fc1"]}], ["config_list[0].op_names", "'fc1'", "did you mean fc?"]),
        ([{"sparsity": 0.5, "op_names": ["act"]}], ["'act', a ReLU", "a layer that it applies to"]),
        ([{"sparsity": 0.5, "op_names": []}], ["[]", "a name or a list of names"]),
        ([{"sparsity": 0.5, "op_names": [3]}], ["[3]", "a name or a list of names"]),
        ([{"sparsity": 0.5, "op_types": ["conv2d"]}], ["'conv2d'", "did you mean Conv2d?"]),
        ([{"sparsity": 0.5, "op_types": ["Conv3d"]}], ["'Conv3d'", "a type that the model has"]),
        ([{"sparsity": 0.5, "op_types": ["ReLU"]}], ["'ReLU'", "a type that it applies to"]),
        ([{"sparsity": 0.5, "op_partial_names": ["layer"]}], ["'layer'", "a part of a layer's name"]),
        ([{"sparsity": 0.5, "op_partial_names": ["act"]}], ["'act'"]),
        (
            [{"sparsity": 0.5, "op_types": ["Linear"], "op_names": ["conv0"]}],
            ["op_types Linear and op_names conv0", "meets all of it"],
        ),
        ([ALL, {"exclude": True}], ["config_list[1]", "no selector"]),
        ([ALL, {"exclude": True, "op_names": ["fc1"]}], ["config_list[1].op_names", "did you mean fc?"]),
        ([ALL, {"exclude": True, "op_types": ["Conv3d"]}], ["'Conv3d'"]),
        ([ALL, {"exclude": "yes", "op_names": ["fc"], "sparsity": 0.5}], ["'yes'", "true or false"]),
        ([{"exclude": True, "prune": True, "op_names": ["fc"]}], ["contradict"]),
        ([{"final_sparsity": 0.5, "sparsity": 0.5}], ["'final_sparsity'"]),
    ],
)
def test_mistakes(net: nn.Module, entries: Any, said: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        LevelPruner(net, entries)
    assert isinstance(caught.value, ValueError)
    assert all(words in str(caught.value) for words in said)


def test_all_mistakes_are_in_one_error(net: nn.Module) -> None:
    entries = [
        {"sparsty": 0.5, "op_names": ["fc"]},
        {"sparsity": 2, "op_types": ["conv2d"]},
        {"sparsity": 0.5, "op_names": ["conv9", "fc"], "op_partial_names": ["zzz"]},
    ]
    with pytest.raises(ConfigListError) as caught:
        LevelPruner(net, entries)
    assert [problem.path for problem in caught.value.problems] == [
        "config_list[0].sparsty",
        "config_list[0]",
        "config_list[1].sparsity",
        "config_list[1].op_types",
        "config_list[2].op_names",
        "config_list[2].op_partial_names",
    ]


def test_agp_names_what_is_missing(net: nn.Module) -> None:
    with pytest.raises(ConfigListError) as caught:
        AGPPruner(net, [{"op_types": ["default"]}])
    assert "no final_sparsity" in str(caught.value)
    assert "no end_epoch" in str(caught.value)


def test_an_excluding_entry_may_carry_a_schedule(net: nn.Module) -> None:
    """As in the oldest YAML form: the schedule is repeated, and the selectors of the entry meet in no layer."""
    schedule = {"start_epoch": 0, "end_epoch": 20, "frequency": 2, "initial_sparsity": 0.05, "final_sparsity": 0.6}
    entries = [
        {**schedule, "support_type": "default"},
        {"prune": False, **schedule, "support_type": ["Linear"], "support_op": ["conv0", "conv1"]},
    ]
    assert list(AGPPruner(net, entries).compress()[1]) == ["conv0", "conv1", "fc"]


def test_a_config_list_is_checked_before_there_is_a_model() -> None:
    with pytest.raises(UsageError, match="sparsty"):
        LevelPruner([{"sparsty": 0.5}])
    with pytest.raises(UsageError, match="LevelPruner: given no sparsity"):
        LevelPruner()
    with pytest.raises(UsageError, match="did you mean final_sparsity"):
        AGPPruner(finalsparsity=0.5, end_epoch=3)
    with pytest.raises(UsageError, match="'op_types'"):
        LevelPruner(sparsity=0.5, op_types=["default"])


def test_a_call_needs_a_model(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="given no model"):
        LevelPruner([ALL]).compress()
    with pytest.raises(UsageError, match="as the model"):
        LevelPruner([ALL])("model")
    with pytest.raises(UsageError, match="as the model"):
        LevelPruner("model", [ALL])


def test_keywords_beside_a_list_hold_where_an_entry_says_nothing(net: nn.Module) -> None:
    entries: list[dict[str, Any]] = [{"op_names": ["fc"]}, {"op_names": ["conv1"], "sparsity": 0.25}]
    _, masks = LevelPruner(net, entries, sparsity=0.5).compress()
    assert {name: float(layer["weight"].float().mean()) for name, layer in masks.items()} == {"conv1": 0.75, "fc": 0.5}
    for keyword, entry in (
        ("total_sparsity", "sparsity_per_layer"),
        ("sparsity", "total_sparsity"),
        ("mode", "allocation"),
    ):
        value = {"mode": "global", "allocation": "uniform"}
        given = [{"sparsity": 0.5, "op_names": ["fc"]} if entry == "allocation" else {"op_names": ["fc"]}]
        given[0][entry] = value.get(entry, 0.25)
        _, masks = LevelPruner(net, given, **{keyword: value.get(keyword, 0.5)}).compress()
        assert float(masks["fc"]["weight"].float().mean()) == (0.5 if entry == "allocation" else 0.75)
        unwrap(net)
    with pytest.raises(
        UsageError, match=r"LevelPruner.sparsty: given the keyword 'sparsty'; .* .did you mean sparsity"
    ):
        LevelPruner(net, entries, sparsty=0.5)


def test_subclasses_of_layers_are_layers_of_that_type() -> None:
    class Block(nn.Conv2d):
        pass

    model = nn.Sequential(Block(2, 2, 2))
    for name in ("default", "Block", "Conv2d"):
        assert shares(model, [{"sparsity": 0.5, "op_types": [name]}]) == {"0": 0.5}


def test_a_parametrised_layer_has_no_weight_of_its_own() -> None:
    model = nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4))
    with pytest.raises(UsageError, match="given '0', whose weight is parametrized"):
        LevelPruner(model, [ALL])
    assert shares(model, [ALL, {"exclude": True, "op_names": ["0"]}]) == {"1": 0.5}
    with pytest.raises(UsageError, match="given '0', whose weight is parametrized"):
        LevelPruner(model, [{"sparsity": 0.5, "op_names": ["0"]}])


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_layer_must_be_initialised_first() -> None:
    with pytest.raises(UsageError, match="run the model once"):
        LevelPruner(nn.Sequential(nn.LazyLinear(4)), [ALL])


def test_a_pruner_must_say_how_it_prunes(net: nn.Module) -> None:
    with pytest.raises(NotImplementedError, match="override score or calc_mask"):
        Pruner(net, [ALL]).compress()
