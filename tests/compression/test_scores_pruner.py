"""Scores: exactly the weights with the smallest of the given scores, whatever the weights are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.compression.command.choosing import Choice, at_once, check
from autoprune.compression.torch import AGPPruner, ScheduledPruner, ScoresPruner
from autoprune.errors import UsageError
from tests.compression.loops import dropped

ALL = [{"sparsity": 0.5}]


def random_scores(net: nn.Module, *layers: str) -> dict[str, Tensor]:
    return {layer: torch.rand(net.get_submodule(layer).get_parameter("weight").shape) for layer in layers}


def smallest(scores: Tensor, sparsity: float) -> np.ndarray:
    """What is kept, by a stable sort."""
    flat = scores.double().numpy().ravel()
    keep = np.ones(flat.size, dtype=bool)
    keep[np.argsort(flat, kind="stable")[: math.floor(flat.size * sparsity + 1e-9)]] = False
    return keep.reshape(scores.shape)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0, 0.999),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64]),
    st.integers(0, 99),
)
def test_masks_equal_a_stable_sort_of_the_scores(
    rows: int, columns: int, sparsity: float, dtype: torch.dtype, seed: int
) -> None:
    scores = torch.randint(-5, 5, (rows, columns), generator=torch.Generator().manual_seed(seed)).to(dtype)
    model = nn.Sequential(nn.Linear(columns, rows))
    _, masks = ScoresPruner(model, [{"sparsity": sparsity}], scores={"0": scores}).compress()
    assert np.array_equal(masks["0"]["weight"].numpy(), smallest(scores, sparsity))


def test_one_ranking_of_all_layers(net: nn.Module) -> None:
    scores = random_scores(net, "conv0", "conv1", "fc")
    before = {name: own.clone() for name, own in scores.items()}
    _, masks = ScoresPruner(net, [{"total_sparsity": 0.4}], scores=scores).compress()
    pooled = torch.cat([own.flatten() for own in scores.values()])
    keep = torch.cat([masks[name]["weight"].flatten() for name in scores])
    assert np.array_equal(keep.numpy(), smallest(pooled, 0.4))
    assert all(torch.equal(own, before[name]) for name, own in scores.items())


def test_a_filter_scores_the_sum_of_its_weights(net: nn.Module) -> None:
    scores = random_scores(net, "conv1")
    scores["conv1"][[1, 4]] -= 1
    entry = {"sparsity": 0.34, "op_names": ["conv1"], "granularity": "filter"}
    _, masks = ScoresPruner(net, [entry], scores=scores).compress()
    assert dropped(masks["conv1"]["weight"]) == [1, 4]


def test_scores_of_layers_that_are_not_pruned_are_left_alone(net: nn.Module) -> None:
    scores = {**random_scores(net, "conv0", "fc"), "conv1": torch.zeros(3)}
    _, masks = ScoresPruner(net, [{"sparsity": 0.5, "op_names": ["conv0", "fc"]}], scores=scores).compress()
    assert list(masks) == ["conv0", "fc"]


def test_a_schedule_prunes_step_by_step_by_the_same_scores(net: nn.Module) -> None:
    scores = random_scores(net, "conv0", "conv1", "fc")
    masks: list[Tensor] = []

    def train(model: nn.Module) -> None:
        masks.append(pruner.masks["fc"]["weight"])
        with torch.no_grad():
            model.get_submodule("fc").get_parameter("weight").normal_()

    pruner = ScoresPruner(net, ALL, scores=scores)
    ScheduledPruner(pruner, "agp", total_iteration=3, finetuner=train).compress()
    assert len(masks) > 1
    for keep in masks:
        pruned = 1 - int(keep.sum()) / keep.numel()
        assert np.array_equal(keep.numpy(), smallest(scores["fc"], pruned))
    assert masks[-1].sum() == scores["fc"].numel() // 2


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (None, r"ScoresPruner.scores: given None; expected a dict of tensors by layer"),
        ([torch.rand(2)], r"ScoresPruner.scores: given .*; expected a dict of tensors by layer"),
        ({"conv0": [1.0, 2.0]}, r"ScoresPruner.scores: given .*; expected a dict of tensors by layer"),
    ],
)
def test_what_are_no_scores(net: nn.Module, scores: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ScoresPruner(net, ALL, scores=scores)


def test_scores_that_do_not_fit_are_named_and_leave_the_model_alone(net: nn.Module) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    scores = random_scores(net, "conv0", "conv1", "fc")
    misspelled = {**random_scores(net, "conv0", "conv1"), "fc1": scores["fc"]}
    with pytest.raises(UsageError, match=r"ScoresPruner.scores: given none for .*fc.*did you mean fc1"):
        ScoresPruner(net, ALL, scores=misspelled).compress()
    scores["fc"] = scores["fc"].T
    with pytest.raises(UsageError, match=r"given shape \(96, 10\) for .*fc.*; expected that of its weight, \(10, 96\)"):
        ScoresPruner(net, ALL, scores=scores).compress()
    scores["fc"] = torch.full((10, 96), math.nan)
    with pytest.raises(UsageError, match=r"NaN|finite"):
        ScoresPruner(net, ALL, scores=scores).compress()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_it_stands_for_no_formula_and_the_command_line_has_no_scores_to_give(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="expected one that only scores, as LevelPruner"):
        AGPPruner(net, [{"final_sparsity": 0.5, "end_epoch": 1}], pruning_algorithm="scores")
    assert "scores" not in at_once()
    with pytest.raises(UsageError, match=r"--pruner: given ScoresPruner, which prunes by scores that it is given"):
        check(Choice("scores", sparsity=0.5))
