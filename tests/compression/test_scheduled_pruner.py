"""Any pruner on any schedule: what each task prunes, where it starts from, and which of them the model ends as."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from autoprune.compression.core.schedules import schedule, schedules
from autoprune.compression.torch import (
    AGPPruner,
    FPGMPruner,
    L1NormPruner,
    LAMPPruner,
    LevelPruner,
    NMPruner,
    Pruner,
    RandomPruner,
    SensitivityPruner,
)
from autoprune.compression.torch.pruners.scheduled import ScheduledPruner, TaskRecord
from autoprune.errors import UsageError

SIZES = {"conv0": 36, "conv1": 216, "fc": 960}


def level(model: nn.Module, sparsity: float = 0.8, **settings: Any) -> Any:
    return LevelPruner(model, [{"sparsity": sparsity, "op_types": ["default"], **settings}])


def pooled(model: nn.Module, sparsity: float = 0.8) -> Any:
    return LevelPruner(model, [{"total_sparsity": sparsity, "op_types": ["default"]}])


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def pruned(masks: dict[str, dict[str, Tensor]]) -> dict[str, int]:
    return {layer: int((~own["weight"]).sum()) for layer, own in masks.items()}


def noisy(model: nn.Module) -> None:
    """Training that needs no data: every value moves, and what is masked stays zero."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    for buffer in model.buffers():
        buffer.add_(1)


def scripted(scores: list[float]) -> Callable[[nn.Module], float]:
    left = iter(scores)
    return lambda model: next(left)


def test_each_step_prunes_what_the_formula_says(net: nn.Module) -> None:
    trained, seen = [], []

    def finetune(model: nn.Module) -> None:
        trained.append(model)
        noisy(model)

    scheduled = ScheduledPruner(level(net), "agp", total_iteration=4, finetuner=finetune, on_task=seen.append)
    model, masks = scheduled.compress()
    shares = [0, 37 / 64, 56 / 64, 63 / 64, 1]
    asked = [0.8 * share for share in shares]
    assert [record.sparsities["fc"] for record in scheduled.history] == pytest.approx(asked)
    counts = [sum(math.floor(size * value + 1e-9) for size in SIZES.values()) for value in asked]
    assert [record.achieved for record in scheduled.history] == pytest.approx([count / 1212 for count in counts])
    assert [record.at_target for record in scheduled.history] == [False] * 4 + [True]
    assert [record.score for record in scheduled.history] == [None] * 5
    assert seen == scheduled.history
    assert scheduled.best is scheduled.history[-1]
    assert model is net is scheduled.model
    assert trained == [net] * 5
    assert pruned(masks) == pruned(scheduled.masks) == {"conv0": 28, "conv1": 172, "fc": 768}


def test_steps_go_on_from_one_another_and_nest(net: nn.Module) -> None:
    scheduled: Any = None
    before: dict[str, Any] = {"masks": None, "values": values(net)}

    def finetune(model: nn.Module) -> None:
        masks = scheduled.masks
        for layer, own in masks.items():
            expected = before["values"][f"{layer}.weight"] * own["weight"]
            assert torch.equal(model.get_submodule(layer).weight, expected)
            assert before["masks"] is None or not bool((own["weight"] & ~before["masks"][layer]["weight"]).any())
        noisy(model)
        before.update(masks=masks, values=values(model))

    scheduled = ScheduledPruner(level(net), "linear", total_iteration=5, finetuner=finetune)
    scheduled.compress()
    assert len(scheduled.history) == 6


def test_a_task_that_prunes_less_than_the_target_cannot_be_the_best(net: nn.Module) -> None:
    scheduled = ScheduledPruner(
        level(net), "linear", total_iteration=2, finetuner=noisy, evaluator=scripted([0.99, 0.9, 0.1])
    )
    _, masks = scheduled.compress()
    assert scheduled.best == scheduled.history[2]
    assert scheduled.best.score == 0.1
    assert pruned(masks)["fc"] == 768


def test_where_all_tasks_are_at_the_target_the_best_of_them_stays(net: nn.Module) -> None:
    ends = []

    def finetune(model: nn.Module) -> None:
        noisy(model)
        ends.append(values(model))

    scores = [0.5, 0.7, 0.7, 0.6]
    scheduled = ScheduledPruner(
        level(net, 0.0), "linear", total_iteration=3, finetuner=finetune, evaluator=scripted(scores)
    )
    scheduled.compress()
    assert scheduled.best is scheduled.history[1]
    assert same(values(net), ends[1])


