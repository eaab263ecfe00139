"""Lottery tickets: rounds prune what the paper says, and everything but the masks goes back to theta_0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, CyclicLR, ExponentialLR, OneCycleLR, SequentialLR, StepLR

from autoprune.compression.torch import LevelPruner, LotteryTicketPruner
from autoprune.errors import UsageError

Train = Callable[..., None]


def ticket(model: nn.Module, *states: Any, rounds: int = 5, sparsity: float = 0.8, **options: Any) -> Any:
    entry = {"prune_iterations": rounds, "sparsity": sparsity, "op_types": ["default"]}
    return LotteryTicketPruner(model, [entry], *states, **options)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_rounds_of_the_printed_sample(net: nn.Module, train: Train) -> None:
    optimizer = adam(net)
    pruner = ticket(net, optimizer)
    pruner.compress()
    shares = []
    for _ in pruner.get_prune_iterations():
        pruner.prune_iteration_start()
        train(net, optimizer, steps=2)
        shares.append(1 - float(pruner.masks["fc"]["weight"].double().mean()))
    assert shares == pytest.approx([0, 0.2752, 0.4747, 0.6193, 0.7241, 0.8], abs=1 / 960)


def test_each_round_prunes_the_smallest_trained_weights_of_those_left(net: nn.Module, train: Train) -> None:
    optimizer = adam(net)
    pruner = ticket(net, optimizer)
    pruner.compress()
    pruner.prune_iteration_start()
    for round_ in range(1, 6):
        before = pruner.masks["fc"]["weight"]
        train(net, optimizer)
        trained = net.fc.weight.detach().abs()
        pruner.prune_iteration_start()
        kept = pruner.masks["fc"]["weight"]
        assert int((~kept).sum()) == math.floor(960 * (1 - 0.2 ** (round_ / 5)) + 1e-9)
        assert not bool((kept & ~before).any())
        assert trained[before & ~kept].max() <= trained[kept].min()


def test_what_is_kept_goes_back_to_theta_0_bit_for_bit(net: nn.Module, train: Train) -> None:
    optimizer = adam(net)
    theta_0 = values(net)
    pruner = ticket(net, optimizer)
    pruner.compress()
    for _ in pruner.get_prune_iterations():
        pruner.prune_iteration_start()
        masked = {f"{layer}.{name}": keep for layer, own in pruner.masks.items() for name, keep in own.items()}
        for name, now in net.state_dict().items():
            keep = masked.get(name, torch.ones_like(now, dtype=torch.bool))
            assert torch.equal(now, theta_0[name] * keep)
        train(net, optimizer)
        assert not torch.equal(net.bn.running_mean, theta_0["bn.running_mean"])


def test_rounds_that_prune_nothing_train_alike(net: nn.Module, train: Train) -> None:
    """Weights, buffers, moments, step counts and learning rate: if any were not rewound, the rounds would differ."""
    optimizer = adam(net)
    train(net, optimizer)
    scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    pruner = ticket(net, optimizer, scheduler, rounds=3, sparsity=0.0)
    pruner.compress()
    ends = []
    for _ in pruner.get_prune_iterations():
        pruner.prune_iteration_start()
        torch.manual_seed(1)
        rates = []
        for _ in range(4):
            rates.append(optimizer.param_groups[0]["lr"])
            train(net, optimizer, steps=1)
            scheduler.step()
        assert rates == [0.01, 0.01, 0.005, 0.005]
        ends.append(values(net))
    assert all(same(end, ends[0]) for end in ends)


@pytest.mark.parametrize(
    "policy",
    [
        lambda optimizer: OneCycleLR(optimizer, max_lr=0.1, total_steps=6),
        lambda optimizer: CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=3),
        lambda optimizer: SequentialLR(optimizer, [ConstantLR(optimizer), ExponentialLR(optimizer, 0.5)], [2]),
    ],
    ids=["one cycle", "cyclic", "sequential"],
)
def test_policies_start_again(net: nn.Module, train: Train, policy: Callable[..., Any]) -> None:
    """The first moves the momentum too, and refuses to step beyond its end."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    scheduler = policy(optimizer)
    pruner = ticket(net, optimizer, scheduler)
    pruner.compress()
    seen: list[Any] = []
    for _ in pruner.get_prune_iterations():
        pruner.prune_iteration_start()
        group = optimizer.param_groups[0]
        seen.append([])
        for _ in range(5):
            seen[-1].append((group["lr"], group["momentum"], scheduler.get_last_lr()))
            train(net, optimizer, steps=1)
            scheduler.step()
    assert all(each == seen[0] for each in seen)
    assert len({rate for rate, _, _ in seen[0]}) > 1


