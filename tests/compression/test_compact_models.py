"""Models written in every way: they become smaller and give the same, or it is said where they can not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import speedup
from tests.compression.compacting import compact, conv, image, masks_of, net, staying, untouched
from tests.compression.recount import parameters
from tests.compression.zoo import normal, tokens

Layers = dict[str, nn.Module | nn.Parameter]
Run = Callable[..., Any]
TWO: Callable[[], Layers] = lambda: {"a": conv(3, 8), "b": conv(8, 4)}  # noqa: E731
THREE: Callable[[], Layers] = lambda: {"a": conv(3, 8), "b": conv(8, 4), "d": conv(3, 8)}  # noqa: E731
INNER: Callable[[], Layers] = lambda: {"a": conv(3, 8), "b": conv(8, 4), "d": conv(8, 8)}  # noqa: E731


def other(outputs: int, inputs: int) -> Callable[[], Layers]:
    return lambda: {"a": conv(3, outputs), "b": conv(inputs, 4)}


def linear(inputs: int, *names: str) -> Callable[[], Layers]:
    return lambda: {**{name: nn.Linear(5, 8) for name in names}, "b": nn.Linear(inputs, 3)}


def halves(net: Any, x: Tensor) -> Any:
    first, second = net.a(x).chunk(2, 1)
    return net.b(first * torch.sigmoid(second))


def gated(net: Any, x: Tensor) -> Any:
    hidden = F.relu(net.a(x))
    gate = torch.cat([hidden.mean(1, True), hidden.amax(1, True)], 1)
    return net.b(hidden * torch.sigmoid(net.gate(gate)))


def shuffled(net: Any, x: Tensor) -> Any:
    hidden = net.a(x)
    mixed = hidden.view(len(x), 2, -1, *x.shape[2:]).transpose(1, 2).reshape(hidden.shape)
    return net.b(mixed)


def by_blocks(net: Any, x: Tensor) -> Any:
    hidden = net.a(x)
    return net.b(hidden[:, :4]) + net.d(hidden[:, 4:])


SMALLER: dict[str, tuple[Run, Callable[[], Layers]]] = {
    "in place": (lambda net, x: net.b(net.a(x).relu_().mul_(2).add_(1)), TWO),
    "sum of a stack": (lambda net, x: net.b(torch.stack([net.a(x), net.d(x)]).sum(0)), THREE),
    "joined with itself": (lambda net, x: (lambda h: net.b(torch.cat([h, -h], 1)))(net.a(x)), other(8, 16)),
    "joined with the input": (lambda net, x: net.b(torch.cat([x, net.a(x)], 1)), other(8, 11)),
    "channels last": (lambda net, x: net.b(net.a(x).permute(0, 2, 3, 1).sigmoid().permute(0, 3, 1, 2)), TWO),
    "several passes of dropout": (
        lambda net, x: sum(net.b(F.dropout2d(net.a(x), 0.5, net.training)) for _ in range(3)),
        TWO,
    ),
    "checkpoint": (lambda net, x: net.b(checkpoint(net.a, x, use_reentrant=False)), TWO),
    "interpolated": (lambda net, x: net.b(F.interpolate(net.a(x), scale_factor=2)), TWO),
    "residual": (lambda net, x: (lambda h: net.b(h + net.d(F.relu(h))))(net.a(x)), INNER),
    "padded": (lambda net, x: net.b(F.pad(net.a(x), (1, 1, 1, 1), value=3.0)), TWO),
    "a norm of vectors": (lambda net, x: net.b(F.normalize(net.a(x), dim=1)), TWO),
    "a parameter in between": (
        lambda net, x: net.b(net.a(x) * net.scale.exp()[:, None, None]),
        lambda: {**TWO(), "scale": nn.Parameter(torch.zeros(8))},
    ),
    "a layer that is not called": (lambda net, x: net.b(net.a(x)), lambda: {**TWO(), "spare": nn.PReLU(8)}),
    "outputs in lists": (lambda net, x: [net.b(net.a(x)), {"two": (net.b(net.a(x)), None, 3)}], TWO),
}

WHOLE: dict[str, tuple[Run, Callable[[], Layers], str]] = {
    "a weight used by itself": (
        lambda net, x: net.b(F.conv2d(net.a(x), net.d.weight, padding=1)), INNER, "does not run with fewer channels"
    ),
    "functional batch norm": (
        lambda net, x: net.b(F.batch_norm(net.a(x), net.n.running_mean, net.n.running_var)),
        lambda: {**TWO(), "n": nn.BatchNorm2d(8)},
        "does not run with fewer channels",
    ),
    "functional group norm": (lambda net, x: net.b(F.group_norm(net.a(x), 2)), TWO, "4 of a: b reads other channels"),
    "functional layer norm": (
        lambda net, x: net.b(F.layer_norm(net.a(x), (8, *x.shape[2:]))), TWO, "does not run with fewer"
    ),
    "local response norm": (lambda net, x: net.b(F.local_response_norm(net.a(x), 3)), TWO, "b reads other channels"),
    "softmax over channels": (lambda net, x: net.b(net.a(x).softmax(1)), TWO, "b reads other channels"),
    "mean over channels": (lambda net, x: net.b(net.a(x).mean(1, True)), other(8, 1), "of a: "),
    "gates over channels": (gated, lambda: {**TWO(), "gate": conv(2, 1)}, "of a: "),
    "channels turned around": (lambda net, x: net.b(net.a(x).flip(1)), TWO, "b reads other channels"),
    "channels moved on": (lambda net, x: net.b(net.a(x).roll(1, 1)), TWO, "b reads other channels"),
    "shuffled channels": (shuffled, TWO, "of a: "),
    "shuffled pixels": (lambda net, x: net.b(F.pixel_shuffle(net.a(x), 2)), other(8, 2), "of a: "),
    "chosen channels": (lambda net, x: net.b(net.a(x)[:, [1, 0, 7, 6]]), other(8, 4), "of a: "),
    "blocks of channels": (by_blocks, lambda: {"a": conv(3, 8), "b": conv(4, 4), "d": conv(4, 4)}, "of a: "),
    "chunks": (halves, other(8, 4), "of a: "),
    "sorted channels": (lambda net, x: net.b(net.a(x).sort(1).values), TWO, "compared with other channels"),
    "divided by their number": (
        lambda net, x: (lambda h: net.b(h / h.shape[1]))(net.a(x)), TWO, "4 of a: b reads other channels"
    ),
    "noise": (lambda net, x: (lambda h: net.b(h + torch.randn_like(h)))(net.a(x)), TWO, "b reads other channels"),
    "repeated channels": (lambda net, x: net.b(net.a(x).repeat_interleave(2, 1)), other(8, 16), "of a: "),
    "a mask of another layer": (
        lambda net, x: net.b(torch.where(net.d(x) > 0, net.a(x), 1.0)), THREE, "of a: "
    ),
    "features that are returned": (lambda net, x: (lambda h: (net.b(h), h))(net.a(x)), TWO, "4 of a: reaches"),
    "features returned without a gradient": (
        lambda net, x: (lambda h: (net.b(h), h.detach()))(net.a(x)), TWO, "4 of a: the model gives another output"
    ),
    "the best of the features": (
        lambda net, x: (lambda h: (net.b(h), h.argmax(1)))(net.a(x)), TWO, "4 of a: the model gives another output"
    ),
    "added to the input": (lambda net, x: net.b(net.a(x) + x), other(3, 3), r"\d of a: comes from the input"),
    "a branch without a gradient": (lambda net, x: net.b(net.a(x) + net.d(x).detach()), THREE, "of a: "),
    "a backbone without a gradient": (lambda net, x: net.b(net.a(x).detach()), TWO, "4 of a: "),
    "a layer that is called by its weight": (
        lambda net, x: net.b(F.conv2d(x, net.a.weight, net.a.bias, padding=1)), TWO, "4 of a: "
    ),
    "a small branch": (lambda net, x: (lambda h: net.b(h + 1e-4 * net.d(h).flip(1)))(net.a(x)), INNER, "of d: "),
}  # fmt: skip


@pytest.mark.parametrize(("run", "layers"), SMALLER.values(), ids=SMALLER)
def test_models_that_become_smaller(run: Run, layers: Callable[[], Layers]) -> None:
    model = net(run, **layers())
    small = compact(model, masks_of(model), image(), image(size=10))
    assert parameters(small) < 0.7 * parameters(model)
    assert staying(small) == {"b": ["reaches the output of the model"]}


@pytest.mark.parametrize(("run", "layers", "reason"), WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("pick", [lambda width: range(width // 2), lambda width: range(0, width, 2)], ids="ab")
def test_models_that_say_why_they_do_not(run: Run, layers: Callable[[], Layers], reason: str, pick: Any) -> None:
    """Some of these can lose channels that are chosen well: then what they give is the same."""
    model = net(run, **layers())
    masks = masks_of(model, pick, only=["a", "d"])
    with untouched(model):
        try:
            speedup(model, masks, image())
        except CompressionError as error:
            message = str(error)
        else:
            small = compact(model, masks, image())
            message = "".join(f"4 of {layer}: {each}" for layer, reasons in staying(small).items() for each in reasons)
    assert not message or re.search(reason, message), message


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("twice", [False, True])
def test_what_a_recurrent_layer_reads(kind: Any, twice: bool) -> None:
    layer = kind(8, 6, 1 + twice, batch_first=True, bidirectional=twice)
    model = net(lambda net, x: net.out(net.layer(net.embed(x))[0]), embed=nn.Embedding(50, 8), layer=layer,
                out=nn.Linear(6 * (1 + twice), 3))  # fmt: skip
    small: Any = compact(model, masks_of(model, only=["embed"]), tokens(2, 7))
    assert small.layer.input_size == small.embed.embedding_dim == 4


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_recurrent_cell_keeps_what_it_reads(kind: Any) -> None:
    def run(net: Any, x: Tensor) -> Any:
        state = net.cell(F.relu(net.a(x)))
        return net.b(state[0] if isinstance(state, tuple) else state)

    model = net(run, a=nn.Linear(5, 8), cell=kind(8, 6), b=nn.Linear(6, 3))
    with untouched(model), pytest.raises(CompressionError, match=r"4 of a: .*(cell|can not be followed)"):
        speedup(model, masks_of(model, only=["a"]), normal(2, 5))


def test_other_layers_of_torch() -> None:
    bag = net(lambda net, x: net.b(F.relu(net.a(net.bag(x)))), bag=nn.EmbeddingBag(50, 8), a=nn.Linear(8, 6),
              b=nn.Linear(6, 3))  # fmt: skip
    assert parameters(compact(bag, masks_of(bag), tokens(2, 7))) == 50 * 4 + 4 * 3 + 3 + 3 * 3 + 3
    bilinear = net(lambda net, x: net.b(net.two(net.a(x), net.a(x))), a=nn.Linear(5, 8), two=nn.Bilinear(8, 8, 6),
                   b=nn.Linear(6, 3))  # fmt: skip
    with untouched(bilinear), pytest.raises(CompressionError, match="4 of a: two does not run with fewer channels"):
        speedup(bilinear, masks_of(bilinear, only=["a"]), normal(2, 5))


def test_a_convolution_that_sums_groups_keeps_them() -> None:
    model = net(lambda net, x: net.b(net.g(net.a(x))), a=conv(3, 16), g=conv(16, 8, groups=8), b=conv(8, 4))
    with untouched(model), pytest.raises(CompressionError, match="8 of a: g has as many groups as outputs, but more"):
        speedup(model, masks_of(model, only=["a"]), image())


def test_a_scale_of_zero_hides_nothing() -> None:
    """The last norm of a residual block begins at zero: what the branch reads shows only when it has been trained."""

    def run(net: Any, x: Tensor) -> Any:
        hidden = net.a(x)
        return net.b(hidden + net.norm(net.d(hidden).flip(1)))

    model = net(run, **INNER(), norm=nn.BatchNorm2d(8))
    with torch.no_grad():
        model.norm.weight.zero_()
        model.norm.bias.zero_()
    with untouched(model), pytest.raises(CompressionError, match="reads other channels"):
        speedup(model, masks_of(model, only=["a", "d"]), image())


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, float("nan"), float("inf")])
def test_an_example_of_one_value_hides_nothing(value: float) -> None:
    model = net(lambda net, x: net.b(net.a(x).flip(1)), **TWO())
    with torch.no_grad():
        model.a.bias.zero_()
        model.b.bias.zero_()
    with untouched(model), pytest.raises(CompressionError, match=r"reads other channels|finite|nan|inf"):
        speedup(model, masks_of(model, only=["a"]), torch.full((2, 3, 8, 8), value))


def test_an_example_that_must_not_be_negative() -> None:
    def run(net: Any, x: Tensor) -> Any:
        if bool((x < 0).any()):
            raise ValueError("pixels below 0")
        return net.b(net.a(x))

    model = net(run, **TWO())
    assert parameters(speedup(model, masks_of(model, only=["a"]), torch.zeros(2, 3, 8, 8))) < parameters(model)
