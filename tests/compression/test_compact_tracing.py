"""What a forward may do while it is traced and checked: ways to cut a tensor, recurrent layers, things it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import speedup
from tests.compression.compacting import compact, net, widths


def halves(model: Any, *names: str) -> dict[str, dict[str, Tensor]]:
    """Masks of every second filter."""
    masks = {}
    for name in names:
        weight = model.get_submodule(name).weight
        keep = torch.ones_like(weight, dtype=torch.bool)
        keep[::2] = False
        masks[name] = {"weight": keep}
    return masks


CUTS: dict[str, Callable[[Tensor], Any]] = {
    "chunk": lambda h: h.chunk(2, 1),
    "chunk by name": lambda h: torch.chunk(input=h, chunks=2, dim=1),
    "chunk of a negative dimension": lambda h: torch.chunk(h, 2, dim=-1),
    "split by number, by name": lambda h: [part + 0 for part in h.chunk(chunks=2, dim=1)],
    "tensor_split by name": lambda h: torch.tensor_split(input=h, sections=2, dim=1),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_every_way_to_cut_channels_in_two(cut: Callable[[Tensor], Any]) -> None:
    def forward(net: Any, x: Tensor) -> Any:
        one, two = cut(torch.relu(net.a(x)))
        return net.o(torch.cat([two, net.b(one)], 1))

    model = net(forward, a=nn.Linear(5, 16), b=nn.Linear(8, 8), o=nn.Linear(16, 3))
    small = compact(model, halves(model, "a"), torch.randn(2, 5))
    assert widths(small) == {"a": 8, "b": 8, "o": 3}
    assert small.b.in_features == 4


def test_masks_are_cut_as_they_are() -> None:
    """A part of a mask stays a mask: only what has a gradient is told apart."""

    def forward(net: Any, x: Tensor) -> Any:
        here, _ = (x > 0).chunk(2, 1)
        return net.o(torch.relu(net.a(x)).masked_fill(~here[:, :1], 0.0))

    model = net(forward, a=nn.Linear(6, 8), o=nn.Linear(8, 3))
    assert widths(compact(model, halves(model, "a"), torch.randn(2, 6))) == {"a": 4, "o": 3}


@pytest.mark.parametrize("function", [torch.log, torch.sqrt])
def test_inputs_that_are_never_negative(function: Callable[[Tensor], Tensor]) -> None:
    model = net(lambda net, x: net.o(torch.relu(net.a(function(x)))), a=nn.Linear(6, 8), o=nn.Linear(8, 3))
    assert widths(compact(model, halves(model, "a"), torch.rand(2, 6) + 0.1)) == {"a": 4, "o": 3}


def test_features_that_are_kept_in_a_list() -> None:
    def forward(net: Any, x: Tensor) -> Any:
        net.kept.append(torch.relu(net.a(x)))
        net.named["last"] = net.kept[-1]
        return net.o(net.kept[-1])

    model: Any = net(forward, a=nn.Linear(6, 8), o=nn.Linear(8, 3))
    model.kept, model.named = [], {"first": 1}
    small = speedup(model, halves(model, "a"), torch.randn(2, 6))
    assert widths(small) == {"a": 4, "o": 3}
    assert (model.kept, model.named) == ([], {"first": 1})
    model(torch.randn(2, 6))
    assert widths(speedup(model, halves(model, "a"), torch.randn(2, 6))) == {"a": 4, "o": 3}


def test_what_a_forward_registers_is_gone_again() -> None:
    def forward(net: Any, x: Tensor) -> Any:
        if not hasattr(net, "late"):
            net.late = nn.Identity()
        net.seen.resize_(x.shape[0])
        return net.o(net.late(torch.relu(net.a(x))))

    model: Any = net(forward, a=nn.Linear(6, 8), o=nn.Linear(8, 3))
    model.register_buffer("seen", torch.zeros(0))
    assert widths(speedup(model, halves(model, "a"), torch.randn(2, 6))) == {"a": 4, "o": 3}
    assert not hasattr(model, "late")
    assert model.seen.shape == (0,)


class FirstOnly(nn.GRU):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x)[0]


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize("call", [lambda r, x: r(input=x)[0], lambda r, x: r(x, None)[0], lambda r, x: r(r(x)[0])[0]])
def test_recurrent_layers_however_they_are_called(kind: Any, call: Any) -> None:
    def forward(net: Any, x: Tensor) -> Any:
        return net.o(torch.relu(net.b(call(net.r, torch.relu(net.a(x))))))

    model = net(forward, a=nn.Linear(6, 8), r=kind(8, 8), b=nn.Linear(8, 4), o=nn.Linear(4, 3))
    small = speedup(model, halves(model, "b"), torch.randn(3, 2, 6))
    assert small.b.out_features == 2


@pytest.mark.timeout(60)
def test_a_recurrent_class_of_its_own() -> None:
    def forward(net: Any, x: Tensor) -> Any:
        return net.o(torch.relu(net.b(net.r(torch.relu(net.a(x))))))

    model = net(forward, a=nn.Linear(6, 8), r=FirstOnly(8, 5), b=nn.Linear(5, 4), o=nn.Linear(4, 3))
    small = speedup(model, halves(model, "a", "b"), torch.randn(6, 2, 6))
    assert small.b.out_features == 2


@pytest.mark.parametrize(
    "compare",
    [
        lambda h: h.amax(-1, keepdim=True),
        lambda h: h.max(),
        lambda h: h.permute(0, 2, 1).amax(1).unsqueeze(-1),
        lambda h: torch.gather(h, -1, h.argmax(-1, keepdim=True)),
        lambda h: torch.aminmax(h, dim=-1, keepdim=True).max,
    ],
)
def test_channels_that_are_compared_with_each_other(compare: Callable[[Tensor], Tensor]) -> None:
    """Whether the zeros that go matter depends on the data: none is cut that another input would miss."""

    def forward(net: Any, x: Tensor) -> Any:
        hidden = net.a(x)
        return net.o(hidden * compare(hidden).sigmoid())

    model = net(forward, a=nn.Linear(6, 16), o=nn.Linear(16, 3))
    with pytest.raises(CompressionError, match="of a: "):
        speedup(model, halves(model, "a"), torch.randn(2, 4, 6))


def test_a_norm_over_the_second_of_two_equal_dimensions() -> None:
    class ChannelsFirst(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    layers = {"a": nn.Conv2d(3, 12, 1), "n": ChannelsFirst(12), "o": nn.Conv2d(12, 2, 1)}
    model = net(lambda net, x: net.o(net.n(net.a(x))), **layers)
    small = speedup(model, halves(model, "a"), torch.randn(2, 3, 12, 12), inexact=True)
    assert widths(small) == {"a": 6, "n": 6, "o": 2}