def test_optimizer_state_goes_back_in_its_own_dtype(net: nn.Module, train: Train) -> None:
    optimizer = torch.optim.SGD(net.bfloat16().parameters(), lr=0.1, momentum=0.9)
    parameter = net.fc.weight
    moment = torch.randn(parameter.shape, dtype=torch.float32)
    optimizer.state[parameter]["momentum_buffer"] = moment.clone()
    pruner = ticket(net, optimizer)
    pruner.compress()
    for _ in range(2):
        pruner.prune_iteration_start()
        optimizer.state[parameter]["momentum_buffer"].mul_(2)
        optimizer.state[net.conv0.weight]["momentum_buffer"] = torch.ones(1)
        parameter.grad = torch.ones_like(parameter)
    pruner.prune_iteration_start()
    assert list(optimizer.state) == [parameter]
    restored = optimizer.state[parameter]["momentum_buffer"]
    assert restored.dtype == torch.float32
    assert torch.equal(restored, moment)
    assert optimizer.param_groups[0]["params"][0] is net.conv0.weight
    assert parameter.grad is None


def test_without_resetting_the_weights_stay_as_trained(net: nn.Module, train: Train) -> None:
    optimizer = adam(net)
    pruner = ticket(net, optimizer, reset_weights=False)
    pruner.compress()
    pruner.prune_iteration_start()
    train(net, optimizer)
    trained, steps = net.fc.weight.detach().clone(), optimizer.state[net.fc.weight]["step"].clone()
    pruner.prune_iteration_start()
    kept = pruner.masks["fc"]["weight"]
    assert not bool(kept.all())
    assert torch.equal(net.fc.weight, trained * kept)
    assert optimizer.state[net.fc.weight]["step"] == steps == 5


def test_compress_leaves_the_model_dense_and_again_changes_nothing(net: nn.Module, train: Train) -> None:
    theta_0 = values(net)
    pruner = ticket(net)
    _, masks = pruner.compress()
    assert all(bool(keep.all()) for layer in masks.values() for keep in layer.values())
    assert same(theta_0, values(net))
    pruner.prune_iteration_start()
    train(net, adam(net))
    pruner.prune_iteration_start()
    train(net, adam(net))
    before, kept = values(net), pruner.masks["fc"]["weight"]
    pruner.compress()
    assert same(before, values(net))
    assert torch.equal(pruner.masks["fc"]["weight"], kept)
    pruner.prune_iteration_start()
    assert torch.equal(net.fc.weight, theta_0["fc.weight"] * pruner.masks["fc"]["weight"])


def test_unwrap_gives_theta_0_back_where_it_was_pruned_and_starts_anew(net: nn.Module, train: Train) -> None:
    with torch.no_grad():
        net.conv1.weight.zero_()
    theta_0 = values(net)
    optimizer = adam(net)
    pruner = ticket(net, optimizer)
    pruner.compress()
    for _ in range(4):
        pruner.prune_iteration_start()
        train(net, optimizer)
    kept = pruner.masks
    trained = values(net)
    pruner.unwrap()
    for layer in ("conv0", "conv1", "fc"):
        name = f"{layer}.weight"
        assert torch.equal(net.state_dict()[name], torch.where(kept[layer]["weight"], trained[name], theta_0[name]))
    with pytest.raises(UsageError, match="call compress"):
        pruner.prune_iteration_start()
    again = values(net)
    _, masks = pruner.compress()
    assert bool(masks["fc"]["weight"].all())
    pruner.prune_iteration_start()
    assert same(again, values(net))
    pruner.prune_iteration_start()
    assert float(pruner.masks["fc"]["weight"].double().mean()) == pytest.approx(1 - 0.2752, abs=1 / 960)


def test_one_budget_for_all_layers(net: nn.Module) -> None:
    pruner = LotteryTicketPruner(net, [{"prune_iterations": 2, "total_sparsity": 0.75, "op_types": ["default"]}])
    pruner.compress()
    counts = []
    for _ in pruner.get_prune_iterations():
        pruner.prune_iteration_start()
        counts.append(sum(int((~layer["weight"]).sum()) for layer in pruner.masks.values()))
    assert counts == [0, 606, 909]