def test_lottery_rounds_train_the_dense_model_first_and_rewind_after_each_pruning(net: nn.Module) -> None:
    theta_0, starts, masks = values(net), [], []
    optimizer = torch.optim.Adam(net.parameters())
    steps = []

    def finetune(model: nn.Module) -> None:
        starts.append(values(model))
        masks.append(scheduled.masks)
        steps.append(len(optimizer.state))
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        noisy(model)

    scheduled = ScheduledPruner(
        level(net), "lottery_ticket", total_iteration=5, finetuner=finetune, optimizer=optimizer
    )
    scheduled.compress()
    assert [record.sparsities["fc"] for record in scheduled.history] == pytest.approx(
        [0.2752, 0.4747, 0.6193, 0.7241, 0.8], abs=5e-5
    )
    assert steps == [0] * 6
    assert masks[0] == {}
    assert same(starts[0], theta_0)
    for start, own in zip(starts[1:], masks[1:], strict=True):
        for name, value in start.items():
            layer, _, parameter = name.rpartition(".")
            keep = own.get(layer, {}).get(parameter, torch.ones_like(value, dtype=torch.bool))
            assert torch.equal(value, theta_0[name] * keep)


def test_a_lottery_round_prunes_what_training_made_small(net: nn.Module) -> None:
    """Theta_0 is large where training makes it small: rewound weights would be pruned elsewhere."""
    with torch.no_grad():
        net.fc.weight.copy_(torch.arange(960.0, 0, -1).view(10, 96))

    def finetune(model: Any) -> None:
        with torch.no_grad():
            model.fc.weight.copy_(torch.arange(1.0, 961).view(10, 96) * (model.fc.weight != 0))

    pruner = LevelPruner(net, [{"sparsity": 0.5, "op_names": ["fc"]}])
    ScheduledPruner(pruner, "lottery_ticket", total_iteration=2, finetuner=finetune).compress()
    kept = pruner.masks["fc"]["weight"].flatten()
    assert not bool(kept[:480].any())
    assert bool(kept[480:].all())


def annealed(model: nn.Module, pruner: Any, **options: Any) -> Any:
    """Sixteen tasks, of which that of step 9 scores best, and the weights and masks they start and end with."""
    notes: dict[str, list[Any]] = {"start": [], "end": [], "masks": []}

    def finetune(trained: nn.Module) -> None:
        notes["start"].append(values(trained))
        noisy(trained)
        notes["end"].append(values(trained))
        notes["masks"].append(scheduled.masks)

    options = {"evaluator": scripted([0.1 * (7 * step % 16) for step in range(16)]), "seed": 3, **options}
    scheduled = ScheduledPruner(pruner, "simulated_annealing", finetuner=finetune, **options)
    scheduled.compress()
    return scheduled, notes


@pytest.mark.parametrize("of", [level, pooled])
def test_annealing_keeps_the_total_and_gives_each_layer_its_own(net: nn.Module, of: Callable[..., Any]) -> None:
    scheduled, notes = annealed(net, of(net))
    assert len(scheduled.history) == 16
    assert all(record.at_target for record in scheduled.history)
    for record, masks in zip(scheduled.history, notes["masks"], strict=True):
        assert list(record.sparsities) == ["conv0", "conv1", "fc"]
        assert sum(pruned(masks).values()) == math.floor(1212 * 0.8 + 1e-9)
        for layer, count in pruned(masks).items():
            assert count == math.floor(SIZES[layer] * record.sparsities[layer] + 1e-9) < SIZES[layer]
    assert len({tuple(pruned(masks).values()) for masks in notes["masks"]}) > 10


