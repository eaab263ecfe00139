"""Every heuristic meets the budget, the same way each time, and leaves the model alone; and each is its formula."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from search.tasks import Images, Points
from torch import Tensor, nn

from autoprune.compression.torch import FisherPruner, LAMPPruner, LevelPruner, ScoresPruner
from autoprune.search.filters import FilterScaler
from autoprune.search.heuristics import Heuristic, Subject, heuristics, strongest_first
from autoprune.search.heuristics.synflow import ROUNDS
from autoprune.search.scaling import KINDS, Budget, Kind, Scaler
from autoprune.search.weights import WeightScaler

PAIRS = strongest_first(KINDS)
BUDGETS = {
    "weights": (Budget("sparsity", 0.9), Budget("parameters", 0.3), None),
    "filters": (Budget("macs", 0.4), Budget("sparsity", 0.6), None),
}


def scaler_of(kind: Kind, model: nn.Module, example: Any, budget: Budget | None) -> Scaler:
    if kind == "filters":
        return FilterScaler(model, example, budget, "layer")
    return WeightScaler(model, budget, "layer")


def subject(kind: Kind, budget: Budget | None, task: Points | None = None) -> Subject:
    task = task or Images()
    torch.manual_seed(3)
    model = task.build().train()
    task.train(model, 2)
    example = task.example_input()
    scaler = scaler_of(kind, model, example, budget)
    lost = {group.name: [(0.5, 1.0 + at), (0.9, 9.0), (0.98, 30.0 - at)] for at, group in enumerate(scaler.groups)}
    scores = {layer: torch.rand(model.get_submodule(layer).weight.shape) for layer in scaler.layers}
    return Subject(model, scaler, example, list(task.calibration_batches()), task.loss, lost, scores)


def state_of(model: nn.Module) -> dict[str, Any]:
    return {
        "values": {name: value.clone() for name, value in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "gradients": [each.grad is not None for each in model.parameters()],
        "trains": [each.requires_grad for each in model.parameters()],
        "random": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[union-attr]
    }


def assert_equal(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert all(torch.equal(value, after["values"][name]) for name, value in before["values"].items())
    assert torch.equal(before["random"], after["random"])
    for key in ("modes", "gradients", "trains", "numpy"):
        assert before[key] == after[key], key


def test_they_are_the_known_ones_the_strongest_first() -> None:
    assert [own.name for own, kind in PAIRS if kind == "weights"] == [
        "gradual", "fisher", "synflow", "lamp", "erk", "scan", "global", "uniform", "normalised"
    ]  # fmt: skip
    assert [own.name for own, _ in strongest_first(["filters"])] == ["uniform", "normalised", "scan", "lamp", "global"]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("kind_of_heuristic", "kind"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_contract(kind_of_heuristic: type[Heuristic], kind: Kind, place: int) -> None:
    budget = BUDGETS[kind][place]
    given = subject(kind, budget)
    optimizer = torch.optim.SGD(given.model.parameters(), lr=0.1)
    optimizer.zero_grad()
    before = state_of(given.model)
    heuristic = kind_of_heuristic()
    assert heuristic.obstacle(given) == ""
    raw = heuristic.sparsities(given)
    assert_equal(before, state_of(given.model))
    assert raw == kind_of_heuristic().sparsities(given)
    assert set(raw) == {group.name for group in given.scaler.groups}
    assert all(0 <= value < 1 for value in raw.values())
    if budget is not None:
        left = given.scaler.left(given.scaler.scaled(raw))
        limit = given.scaler.described()["limit"]
        assert left == limit if kind == "weights" else left <= limit


def kept(given: Subject, name: str) -> dict[str, int]:
    """How many weights of each layer the heuristic keeps within the budget."""
    allocation = given.scaler.scaled(heuristics.get(name)().sparsities(given))
    return {
        layer: round((1 - sparsity) * given.model.get_submodule(layer).get_parameter("weight").numel())
        for layer, sparsity in allocation.items()
    }


def masked(given: Subject, pruner: type[Any], **settings: Any) -> dict[str, int]:
    entries = [{"total_sparsity": 0.9, "op_names": list(kept(given, "uniform"))}]
    _, masks = pruner(copy.deepcopy(given.model), entries, **settings).compress()
    return {layer: int(own["weight"].sum()) for layer, own in masks.items()}


@pytest.mark.parametrize(
    ("name", "pruner", "settings"),
    [("lamp", LAMPPruner, {}), ("global", LevelPruner, {"mode": "global"}), ("erk", LevelPruner, {"mode": "erk"})],
)
def test_allocations_are_those_of_the_pruners(name: str, pruner: type[Any], settings: dict[str, Any]) -> None:
    given = subject("weights", Budget("sparsity", 0.9))
    expected, found = masked(given, pruner, **settings), kept(given, name)
    assert all(abs(found[layer] - count) <= 1 for layer, count in expected.items())


def test_fisher_is_what_its_pruner_keeps() -> None:
    given = subject("weights", Budget("sparsity", 0.9))
    expected = masked(given, FisherPruner, batches=given.batches, loss=given.loss)
    found = kept(given, "fisher")
    assert all(abs(found[layer] - count) <= 1 for layer, count in expected.items())


def test_gradual_is_one_ranking_of_its_scores() -> None:
    given = subject("weights", Budget("sparsity", 0.9))
    expected, found = masked(given, ScoresPruner, mode="global", scores=given.scores), kept(given, "gradual")
    assert all(abs(found[layer] - count) <= 1 for layer, count in expected.items())


def test_what_heuristics_want() -> None:
    given = subject("weights", Budget("sparsity", 0.9))
    inputs = Subject(given.model, given.scaler, given.example, [batch for batch, _ in given.batches], given.loss)
    assert "gradual is not one of the pruners" in heuristics.get("gradual")().obstacle(inputs)
    assert "calibration_batches of pairs" in heuristics.get("fisher")().obstacle(inputs)
    assert "search.scan" in heuristics.get("scan")().obstacle(inputs)


def test_uniform_is_even() -> None:
    given = subject("weights", Budget("sparsity", 0.9))
    sizes = {group.name: group.size for group in given.scaler.groups}
    assert all(abs(count - 0.1 * sizes[layer]) <= 1 for layer, count in kept(given, "uniform").items())


class Chain(Points):
    def build(self) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 4, bias=False))
        with torch.no_grad():
            model[1].weight.mul_(100)
        return model

    def train(self, model: nn.Module, epochs: int) -> None:
        """As built: the scales are what is tested."""


@pytest.mark.parametrize("name", ["normalised", "lamp"])
def test_the_scale_of_a_layer_does_not_matter_but_to_global(name: str) -> None:
    def scaled_by(factor: float, called: str) -> dict[str, int]:
        given = subject("weights", Budget("sparsity", 0.9), Chain())
        with torch.no_grad():
            given.model.get_submodule("1").get_parameter("weight").mul_(factor)
        return kept(given, called)

    assert scaled_by(1.0, name) == scaled_by(0.01, name)
    assert scaled_by(1.0, "global")["1"] > scaled_by(0.001, "global")["1"]


def test_normalised_is_magnitude_over_the_root_mean_square() -> None:
    given = subject("weights", Budget("sparsity", 0.9), Chain())
    weights = {name: given.model.get_submodule(name).get_parameter("weight").detach() for name in ("1", "3")}
    scores = {name: (weight.abs() / weight.square().mean().sqrt()).flatten() for name, weight in weights.items()}
    count = math.ceil(0.1 * sum(own.numel() for own in scores.values()))
    threshold = torch.cat(list(scores.values())).topk(count).values[-1]
    found = kept(given, "normalised")
    assert all(abs(found[name] - int((own >= threshold).sum())) <= 1 for name, own in scores.items())


def test_normalised_filters_go_by_the_mean_of_their_layer() -> None:
    given = subject("filters", Budget("macs", 0.4))
    with torch.no_grad():
        for group in given.scaler.groups:
            for layer in group.layers:
                given.model.get_submodule(layer).get_parameter("weight").mul_(1 + 5 * torch.rand(()))
    scaled = heuristics.get("normalised")().sparsities(given)
    with torch.no_grad():
        for group in given.scaler.groups:
            for layer in group.layers:
                given.model.get_submodule(layer).get_parameter("weight").mul_(0.1)
    assert heuristics.get("normalised")().sparsities(given) == scaled


def by_hand(weights: list[Tensor], density: float) -> list[int]:
    """SynFlow of a chain of linear layers, by the formula: what flows in times what flows out."""
    keep = [torch.ones_like(weight, dtype=torch.double) for weight in weights]
    for number in range(1, ROUNDS + 1):
        first, second = (weight.abs().double() * mask for weight, mask in zip(weights, keep, strict=True))
        scores = [first * second.sum(0)[:, None], second * first.sum(1)[None, :]]
        threshold = torch.cat([own.flatten() for own in scores]).topk(
            round(density ** (number / ROUNDS) * sum(own.numel() for own in scores))
        )
        keep = [(own >= threshold.values[-1]).double() for own in scores]
    return [int(mask.sum()) for mask in keep]


def test_synflow_is_its_formula() -> None:
    given = subject("weights", Budget("sparsity", 0.9), Chain())
    weights = [given.model.get_submodule(name).get_parameter("weight").detach() for name in ("1", "3")]
    total = sum(weight.numel() for weight in weights)
    expected = by_hand(weights, math.floor(0.1 * total + 1) / total)
    assert all(abs(one - other) <= 1 for one, other in zip(kept(given, "synflow").values(), expected, strict=True))


def test_the_scan_prunes_what_loses_least() -> None:
    given = subject("weights", Budget("sparsity", 0.7), Chain())
    curves = {"1": [(0.5, 30.0), (0.9, 60.0)], "3": [(0.5, 0.0), (0.9, 0.1)]}
    hard = Subject(given.model, given.scaler, given.example, lost=curves)
    easy = Subject(given.model, given.scaler, given.example, lost={"1": curves["3"], "3": curves["1"]})
    first, second = (heuristics.get("scan")().sparsities(each) for each in (hard, easy))
    assert first["3"] > second["3"]
    assert first["1"] < second["1"]