def test_entries_with_fewer_rounds_wait_at_their_target(net: nn.Module) -> None:
    pruner = LotteryTicketPruner(
        net,
        [
            {"prune_iterations": 3, "sparsity": 0.5, "op_names": ["fc"]},
            {"prune_iterations": 1, "sparsity": 0.5, "op_names": ["conv1"]},
            {"op_names": ["conv0"], "exclude": True},
        ],
    )
    pruner.compress()
    assert pruner.get_prune_iterations() == range(4)
    shares = []
    for _ in pruner.get_prune_iterations():
        pruner.prune_iteration_start()
        shares.append([1 - float(pruner.masks[layer]["weight"].double().mean()) for layer in ("conv1", "fc")])
    assert [conv for conv, _ in shares] == [0, 0.5, 0.5, 0.5]
    assert [fc for _, fc in shares] == pytest.approx([0, 1 - 0.5 ** (1 / 3), 1 - 0.5 ** (2 / 3), 0.5], abs=1 / 960)


def test_shared_weights_and_the_masks_of_others_survive(tied: nn.Module) -> None:
    other = LevelPruner(tied, [{"sparsity": 0.25, "op_names": ["mix"]}])
    other.compress()
    pruner = ticket(tied, rounds=1, sparsity=0.5)
    pruner.compress()
    theta_0 = tied.embed.weight.detach().clone()
    pruner.prune_iteration_start()
    with torch.no_grad():
        tied.embed.weight.mul_(3)
    pruner.prune_iteration_start()
    assert tied.head.weight is tied.embed.weight
    assert torch.equal(tied.embed.weight, theta_0 * pruner.masks["embed"]["weight"])
    assert torch.equal(tied.mix.weight == 0, ~(other.masks["mix"]["weight"] & pruner.masks["mix"]["weight"]))


def test_epochs_within_a_round_move_nothing(net: nn.Module) -> None:
    pruner = ticket(net)
    pruner.compress()
    for _ in range(2):
        pruner.prune_iteration_start()
    before = values(net)
    for epoch in range(9):
        pruner.update_epoch(epoch)
    assert same(before, values(net))


def test_calls_out_of_order_name_the_right_one(net: nn.Module) -> None:
    pruner = ticket(net, rounds=1)
    assert pruner.get_prune_iterations() == range(2)
    with pytest.raises(UsageError, match=r"call compress\(\) first"):
        pruner.prune_iteration_start()
    with pytest.raises(UsageError, match=r"call compress\(\) first"):
        pruner.update_epoch(1)
    pruner.compress()
    for _ in range(2):
        pruner.prune_iteration_start()
    masks = pruner.masks["fc"]["weight"]
    with pytest.raises(UsageError, match=r"after round 1, the last one.*unwrap\(\) and compress\(\)"):
        pruner.prune_iteration_start()
    assert torch.equal(pruner.masks["fc"]["weight"], masks)


def test_a_round_of_diverged_weights_changes_nothing(net: nn.Module) -> None:
    pruner = ticket(net)
    pruner.compress()
    pruner.prune_iteration_start()
    with torch.no_grad():
        net.fc.weight[0, 0] = math.nan
    with pytest.raises(UsageError, match="NaN"):
        pruner.prune_iteration_start()
    assert bool(pruner.masks["conv0"]["weight"].all())
    with torch.no_grad():
        net.fc.weight[0, 0] = 0
    pruner.prune_iteration_start()
    assert float(pruner.masks["fc"]["weight"].double().mean()) == pytest.approx(1 - 0.2752, abs=1 / 960)


def test_arguments_that_cannot_be(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="prune_iterations: given 0; expected a whole number, 1 or more"):
        ticket(net, rounds=0)
    with pytest.raises(UsageError, match=r"no prune_iterations"):
        LotteryTicketPruner(net, [{"sparsity": 0.5}])
    with pytest.raises(UsageError, match=r"given 'adam' as optimizer; expected a torch.optim.Optimizer"):
        ticket(net, "adam")
    with pytest.raises(UsageError, match="given an lr_scheduler without its optimizer"):
        ticket(net, None, StepLR(adam(net), 1))
    with pytest.raises(UsageError, match="given 3 as lr_scheduler"):
        ticket(net, adam(net), 3)
