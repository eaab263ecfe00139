"""Every net of the zoo, pruned in every structured way, becomes smaller and gives what the masked one gives."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import (
    ActivationAPoZRankPruner,
    ActivationMeanRankPruner,
    FPGMPruner,
    L1NormPruner,
    L2NormPruner,
    LevelPruner,
    Pruner,
    RandomPruner,
    SlimPruner,
    TaylorFOWeightPruner,
    load_compact,
    save_compact,
    speedup,
)
from tests.compression import zoo_convolutions as conv
from tests.compression.compacting import assert_macs, compact, masks_of, outputs, run, staying
from tests.compression.recount import call, macs, parameters, shapes
from tests.compression.zoo import ZOO

every_net = pytest.mark.parametrize("name", ZOO)
FILTERS = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "Linear"]
OBSERVED = [*FILTERS[:3], "Linear"]
NORMS = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]
STAYS_WHOLE = {"two_inputs"}
"""Features that are flattened and then joined with others: Torch-Pruning can not follow them."""

Entries = list[dict[str, Any]]


def squares(output: Any, _: Any) -> Tensor:
    return torch.stack([part.square().mean() for part in outputs(output)]).sum()


def entry(model: nn.Module, types: list[str], **settings: Any) -> Entries:
    """For all layers of these types; a type that no layer has would be an error."""
    had = {type(module).__name__ for module in model.modules()}
    return [{"op_types": [each for each in types if each in had], **settings}]


def by_filter(kind: type[Pruner]) -> Callable[[nn.Module, float, Any], Pruner]:
    return lambda model, sparsity, _: kind(model, entry(model, FILTERS, granularity="filter", sparsity=sparsity))


def by_data(kind: Callable[..., Pruner], types: list[str]) -> Callable[[nn.Module, float, Any], Pruner]:
    def build(model: nn.Module, sparsity: float, example: Any) -> Pruner:
        entries = entry(model, types, sparsity=sparsity, granularity="filter")
        return kind(model, entries, batches=[(example, torch.zeros(1))] * 2, loss=squares)

    return build


PRUNERS: dict[str, Callable[[nn.Module, float, Any], Pruner]] = {
    "l1": by_filter(L1NormPruner),
    "l2": by_filter(L2NormPruner),
    "fpgm": by_filter(FPGMPruner),
    "level": by_filter(LevelPruner),
    "random": by_filter(RandomPruner),
    "apoz": by_data(ActivationAPoZRankPruner, OBSERVED),
    "mean": by_data(ActivationMeanRankPruner, OBSERVED),
    "taylor": by_data(TaylorFOWeightPruner, FILTERS),
    "slim": lambda model, sparsity, _: SlimPruner(model, entry(model, NORMS, total_sparsity=sparsity)),
}


def pruned(name: str, pruner: str, sparsity: float) -> nn.Module:
    model = ZOO[name].build().eval()
    PRUNERS[pruner](model, sparsity, ZOO[name].example()).compress()
    return model.eval()


def check(model: nn.Module, masks: Any, name: str, folder: Path) -> nn.Module | None:
    """All that holds of a smaller model; where nothing can go, the error names layers and reasons."""
    example = ZOO[name].example()
    try:
        small = compact(model, masks, example)
    except CompressionError as error:
        if not re.search(r"nothing can be removed; \d+ masked channels stay, as zeros: \d+ of [\w.]+: \w", str(error)):
            raise
        return None
    assert parameters(small) < parameters(model)
    assert_macs(model, small, example)
    expected = run(small, example)
    saved = load_compact(ZOO[name].build, save_compact(small, folder / "small.safetensors"))
    for other in (saved, copy.deepcopy(small)):
        assert parameters(other) == parameters(small)
        assert all(torch.equal(one, two) for one, two in zip(expected, run(other, example), strict=True))
    return small


def steps(model: nn.Module, name: str, make: Callable[[Any], torch.optim.Optimizer]) -> None:
    """One step changes parameters of every layer, and no shape."""
    trained = copy.deepcopy(model).train()
    before = {key: value.detach().clone() for key, value in trained.named_parameters()}
    optimizer = make(trained.parameters())
    torch.autograd.backward(squares(call(trained, ZOO[name].example()), None))
    optimizer.step()
    for key, value in trained.named_parameters():
        assert value.shape == before[key].shape
        assert value.grad is not None, key
        assert value.grad.shape == value.shape, key
        if float(value.grad.abs().max()) > 1e-5:
            assert not torch.equal(value, before[key]), key
    assert any(not torch.equal(value, before[key]) for key, value in trained.named_parameters())


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


@every_net
def test_the_first_half_of_all_filters(name: str, tmp_path: Path) -> None:
    """Masks that agree between all layers: residual nets shrink too."""
    model = ZOO[name].build().eval()
    small = check(model, masks_of(model, only=selected(model)), name, tmp_path)
    if name in STAYS_WHOLE:
        assert small is None
        return
    assert small is not None
    steps(small, name, sgd)
    steps(small, name, adam)


def selected(model: nn.Module) -> list[str]:
    """Not `out_proj`, which an attention computes with itself."""
    return [name for name, _ in model.named_modules() if not name.endswith("out_proj")]


HALVES: dict[str, Callable[[], nn.Module]] = {
    "vgg": partial(conv.vgg, width=4),
    "vgg_plain": partial(conv.vgg, width=4, bn=False),
    "resnet18": partial(conv.resnet, conv.BasicBlock, (2, 2, 2, 2), width=4),
    "resnet50": partial(conv.resnet, conv.Bottleneck, (3, 4, 6, 3), width=4),
    "mobilenet_v2": partial(conv.mobilenet_v2, width=4),
    "densenet": partial(conv.densenet, width=4, growth=2),
    "unet_groupnorm": partial(conv.UNet, width=8),
    "squeeze_excite": partial(conv.squeeze_excite, width=8),
    "conv1d": partial(conv.conv1d, width=4),
    "conv3d": partial(conv.conv3d, width=4),
    "autoencoder": partial(conv.autoencoder, width=4),
    "generator": partial(conv.Generator, width=8),
    "inception": partial(conv.inception, width=4),
    "shared_conv": partial(conv.SharedConv, width=4),
    "prelu": partial(conv.prelu, width=4),
    "instance_norm": partial(conv.instance_norm, width=4),
    "instance_norm_tracked": partial(conv.instance_norm, width=4, tracked=True),
    "nonzero_at_zero": partial(conv.nonzero_at_zero, width=4),
}
"""The same nets, built with half as many channels."""


@pytest.mark.parametrize("name", HALVES)
def test_half_of_everything_is_the_net_of_half_the_width(name: str) -> None:
    model, example, expected = ZOO[name].build().eval(), ZOO[name].example(), HALVES[name]()
    small = speedup(model, masks_of(model), example)
    assert shapes(small) == shapes(expected)
    assert parameters(small) == parameters(expected)
    assert macs(small, example) == macs(expected, example)
    output = "reaches the output of the model"
    assert [reason for reasons in staying(small).values() for reason in reasons] == [output]


@every_net
def test_half_of_the_filters_by_their_norm(name: str, tmp_path: Path) -> None:
    check(pruned(name, "l1", 0.5), None, name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("pruner", PRUNERS)
@every_net
def test_every_structured_pruner(name: str, pruner: str, sparsity: float, tmp_path: Path) -> None:
    model = ZOO[name].build()
    if pruner == "slim" and not any(type(module).__name__ in NORMS for module in model.modules()):
        pytest.skip("it has no BatchNorm")
    model = pruned(name, pruner, sparsity)
    if (small := check(model, None, name, tmp_path)) is not None:
        steps(small, name, sgd)


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
@every_net
def test_masks_that_agree_at_every_sparsity(name: str, sparsity: float, tmp_path: Path) -> None:
    model = ZOO[name].build().eval()
    masks = masks_of(model, lambda width: range(int(width * sparsity)), selected(model))
    assert (check(model, masks, name, tmp_path) is None) == (name in STAYS_WHOLE)
