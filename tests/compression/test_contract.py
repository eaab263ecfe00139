"""What every pruner and every quantizer promises; one that is added is tested by being there."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoprune.compression import report
from autoprune.compression.torch import Pruner, Quantizer, achieved_sparsity, names
from autoprune.compression.torch.layers import BATCH_NORMS
from autoprune.errors import UsageError

KINDS = {kind.__name__: kind for kind in names.algorithms().values()}
PRUNERS = sorted(name for name, kind in KINDS.items() if issubclass(kind, Pruner))
QUANTIZERS = sorted(name for name, kind in KINDS.items() if issubclass(kind, Quantizer))
BATCHES = [
    (torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(seed)), torch.arange(8)) for seed in range(3)
]
HALF = 0.5


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for inputs, target in BATCHES:
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model(inputs), target))
        optimizer.step()


class Case:
    """A pruner that is asked for half of each layer, with the data and the keys that it needs."""

    def __init__(self, name: str, model: nn.Module) -> None:
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        kind = KINDS[name]
        entry: dict[str, Any] = {key.name: 1 for key in kind.keys if key.required}
        entry |= {kind.final_key: HALF}
        entry |= {"op_types": ["BatchNorm2d"]} if set(kind.supported) == set(BATCH_NORMS) else {}
        wanted = inspect.signature(kind).parameters
        scores = {layer: torch.rand(model.get_submodule(layer).weight.shape) for layer in ("conv0", "conv1", "fc")}
        given: dict[str, Any] = {
            "batches": BATCHES, "loss": functional.cross_entropy, "optimizer": self.optimizer, "scores": scores
        }  # fmt: skip
        self.pruner = kind(model, [entry], **{key: value for key, value in given.items() if key in wanted})

    def finish(self) -> dict[str, dict[str, Tensor]]:
        """To the end of the pruner's schedule, training on the way as its users do."""
        self.pruner.compress()
        rounds = getattr(self.pruner, "get_prune_iterations", lambda: ())()
        for _ in rounds:
            self.pruner.prune_iteration_start()
            trained(self.model, self.optimizer)
        trained(self.model, self.optimizer)
        self.pruner.update_epoch(1)
        masks: dict[str, dict[str, Tensor]] = self.pruner.masks
        return masks


@pytest.fixture(params=PRUNERS)
def case(request: pytest.FixtureRequest, net: nn.Module) -> Case:
    return Case(request.param, net)


def test_building_leaves_the_model_alone(case: Case) -> None:
    attributes = {name: set(vars(module)) for name, module in case.model.named_modules()}
    other = type(case.model)()
    before = state(other)
    Case(type(case.pruner).__name__, other)
    assert same(state(other), before)
    assert {name: set(vars(module)) for name, module in other.named_modules()} == attributes


def test_exactly_what_was_asked_for_is_zero_and_stays_zero(case: Case) -> None:
    masks = case.finish()
    assert masks
    pruned = total = 0
    for layer, parameters in masks.items():
        for name, keep in parameters.items():
            weight = case.model.get_submodule(layer).get_parameter(name)
            assert keep.dtype == torch.bool
            assert keep.shape == weight.shape
            assert not bool(weight[~keep].detach().view(torch.int32).any())
            if name != "bias":
                pruned, total = pruned + int((~keep).sum()), total + keep.numel()
    assert pruned <= HALF * total
    assert pruned > HALF * total - 20
    trained(case.model, torch.optim.AdamW(case.model.parameters(), lr=0.01, weight_decay=0.1))
    for layer, parameters in masks.items():
        for name, keep in parameters.items():
            assert not bool(case.model.get_submodule(layer).get_parameter(name)[~keep].any())


def test_masks_are_a_snapshot_and_the_report_says_what_was_asked(case: Case) -> None:
    masks = case.finish()
    kept = sum(int(keep.sum()) for layer in case.pruner.masks.values() for keep in layer.values())
    for layer in masks.values():
        for keep in layer.values():
            keep.fill_(True)
    assert sum(int(keep.sum()) for layer in case.pruner.masks.values() for keep in layer.values()) == kept
    made = report(case.model)
    assert made.kept == kept
    assert made.unfinished == ()
    assert all("0.5" in row.requested for row in made.rows)


def test_a_copy_is_sparse_by_itself(case: Case) -> None:
    masks = case.finish()
    twin = copy.deepcopy(case.model)
    before = state(twin)
    case.pruner.unwrap()
    assert same(state(twin), before)
    assert achieved_sparsity(twin) == pytest.approx(HALF, abs=0.04)
    trained(twin, torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9))
    for layer, parameters in masks.items():
        for name, keep in parameters.items():
            assert not bool(twin.get_submodule(layer).get_parameter(name)[~keep].any())


def test_unwrap_leaves_a_plain_model_with_the_kept_values(case: Case) -> None:
    attributes = {name: set(vars(module)) for name, module in type(case.model)().named_modules()}
    masks = case.finish()
    sparse = state(case.model)
    assert case.pruner.unwrap() is case.model
    for layer, parameters in masks.items():
        for name, keep in parameters.items():
            dense = case.model.get_submodule(layer).get_parameter(name)
            assert torch.equal(torch.where(keep, dense.detach(), 0), sparse[f"{layer}.{name}"])
    assert {name: set(vars(module)) for name, module in case.model.named_modules()} == attributes
    assert case.pruner.masks == {}
    with pytest.raises(UsageError, match="call compress"):
        case.pruner.update_epoch(2)


def test_a_nan_is_an_error_that_leaves_the_model_as_it_was(case: Case) -> None:
    """Or no concern of the pruner's, if it does not look at values: in no case is half of a model masked."""
    for name, parameter in case.model.named_parameters():
        if name in ("conv1.weight", "bn.weight"):
            with torch.no_grad():
                parameter.view(-1)[0] = float("nan")
    before = {name: set(vars(module)) for name, module in case.model.named_modules()}
    raised = ""
    try:
        case.pruner.compress()
    except UsageError as error:
        raised = str(error)
    if raised:
        assert "NaN" in raised or "finite" in raised
        assert {name: set(vars(module)) for name, module in case.model.named_modules()} == before
    else:
        assert case.pruner.masks


@pytest.fixture(params=QUANTIZERS)
def quantizer(request: pytest.FixtureRequest, net: nn.Module) -> Any:
    return KINDS[request.param](net, [{"quant_types": ["weight"], "quant_bits": 4, "op_types": ["Conv2d", "Linear"]}])


def test_a_quantizer_leaves_the_weights_in_float_under_their_names(quantizer: Any, net: nn.Module) -> None:
    before, image = state(net), BATCHES[0][0]
    plain = net.eval()(image)
    assert quantizer.compress() is net
    assert same(state(net), before)
    quantised = net(image)
    assert not torch.allclose(plain, quantised)
    assert torch.equal(copy.deepcopy(net)(image), quantised)
    assert quantizer.unwrap() is net
    assert torch.equal(net(image), plain)
    assert same(state(net), before)


def test_a_quantized_model_trains_its_float_weights(quantizer: Any, net: nn.Module) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    quantizer.compress()
    before = state(net)
    trained(net, optimizer)
    for name in ("conv0.weight", "conv1.weight", "fc.weight"):
        assert not torch.equal(net.state_dict()[name], before[name])
