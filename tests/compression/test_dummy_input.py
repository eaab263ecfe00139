"""With an example input, masks extend to all that goes with a channel: kept, copied, nested and withdrawn with them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression import report
from autoprune.compression.torch import (
    AGPPruner,
    L1NormPruner,
    LayerInfo,
    LevelPruner,
    LotteryTicketPruner,
    MovementPruner,
    Pruner,
    ScheduledPruner,
    SlimPruner,
)
from autoprune.compression.torch.compact import tracing
from autoprune.compression.torch.masking import Masked
from autoprune.errors import UsageError
from tests.compression.coupled_nets import (
    CONVOLUTIONS,
    IMAGE,
    Residual,
    agree,
    built,
    equal,
    gone,
    paired,
    trained,
)
from tests.compression.loops import dropped
from tests.compression.zoo import ZOO

NETS = ("resnet18", "resnext", "mobilenet_v2", "unet_groupnorm", "shufflenet", "lstm", "convnext")


@pytest.mark.parametrize("mode", ["uniform", "dependency_aware"])
@pytest.mark.parametrize(
    "name", ["resnet18", "resnext", "mobilenet_v2", "unet_groupnorm", "shufflenet", "lstm", "convnext"]
)
def test_the_masked_model_gives_what_the_smaller_one_gives(name: str, mode: str) -> None:
    net, example = ZOO[name].build().eval(), ZOO[name].example()
    entry = {"sparsity": 0.5, "op_types": ["default"], "mode": mode, "granularity": "filter"}
    before = copy.deepcopy(net.state_dict())
    pruner = L1NormPruner(net, [entry], dummy_input=example)
    _, masks = pruner.compress()
    assert agree(net, masks, example)
    assert equal(pruner.compress()[1], masks)
    pruner.unwrap()
    assert pruner.masks == {}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_what_extends_holds_while_training_and_in_copies() -> None:
    net = built(Residual)
    _, masks = L1NormPruner(
        net, [{"sparsity": 0.5, **CONVOLUTIONS}], dependency_aware=True, dummy_input=IMAGE
    ).compress()
    copied = copy.deepcopy(net)
    for model in (net, copied):
        trained(model)
        for layer, own in masks.items():
            for name, keep in own.items():
                value = model.get_submodule(layer).get_parameter(name)
                assert bool((value[~keep] == 0).all())
                assert bool((value[keep] != 0).all())
        assert agree(model, masks, IMAGE)


@pytest.mark.parametrize(
    ("name", "mode"), [("resnext", "uniform"), ("resnext", "dependency_aware"), ("vit", "uniform")]
)
def test_masks_of_a_rising_schedule_nest(name: str, mode: str) -> None:
    net, example = ZOO[name].build().eval(), ZOO[name].example()
    entry = {"final_sparsity": 0.75, "end_epoch": 4, "op_types": ["Conv2d", "Linear"], "granularity": "filter"}
    pruner = AGPPruner(net, [entry], pruning_algorithm="l1_norm", mode=mode, dummy_input=example)
    before = pruner.compress()[1]
    for epoch in range(1, 5):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn(parameter.shape) * parameter.abs())
        pruner.step()
        pruner.update_epoch(epoch)
        now = pruner.masks
        assert all(not bool((now[layer][key] & ~before[layer][key]).any()) for layer in before for key in before[layer])
        before = now
    assert agree(net, before, example)


def test_what_is_no_longer_asked_for_is_withdrawn() -> None:
    net = built(Residual)
    before = copy.deepcopy(net.state_dict())
    pruner = paired(net)
    pruner.compress()
    assert {"bn0", "bn1", "bn2", "fc"} < pruner.masks.keys()
    pruner.prune([replace(budget, sparsity=0.0) for budget in pruner.plan()])
    assert pruner.masks.keys() == {"stem", "first", "second"}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_what_moves_takes_its_extension_along() -> None:
    net = built(Residual)
    entry = {"final_sparsity": 0.5, "end_epoch": 1, "granularity": "filter", **CONVOLUTIONS}
    pruner = MovementPruner(net, [entry], dummy_input=IMAGE)
    pruner.compress()
    for epoch in range(1, 4):
        trained(net)
        pruner.update_epoch(epoch)
        assert dropped(pruner.masks["bn1"]["bias"]) == gone(pruner.masks, "first")
        assert len(gone(pruner.masks, "first")) == 3


def test_a_model_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[nn.Module] = []
    trace = tracing.traced
    monkeypatch.setattr(tracing, "traced", lambda model, example: (seen.append(model), trace(model, example))[1])
    net = built(Residual)
    entry = {"final_sparsity": 0.5, "end_epoch": 3, "granularity": "filter", **CONVOLUTIONS}
    pruner = AGPPruner(net, [entry], mode="dependency_aware", dummy_input=IMAGE)
    pruner.compress()
    for epoch in range(1, 4):
        pruner.update_epoch(epoch)
    assert seen == [net]
    copied = copy.deepcopy(pruner)
    copied.update_epoch(4)
    assert seen == [net, copied.model]


def test_rounds_and_schedules() -> None:
    net = built(Residual)
    entry = {"prune_iterations": 2, "sparsity": 0.5, "granularity": "filter", **CONVOLUTIONS}
    ticket = LotteryTicketPruner(net, [entry], mode="dependency_aware", dummy_input=IMAGE)
    ticket.compress()
    for _ in ticket.get_prune_iterations():
        ticket.prune_iteration_start()
        trained(net, 2)
    assert agree(net, ticket.masks, IMAGE)
    ticket.unwrap()
    pruner = paired(net)
    _, masks = ScheduledPruner(pruner, "linear", total_iteration=3, finetuner=trained).compress()
    assert gone(masks, "stem") == gone(masks, "second")
    assert agree(net, masks, IMAGE)


class Larger(Pruner):
    def calc_mask(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return (
            (weight.abs().flatten(1).sum(1) > weight.abs().flatten(1).sum(1).median())
            .view(-1, 1, 1, 1)
            .expand_as(weight)
        )


def test_masks_that_a_pruner_gives_itself_extend_too() -> None:
    net = built(Residual)
    _, masks = Larger(net, [{"op_names": ["first"]}], dummy_input=IMAGE).compress()
    assert dropped(masks["bn1"]["weight"]) == dropped(masks["first"]["bias"]) == gone(masks, "first")
    with pytest.raises(UsageError, match="round_to: given 4; expected none: Larger gives its masks itself"):
        Larger(net, [{"op_names": ["first"], "round_to": 4}])


def test_a_report_says_what_nobody_asked_for() -> None:
    net = built(Residual)
    L1NormPruner(net, [{"sparsity": 0.5, "op_names": ["first"]}], dummy_input=IMAGE).compress()
    rows = {(row.layer, row.parameter): (row.requested, row.achieved) for row in report(net).rows}
    assert rows == {
        ("first", "weight"): ("0.5", 0.5),
        ("first", "bias"): ("-", 0.5),
        ("bn1", "weight"): ("-", 0.5),
        ("bn1", "bias"): ("-", 0.5),
        ("second", "weight"): ("-", 0.5),
    }


@pytest.mark.parametrize("name", ["lstm", "two_inputs"])
def test_inputs_by_name_and_by_place(name: str) -> None:
    net, example = ZOO[name].build().eval(), ZOO[name].example()
    layer = "fc1" if name == "lstm" else "image.0.0"
    pruner = L1NormPruner(net, [{"sparsity": 0.5, "op_names": [layer]}], dummy_input=example)
    assert len(gone(pruner.compress()[1], layer)) == net.get_submodule(layer).get_parameter("weight").shape[0] // 2


def test_a_compiled_model_is_looked_at_as_it_was_written() -> None:
    net = built(Residual)
    _, expected = L1NormPruner(copy.deepcopy(net), [{"sparsity": 0.5, **CONVOLUTIONS}], dummy_input=IMAGE).compress()
    compiled: Any = torch.compile(net, backend="eager")
    assert equal(L1NormPruner(compiled, [{"sparsity": 0.5, **CONVOLUTIONS}], dummy_input=IMAGE).compress()[1], expected)


def test_an_error_on_the_way_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    net = built(Residual)
    pruner = paired(net)
    before = copy.deepcopy(net.state_dict())
    set_vote, calls = Masked.set_vote, iter(range(100))

    def fails(held: Masked, owner: str, vote: Any) -> None:
        if next(calls) == 7:
            raise RuntimeError("no memory")
        set_vote(held, owner, vote)

    monkeypatch.setattr(Masked, "set_vote", fails)
    with pytest.raises(RuntimeError, match="no memory"):
        pruner.compress()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any("_autoprune_masks" in vars(module) for module in net.modules())


def test_nothing_changes_without_an_example() -> None:
    net = built(Residual)
    _, masks = L1NormPruner(net, [{"sparsity": 0.5, **CONVOLUTIONS}]).compress()
    assert {layer: list(own) for layer, own in masks.items()} == {
        name: ["weight"] for name in ("stem", "first", "second")
    }


def test_the_example_may_come_before_the_model() -> None:
    one, other = built(Residual), built(Residual)
    entries = [{"sparsity": 0.5, **CONVOLUTIONS}]
    _, masks = L1NormPruner(entries, dependency_aware=True, dummy_input=IMAGE)(one)
    assert equal(masks, paired(other).compress()[1])


def test_single_weights_and_slimming() -> None:
    """Where no channel is gone nothing extends; a channel that slimming takes goes everywhere."""
    net = built(Residual)
    _, masks = LevelPruner(net, [{"sparsity": 0.3, **CONVOLUTIONS}], dummy_input=IMAGE).compress()
    assert masks.keys() == {"stem", "first", "second"}
    net = built(Residual)
    _, masks = SlimPruner(net, [{"total_sparsity": 0.5, "op_names": ["bn1"]}], dummy_input=IMAGE).compress()
    assert gone(masks, "first") == dropped(masks["bn1"]["weight"])
    assert agree(net, masks, IMAGE)


def test_a_layer_that_is_exchanged_is_traced_anew() -> None:
    """Between two epochs, a model may get another head: masks extend to what is there then."""
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    entry = {"final_sparsity": 0.5, "end_epoch": 2, "granularity": "filter", "op_names": ["0"]}
    pruner = AGPPruner(model, [entry], dummy_input=torch.randn(2, 5))
    pruner.compress()
    model.append(nn.Linear(3, 8))
    model[2] = nn.Linear(8, 3, bias=False)
    pruner.update_epoch(2)
    assert set(pruner.masks) == {"0", "2"}
    assert int((~pruner.masks["2"]["weight"]).any(0).sum()) == 4