def test_annealing_starts_each_task_from_the_dense_weights(net: nn.Module) -> None:
    dense = values(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    optimizer.state[net.fc.weight]["momentum_buffer"] = torch.ones_like(net.fc.weight)
    _, notes = annealed(net, level(net), optimizer=optimizer)
    for start, masks in zip(notes["start"], notes["masks"], strict=True):
        for name, value in start.items():
            layer, _, parameter = name.rpartition(".")
            keep = masks.get(layer, {}).get(parameter, torch.ones_like(value, dtype=torch.bool))
            assert torch.equal(value, dense[name] * keep)


def test_annealing_ends_as_its_best_task(net: nn.Module) -> None:
    dense = values(net)
    scheduled, notes = annealed(net, pooled(net))
    best = 9
    assert scheduled.best is scheduled.history[best]
    assert same(values(net), notes["end"][best])
    masks = notes["masks"][best]
    for layer, own in scheduled.masks.items():
        assert torch.equal(own["weight"], masks[layer]["weight"])
    noisy(net)
    for layer, own in masks.items():
        assert not bool(net.get_submodule(layer).weight[~own["weight"]].any())
    trained = values(net)
    scheduled.unwrap()
    for layer, own in masks.items():
        name = f"{layer}.weight"
        assert torch.equal(net.state_dict()[name], torch.where(own["weight"], trained[name], dense[name]))


def test_annealing_again_starts_from_the_weights_of_that_moment(net: nn.Module) -> None:
    starts: list[Any] = []

    def finetune(model: nn.Module) -> None:
        starts.append((values(model), scheduled.masks))
        noisy(model)

    scheduled = ScheduledPruner(level(net), "simulated_annealing", finetuner=finetune, evaluator=lambda model: 0.5)
    initial = values(net)["fc.weight"]
    scheduled.compress()
    dense = torch.where(scheduled.masks["fc"]["weight"], values(net)["fc.weight"], initial)
    starts.clear()
    scheduled.compress()
    assert len(starts) == len(scheduled.history) == 16
    for start, own in starts:
        kept = own["fc"]["weight"]
        assert torch.equal(start["fc.weight"], dense * kept)
        assert dense[~kept].abs().max() <= dense[kept].abs().min()


def test_the_masks_of_others_outlive_a_search(net: nn.Module) -> None:
    other = LevelPruner(net, [{"sparsity": 0.3, "op_names": ["fc"]}])
    _, masks = other.compress()
    annealed(net, pooled(net))
    assert torch.equal(other.masks["fc"]["weight"], masks["fc"]["weight"])
    assert not bool(net.fc.weight[~masks["fc"]["weight"]].any())


def test_layers_that_lose_the_same_filters_stay_together() -> None:
    model = nn.Sequential(nn.Conv2d(2, 10, 3), nn.Conv2d(10, 10, 1), nn.Conv2d(10, 10, 3))
    pruner = L1NormPruner(
        model, [{"sparsity": 0.5, "op_types": ["Conv2d"], "mode": "dependency_aware"}], groups=[["0", "2"]]
    )
    scheduled = ScheduledPruner(pruner, "simulated_annealing", evaluator=lambda model: 0.5)
    _, masks = scheduled.compress()
    assert list(scheduled.history[0].sparsities) == ["0 + 2", "1"]
    assert torch.equal(masks["0"]["weight"][:, 0, 0, 0], masks["2"]["weight"][:, 0, 0, 0])


@pytest.mark.parametrize("name", schedules.names())
@pytest.mark.parametrize(
    "of",
    [LevelPruner, RandomPruner, L1NormPruner, FPGMPruner, LAMPPruner, SensitivityPruner],
    ids=lambda of: of.__name__,
)
def test_any_pruner_on_any_schedule(name: str, of: Any, net: nn.Module) -> None:
    pruner = of(net, [{"sparsity": 0.5, "op_types": ["Conv2d", "Linear"]}])
    scheduled = ScheduledPruner(pruner, name, finetuner=noisy, evaluator=lambda model: model.fc.weight.sum())
    model, masks = scheduled.compress()
    assert len(scheduled.history) == len(scheduled.schedule)
    assert scheduled.best is not None
    assert 0.4 < scheduled.best.achieved <= 0.5
    for layer, own in masks.items():
        assert not bool(model.get_submodule(layer).weight[~own["weight"]].any())


def test_a_pruner_with_a_schedule_of_its_own_ends_at_its_target(net: nn.Module) -> None:
    pruner = AGPPruner(net, [{"final_sparsity": 0.6, "end_epoch": 10}])
    scheduled = ScheduledPruner(pruner, "one_shot")
    _, masks = scheduled.compress()
    assert pruned(masks)["fc"] == 576


def test_a_pool_is_one_budget_with_the_name_of_its_entry(net: nn.Module) -> None:
    scheduled = ScheduledPruner(pooled(net), "linear", total_iteration=2)
    scheduled.compress()
    assert [record.sparsities for record in scheduled.history] == [{"config_list[0]": value} for value in (0, 0.4, 0.8)]
    assert [round(record.achieved * 1212) for record in scheduled.history] == [0, 484, 969]


def test_the_weights_of_an_lstm_have_names_of_their_own() -> None:
    pruner = LevelPruner(nn.Sequential(nn.LSTM(4, 4)), [{"sparsity": 0.5, "op_types": ["LSTM"]}])
    scheduled = ScheduledPruner(pruner, "one_shot")
    _, masks = scheduled.compress()
    assert list(scheduled.history[0].sparsities) == ["0.weight_ih_l0", "0.weight_hh_l0"]
    assert all(int((~keep).sum()) == 32 for keep in masks["0"].values())


@pytest.mark.parametrize("name", schedules.names())
def test_it_writes_what_the_pruner_writes_and_no_schedule_is_unfinished(
    net: nn.Module, tmp_path: Path, name: str
) -> None:
    scheduled = ScheduledPruner(level(net), name, finetuner=noisy, evaluator=lambda model: 0.5)
    scheduled.compress()
    written = scheduled.export(tmp_path / "net.safetensors")
    assert same(load_file(written.weights), values(net))
    assert written.unfinished == ()


@pytest.mark.parametrize("score", [math.nan, math.inf, "good", None])
def test_a_score_must_be_a_number(net: nn.Module, score: Any) -> None:
    scores = iter([0.5, 0.5, score])
    scheduled = ScheduledPruner(level(net), "linear", evaluator=lambda model: next(scores))
    with pytest.raises(UsageError, match="as the score of task 2; expected a finite number"):
        scheduled.compress()
    assert len(scheduled.history) == 2


def test_scores_of_torch_are_numbers(net: nn.Module) -> None:
    scheduled = ScheduledPruner(level(net), "one_shot", evaluator=lambda model: torch.tensor(0.25))
    scheduled.compress()
    assert scheduled.history == [TaskRecord(0, {"conv0": 0.8, "conv1": 0.8, "fc": 0.8}, 968 / 1212, 0.25, True)]


@pytest.mark.parametrize("name", ["linear", "lottery_ticket", "simulated_annealing"])
def test_a_finetuner_that_fails_leaves_the_masks_of_its_task(net: nn.Module, name: str) -> None:
    calls = []

    def finetune(model: nn.Module) -> None:
        calls.append(model)
        noisy(model)
        if len(calls) == 4:
            raise RuntimeError("out of memory")

    scheduled = ScheduledPruner(level(net), name, finetuner=finetune, evaluator=lambda model: 0.5)
    with pytest.raises(RuntimeError, match="out of memory"):
        scheduled.compress()
    assert len(scheduled.history) == (2 if name == "lottery_ticket" else 3)
    masks = scheduled.masks
    assert sum(pruned(masks).values()) > 0
    noisy(net)
    for layer, own in masks.items():
        assert torch.equal(net.get_submodule(layer).weight == 0, ~own["weight"])
    scheduled.unwrap()
    assert int((net.fc.weight == 0).sum()) == 0


class Halves(Pruner):
    def calc_mask(self, layer: Any, weight: Tensor) -> Tensor:
        return torch.ones_like(weight)


def test_what_cannot_be_scheduled(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="given the schedule simulated_annealing without an evaluator"):
        ScheduledPruner(level(net), "simulated_annealing")
    with pytest.raises(UsageError, match="did you mean linear"):
        ScheduledPruner(level(net), "liner")
    with pytest.raises(UsageError, match="did you mean total_iteration"):
        ScheduledPruner(level(net), "linear", total_iterations=3)
    with pytest.raises(UsageError, match="given a Linear and the arguments total_iteration"):
        ScheduledPruner(level(net), schedule("linear"), total_iteration=3)
    with pytest.raises(UsageError, match="given 3 as schedule"):
        ScheduledPruner(level(net), 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected a pruner"):
        ScheduledPruner(net, "linear")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="as evaluator; expected a function"):
        ScheduledPruner(level(net), "linear", evaluator=0.9)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Halves, which gives its masks itself"):
        ScheduledPruner(Halves(net, [{"op_names": ["fc"]}]), "linear").compress()


def test_what_cannot_be_searched(net: nn.Module) -> None:
    capped = LevelPruner(net, [{"total_sparsity": 0.5, "max_sparsity_per_layer": 0.9}])
    with pytest.raises(UsageError, match=r"config_list\[0\]: given max_sparsity_per_layer with"):
        ScheduledPruner(capped, "simulated_annealing", evaluator=lambda model: 0.5).compress()
    pattern = NMPruner(net, [{"op_names": ["fc"]}])
    with pytest.raises(UsageError, match="given the pattern 2:4 with the schedule simulated_annealing"):
        ScheduledPruner(pattern, "simulated_annealing", evaluator=lambda model: 0.5).compress()
