"""What people get wrong, and what they are told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import autoprune.compression.torch as library
from autoprune.compression.torch import (
    ActivationMeanRankPruner,
    AGPPruner,
    LevelPruner,
    LotteryTicketPruner,
    Masking,
    NaiveQuantizer,
    NMPruner,
    Pruner,
    QATQuantizer,
    ScheduledPruner,
    SensitivityPruner,
    SparsePruner,
    achieved_sparsity,
    masking,
    report,
    unwrap,
)
from autoprune.errors import UsageError

HALF: list[dict[str, Any]] = [{"sparsity": 0.5}]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", [LevelPruner, AGPPruner, NaiveQuantizer, QATQuantizer])
def test_an_optimizer_that_other_libraries_needed(net: nn.Module, kind: Any) -> None:
    with pytest.raises(UsageError, match=rf"{kind.__name__}: given a SGD after the config_list; expected no optimizer"):
        kind(net, HALF, sgd(net))
    with pytest.raises(
        UsageError, match="given 'l1' after the config_list; expected its name: mode, pruning_algorithm"
    ):
        kind(net, HALF, "l1", 10)


def test_messages_do_not_print_whole_objects(net: nn.Module) -> None:
    calls: list[Any] = [
        lambda: LevelPruner(net.state_dict(), HALF),
        lambda: LevelPruner(HALF)(net.state_dict()),
        lambda: ScheduledPruner(net, "linear"),  # type: ignore[arg-type]
        lambda: achieved_sparsity(None),  # type: ignore[arg-type]
        lambda: report(None),  # type: ignore[arg-type]
        lambda: report(LevelPruner(net, HALF).compress()[1]),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(UsageError, match=r"given .*; expected") as caught:
            call()
        assert len(str(caught.value)) < 200


def test_entries_that_leave_nothing(net: nn.Module, tied: nn.Module) -> None:
    exclude: list[dict[str, Any]] = [{"exclude": True, "op_types": ["default"]}]
    with pytest.raises(UsageError, match="at least one layer that is not excluded"):
        LevelPruner(net, exclude)
    with pytest.raises(UsageError, match=r"config_list\[1\] excludes every layer"):
        LevelPruner(tied, [{"sparsity": 0.5, "op_names": ["head"]}, {"exclude": True, "op_names": ["embed"]}])


def test_a_keyword_that_is_none_is_the_only_problem(net: nn.Module) -> None:
    with pytest.raises(UsageError) as caught:
        LevelPruner(net, HALF, mod="global")
    assert str(caught.value) == "LevelPruner.mod: given the keyword 'mod'; expected one it knows (did you mean mode?)"


def test_selectors_that_meet_nowhere_say_what_they_were(net: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"given op_partial_names bn; .* name op_types too: BatchNorm2d"):
        LevelPruner(net, [{"sparsity": 0.5, "op_partial_names": ["bn"]}])


@pytest.mark.parametrize("groups", [3, "fc", ["conv0", "conv1"]])
def test_groups_are_lists_of_names(net: nn.Module, groups: Any) -> None:
    with pytest.raises(UsageError, match="expected a list of lists of names"):
        LevelPruner(net, HALF, mode="dependency_aware", granularity="filter", groups=groups)


class Returns(Pruner):
    """Scores, or gives as a mask, whatever it is told."""

    def __init__(self, model: nn.Module, given: Any) -> None:
        super().__init__(model, HALF)
        self.given = given


class Scores(Returns):
    def score(self, layer: Any, weight: Tensor) -> Any:
        return self.given


class Masks(Returns):
    def calc_mask(self, layer: Any, weight: Tensor) -> Any:
        return self.given(weight)


def test_results_of_formulas_are_checked(net: nn.Module) -> None:
    for given in (None, [1, 2]):
        with pytest.raises(UsageError, match="as scores of layer 'conv0'; expected a tensor"):
            Scores(net, given).compress()
    for wrong in (torch.rand_like, lambda weight: weight, lambda weight: torch.full_like(weight, float("nan"))):
        with pytest.raises(UsageError, match="given other values than 0 and 1 for layer 'conv0'"):
            Masks(net, wrong).compress()
    assert not any("_autoprune" in name for module in net.modules() for name in vars(module))
    Masks(net, lambda weight: (weight > 0).float()).compress()


def test_an_optimizer_of_another_model(net: nn.Module) -> None:
    other = sgd(nn.Linear(2, 2))
    entry = [{"prune_iterations": 2, "sparsity": 0.5}]
    with pytest.raises(UsageError, match="an optimizer that holds no parameter of the model"):
        LotteryTicketPruner(net, entry, other).compress()
    with pytest.raises(UsageError, match="sgd"):
        Masking("sgd").add_module(net)  # type: ignore[arg-type]


def test_a_quality_never_empties_a_layer(net: nn.Module) -> None:
    _, masks = SensitivityPruner(net, [{"quality": 99}]).compress()
    assert [int(layer["weight"].sum()) for layer in masks.values()] == [1, 1, 1]
    for name in ("max_sparsity_per_layer", "allocation"):
        with pytest.raises(UsageError, match=f"quality with {name}"):
            SensitivityPruner([{"quality": 0.5, name: 0.5 if "max" in name else "global"}])


def test_a_pattern_is_not_divided(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="the allocation erk with a pattern"):
        NMPruner([{"allocation": "erk"}])


def test_all_mistakes_of_sparse_training_at_once(net: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"both density and sparsity|both sparsity and density"):
        SparsePruner(net, [{"density": 0.1, "sparsity": 0.9}])


def test_names_of_other_libraries() -> None:
    for name, said in {
        "LinearPruner": "ScheduledPruner",
        "ModelSpeedup": "speedup",
        "LevlPruner": "LevelPruner",
    }.items():
        with pytest.raises(AttributeError, match=said):
            getattr(library, name)
    assert library.ActivationMeanRankFilterPruner is ActivationMeanRankPruner


@pytest.mark.parametrize("name", ["movement", "lottery_ticket", "TaylorFOWeight", "sparse"])
def test_agp_takes_what_only_scores(net: nn.Module, name: str) -> None:
    with pytest.raises(UsageError, match="which does more than score weights"):
        AGPPruner(net, [{"final_sparsity": 0.5, "end_epoch": 2}], pruning_algorithm=name)
    entry = {"final_sparsity": 0.5, "end_epoch": 1, "granularity": "element"}
    with pytest.raises(UsageError, match="distances are between whole filters"):
        AGPPruner(net, [entry], pruning_algorithm="fpgm")


def test_what_pruners_and_reports_look_like(net: nn.Module) -> None:
    pruner = LevelPruner(net, HALF)
    assert repr(pruner) == "<LevelPruner of Net, not compressed>"
    pruner.compress()
    assert repr(pruner) == "<LevelPruner of Net, compressed>"
    assert repr(LevelPruner(HALF)) == "<LevelPruner without a model>"
    assert repr(report(net)) == str(report(net))


def test_a_masked_layer_that_is_parametrized_may_be_unwrapped(net: nn.Module) -> None:
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    layer = net.get_submodule("fc")
    nn.utils.parametrizations.weight_norm(layer)
    for call in (pruner.step, lambda: report(net), lambda: pruner.masks):
        with pytest.raises(UsageError, match=r"whose parameter 'weight', of shape .10, 96., is none any more"):
            call()
    unwrap(net)
    assert not any("_autoprune_masks" in vars(module) for module in net.modules())
    assert bool((net.get_submodule("conv1").get_parameter("weight") != 0).all())


def test_a_masked_layer_that_was_resized(net: nn.Module) -> None:
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    net.get_submodule("fc").weight = nn.Parameter(torch.ones(5, 96))
    with pytest.raises(UsageError, match=r"is one of shape \(5, 96\)"):
        report(net)
    pruner.unwrap()
    assert net.get_submodule("fc").get_parameter("weight").shape == (5, 96)


def test_a_failure_midway_leaves_nothing_masked() -> None:
    with torch.inference_mode():
        frozen = nn.Linear(8, 8)
    model = nn.Sequential(nn.Linear(8, 8), frozen)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError):
        LevelPruner(model, HALF).compress()
    assert torch.equal(model[0].get_parameter("weight"), before["0.weight"])
    assert "_autoprune_masks" not in vars(model[0])


def test_slim_with_half_of_what_training_needs(net: nn.Module) -> None:
    entry = [{"sparsity": 0.5, "op_types": ["BatchNorm2d"]}]
    with pytest.raises(UsageError, match="given no data"):
        library.SlimPruner(net, entry, optimizer=sgd(net), loss=nn.functional.cross_entropy)
    with pytest.raises(UsageError, match="given no data"):
        library.SlimPruner(net, entry, None, sgd(net), nn.functional.cross_entropy)


def test_keywords_yield_with_what_belongs_to_them(net: nn.Module) -> None:
    entries: list[dict[str, Any]] = [{"op_names": ["conv1"], "sparsity": 0.5}, {"op_names": ["fc"]}]
    _, masks = LevelPruner(net, entries, total_sparsity=0.75, max_sparsity_per_layer=0.9).compress()
    assert {name: float(layer["weight"].float().mean()) for name, layer in masks.items()} == {"conv1": 0.5, "fc": 0.25}
    unwrap(net)
    entries = [{"op_names": ["conv1"]}, {"op_names": ["fc"], "granularity": "2:4"}]
    _, masks = LevelPruner(net, entries, sparsity=0.75).compress()
    assert {name: float(layer["weight"].float().mean()) for name, layer in masks.items()} == {"conv1": 0.25, "fc": 0.5}


def test_a_shared_weight_that_is_replaced_in_one_place_stays_masked_in_the_other() -> None:
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    model[1].weight = model[0].weight
    first, second = LevelPruner(model, HALF), LevelPruner(model, [{"sparsity": 0.75}])
    first.compress()
    second.compress()
    model[0].weight = nn.Parameter(torch.ones(3, 6))
    first.unwrap()
    optimizer = sgd(model)
    model[1](torch.ones(2, 6)).sum().backward()
    optimizer.step()
    assert int((model[1].weight == 0).sum()) == 27


def test_a_failure_midway_with_parameters_that_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*(nn.BatchNorm1d(4) for _ in range(3)))
    model[1].bias = model[0].bias
    original, calls = masking.Masked.set_vote, iter(range(99))

    def failing(self: Any, owner: str, vote: Any) -> None:
        if next(calls) == 4:
            raise RuntimeError("out of memory")
        original(self, owner, vote)

    monkeypatch.setattr(masking.Masked, "set_vote", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        library.SlimPruner(model, [{"total_sparsity": 0.5, "op_types": ["BatchNorm1d"]}]).compress()
    assert list(masking.all_masked(model)) == []


def test_a_copy_made_while_a_quantized_model_runs_is_whole() -> None:
    copies: list[nn.Module] = []

    class Copying(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            copies.append(copy.deepcopy(self))
            return super().forward(x)

    model = nn.Sequential(Copying(4, 4))
    NaiveQuantizer(model, quant_bits=4).compress()
    with torch.no_grad():
        model(torch.ones(1, 4))
        taken = copies.pop(0)
        expected = model(torch.ones(1, 4))
        assert torch.equal(nn.Linear.forward(taken, torch.ones(1, 4)), expected)  # type: ignore[arg-type]
        taken.__class__ = nn.Linear
        assert torch.equal(taken(torch.ones(1, 4)), expected)
    assert isinstance(taken.weight, nn.Parameter)
