"""Masks hold under every optimizer and follow the model wherever it is copied, loaded, moved or saved."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch import LevelPruner, SparsePruner, achieved_sparsity, masking, unwrap

Train = Callable[..., None]
HALF = [{"sparsity": 0.5, "op_types": ["default"]}]
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, weight_decay=0.01),
}


def weight(model: nn.Module, layer: str = "fc") -> Tensor:
    return model.get_submodule(layer).get_parameter("weight").detach()


def zero_bits(values: Tensor) -> bool:
    return not bool(values.view(torch.int32).any())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pruned_weights_stay_bitwise_zero(net: nn.Module, train: Train, name: str) -> None:
    """The optimizer has momentum from dense training and is not told of the pruner."""
    optimizer = OPTIMIZERS[name](net.parameters())
    train(net, optimizer, steps=5)
    _, masks = LevelPruner(net, HALF).compress()
    before = {layer: weight(net, layer).clone() for layer in masks}
    train(net, optimizer, steps=20)
    for layer, parameters in masks.items():
        keep = parameters["weight"]
        assert zero_bits(weight(net, layer)[~keep])
        assert bool((weight(net, layer)[keep] != before[layer][keep]).all())


def test_clipping_sees_the_sparse_gradient(net: nn.Module) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    net(torch.randn(8, 1, 8, 8)).square().sum().backward()
    squares = [parameter.grad.square().sum() for parameter in net.parameters() if parameter.grad is not None]
    for layer, parameters in masks.items():
        gradient = net.get_submodule(layer).get_parameter("weight").grad
        assert gradient is not None
        assert zero_bits(gradient[~parameters["weight"]])
        assert bool((gradient[parameters["weight"]] != 0).any())
    norm = nn.utils.clip_grad_norm_(net.parameters(), 1e9)
    assert norm == pytest.approx(float(sum(squares)) ** 0.5, rel=1e-5)


def test_the_gradient_of_kept_weights_is_that_of_a_plain_sparse_model(net: nn.Module) -> None:
    LevelPruner(net, HALF).compress()
    plain = unwrap(copy.deepcopy(net), keep_zeros=True)
    batch = torch.randn(8, 1, 8, 8)
    for model in (net, plain):
        model(batch).square().sum().backward()
    keep = weight(net) != 0
    masked, dense = (model.get_submodule("fc").get_parameter("weight").grad for model in (net, plain))
    assert masked is not None
    assert dense is not None
    assert torch.equal(masked[keep], dense[keep])
    assert bool(dense[~keep].any())


def test_an_overflowed_gradient_leaves_no_nan_behind() -> None:
    layer = nn.Linear(4, 1, bias=False)
    model = nn.Sequential(layer)
    _, masks = LevelPruner(model, HALF).compress()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(torch.full((1, 4), float("inf")))).sum().backward()
    optimizer.step()
    assert zero_bits(layer.weight.detach()[~masks["0"]["weight"]])


def test_accumulated_and_sparse_gradients_are_masked() -> None:
    layer = nn.Embedding(6, 4, sparse=True)
    model = nn.Sequential(layer)
    _, masks = LevelPruner(model, HALF).compress()
    for _ in range(2):
        model(torch.tensor([1, 1, 4])).sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    rows = torch.zeros(6, 4)
    rows[1], rows[4] = 4, 2
    assert torch.equal(gradient.to_dense(), rows * masks["0"]["weight"])


def test_a_frozen_layer_may_be_thawed(net: nn.Module) -> None:
    parameter = net.get_submodule("fc").get_parameter("weight")
    parameter.requires_grad_(False)
    _, masks = LevelPruner(net, HALF).compress()
    assert not parameter.requires_grad
    parameter.requires_grad_(True)
    net(torch.randn(2, 1, 8, 8)).sum().backward()
    assert parameter.grad is not None
    assert zero_bits(parameter.grad[~masks["fc"]["weight"]])


def test_unwrap_gives_trained_and_shadowed_values(net: nn.Module, train: Train) -> None:
    dense = weight(net).clone()
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    train(net, torch.optim.Adam(net.parameters(), lr=0.01))
    trained, keep = weight(net).clone(), masks["fc"]["weight"]
    assert pruner.unwrap() is net
    assert torch.equal(weight(net), torch.where(keep, trained, dense))
    assert pruner.masks == {}


def test_unwrap_with_zeros_leaves_a_plain_model(net: nn.Module, train: Train) -> None:
    attributes = {name: set(module.__dict__) for name, module in net.named_modules()}
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    sparse = weight(net).clone()
    pruner.unwrap(keep_zeros=True)
    assert torch.equal(weight(net), sparse)
    assert {name: set(module.__dict__) for name, module in net.named_modules()} == attributes
    assert not any(module._load_state_dict_post_hooks for module in net.modules())
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert bool(weight(net)[~masks["fc"]["weight"]].all())


def test_a_copy_is_masked_by_itself(net: nn.Module, train: Train) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    dense = LevelPruner(copy.deepcopy(net), HALF)
    twin = copy.deepcopy(net)
    pruner.unwrap()
    train(twin, torch.optim.Adam(twin.parameters(), lr=0.01, weight_decay=0.1))
    keep = masks["fc"]["weight"]
    assert zero_bits(weight(twin)[~keep])
    twin(torch.randn(2, 1, 8, 8)).sum().backward()
    gradient = twin.get_submodule("fc").get_parameter("weight").grad
    assert gradient is not None
    assert zero_bits(gradient[~keep])
    unwrap(twin)
    assert torch.equal(weight(twin)[~keep], weight(net)[~keep])
    assert zero_bits(weight(dense.model)[~keep])


def test_a_pruner_is_copied_with_its_model(net: nn.Module) -> None:
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    twin, twin_pruner = copy.deepcopy((net, pruner))
    assert twin_pruner.model is twin
    twin_pruner.unwrap()
    assert bool(weight(twin).all())
    assert int((weight(net) == 0).sum()) == 480


def test_state_dict_has_the_original_names_and_loads_anywhere(net: nn.Module) -> None:
    names = list(net.state_dict())
    LevelPruner(net, HALF).compress()
    assert list(net.state_dict()) == names
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    plain = type(net)()
    plain.load_state_dict(torch.load(file))
    assert torch.equal(weight(plain), weight(net))


@pytest.mark.parametrize("assign", [False, True])
def test_loading_dense_weights_renews_the_shadow(net: nn.Module, assign: bool, train: Train) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    keep = masks["fc"]["weight"]
    other = type(net)()
    loaded = weight(other).clone()
    net.load_state_dict(other.state_dict(), assign=assign)
    assert zero_bits(weight(net)[~keep])
    assert torch.equal(weight(net)[keep], loaded[keep])
    net.requires_grad_(True)
    train(net, torch.optim.AdamW(net.parameters(), lr=0.01))
    assert zero_bits(weight(net)[~keep])
    pruner.unwrap()
    assert torch.equal(weight(net)[~keep], loaded[~keep])


def test_loading_a_sparse_checkpoint_keeps_the_shadow(net: nn.Module, train: Train) -> None:
    dense = weight(net).clone()
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    checkpoint = copy.deepcopy(net.state_dict())
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    net.load_state_dict(checkpoint)
    pruner.unwrap()
    assert torch.equal(weight(net), dense)
    assert bool(weight(net)[~masks["fc"]["weight"]].all())


def test_a_whole_model_is_pickled_with_its_masks(net: nn.Module, train: Train) -> None:
    dense = weight(net).clone()
    LevelPruner(net, HALF).compress()
    for saved in (pickle.loads(pickle.dumps(net)), _through_a_file(net)):
        train(saved, torch.optim.Adam(saved.parameters(), lr=0.01))
        assert int((weight(saved) == 0).sum()) == 480
        pruned = weight(saved) == 0
        unwrap(saved)
        assert torch.equal(weight(saved)[pruned], dense[pruned])


def _through_a_file(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def test_a_model_may_change_its_type(net: nn.Module, train: Train) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    keep = masks["fc"]["weight"]
    net.double()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    net(torch.randn(4, 1, 8, 8, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    assert not bool(weight(net)[~keep].view(torch.int64).any())
    net.bfloat16()
    pruner.step()
    assert not bool(weight(net)[~keep].any())
    pruner.unwrap()
    assert weight(net).dtype == torch.bfloat16
    assert bool(weight(net)[~keep].any())


def test_memory_formats_do_not_matter(net: nn.Module, train: Train) -> None:
    for parameter in net.parameters():
        parameter.data = (
            parameter.data.contiguous(memory_format=torch.channels_last) if parameter.ndim == 4 else parameter.data
        )
    _, masks = LevelPruner(net, HALF).compress()
    train(net, torch.optim.Adam(net.parameters(), lr=0.01))
    assert zero_bits(weight(net, "conv1")[~masks["conv1"]["weight"]])
    assert bool(weight(net, "conv1")[masks["conv1"]["weight"]].all())


def test_step_serves_loops_without_an_optimizer(net: nn.Module) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
    pruner.step()
    assert zero_bits(weight(net)[~masks["fc"]["weight"]])
    assert bool(weight(net)[masks["fc"]["weight"]].all())


def test_step_follows_a_replaced_parameter(net: nn.Module) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    layer = net.get_submodule("fc")
    layer.register_parameter("weight", nn.Parameter(torch.ones_like(weight(net))))
    pruner.step()
    assert torch.equal(weight(net), masks["fc"]["weight"].float())


def test_a_shared_weight_is_one_weight(tied: nn.Module) -> None:
    pruner = LevelPruner(tied, [{"sparsity": 0.5, "op_types": ["default"]}])
    _, masks = pruner.compress()
    assert list(masks) == ["embed", "mix"]
    optimizer = torch.optim.Adam(tied.parameters(), lr=0.01)
    tied(torch.arange(12)).square().sum().backward()
    optimizer.step()
    assert int((weight(tied, "head") == 0).sum()) == 48
    twin = copy.deepcopy(tied)
    assert twin.get_submodule("head").get_parameter("weight") is twin.get_submodule("embed").get_parameter("weight")
    twin.load_state_dict({name: torch.ones_like(value) for name, value in tied.state_dict().items()})
    assert torch.equal(weight(twin, "embed"), masks["embed"]["weight"].float())
    pruner.unwrap()
    assert bool(weight(tied, "head").all())
    assert not any("_autoprune_masks" in module.__dict__ for module in tied.modules())


def test_a_shared_weight_goes_by_the_name_that_was_selected(tied: nn.Module) -> None:
    entries = [{"sparsity": 0.5, "op_types": ["Embedding"]}, {"sparsity": 0.25, "op_names": ["head"]}]
    _, masks = LevelPruner(tied, entries).compress()
    assert list(masks) == ["head"]
    assert int((~masks["head"]["weight"]).sum()) == 24


def test_excluding_one_name_of_a_shared_weight_excludes_it(tied: nn.Module) -> None:
    entries = [{"sparsity": 0.5}, {"op_names": ["head"], "exclude": True}]
    assert list(LevelPruner(tied, entries).compress()[1]) == ["mix"]


def test_nothing_keeps_a_masked_model_alive(net: nn.Module) -> None:
    model = copy.deepcopy(net)
    LevelPruner(model, HALF).compress()
    held = weakref.ref(masking.attach(model.get_submodule("fc"), "weight"))
    parameter = weakref.ref(model.get_submodule("fc").get_parameter("weight"))
    del model
    gc.collect()
    assert held() is None
    assert parameter() is None


def test_what_is_called_sparse_is_sparse_after_a_parameter_was_replaced(net: nn.Module) -> None:
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    layer = net.get_submodule("fc")
    layer.register_parameter("weight", nn.Parameter(torch.ones_like(weight(net))))
    assert achieved_sparsity(net) == 0.5
    assert float((weight(net) == 0).float().mean()) == 0.5
    pruner.unwrap()
    assert torch.equal(weight(net), torch.ones_like(weight(net)))


def test_a_gradient_that_is_there_when_masks_come_is_masked(net: nn.Module) -> None:
    net(torch.randn(8, 1, 8, 8)).square().sum().backward()
    _, masks = LevelPruner(net, HALF).compress()
    for layer, parameters in masks.items():
        gradient = net.get_submodule(layer).get_parameter("weight").grad
        assert gradient is not None
        assert zero_bits(gradient[~parameters["weight"]])


def test_a_pruner_that_grows_needs_every_gradient_whoever_else_prunes(net: nn.Module, train: Train) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    SparsePruner(net, [{"density": 0.5}], optimizer).compress()
    _, masks = LevelPruner(net, [{"sparsity": 0.75}]).compress()
    net(torch.randn(8, 1, 8, 8)).square().sum().backward()
    gradient = net.get_submodule("fc").get_parameter("weight").grad
    assert gradient is not None
    assert bool(gradient[~masks["fc"]["weight"]].any())
    train(net, optimizer)
    assert zero_bits(weight(net)[~masks["fc"]["weight"]])


def test_masks_hold_whatever_the_layout_of_memory(train: Train) -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _, masks = LevelPruner(model, HALF).compress()
    train(model, torch.optim.Adam(model.parameters(), lr=0.01))
    for name, layer in masks.items():
        assert zero_bits(weight(model, name)[~layer["weight"]])
        assert bool((weight(model, name)[layer["weight"]] != 0).all())
