"""Which channels go together: the units of small nets, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.compact.graph import Graph
from autoprune.compression.torch.compact.tracing import traced
from tests.compression.compacting import chain, net, untouched
from tests.compression.zoo import normal, tokens

Channel = tuple[str, str, int]


def units(model: nn.Module, example: Any) -> set[frozenset[Channel]]:
    """Every set of channels that go together: of which layer, of which side, which."""
    with untouched(model):
        graph = traced(model, example)
    found: dict[int, set[Channel]] = {}
    for node in graph.layers():
        for side, own in node.sides.items():
            for index, unit in enumerate(own.tolist()):
                found.setdefault(unit, set()).add((node.name or "", side, index))
    return {frozenset(channels) for channels in found.values()}


def of(*channels: str) -> frozenset[Channel]:
    """`of("a out 0", "b in 0")`."""
    return frozenset((name, side, int(index)) for name, side, index in map(str.split, channels))


def image(channels: int = 1) -> Tensor:
    return normal(2, channels, 6, 6)


def conv(inputs: int, outputs: int, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings)


def test_a_chain_with_a_norm() -> None:
    model = chain(conv(1, 2), nn.BatchNorm2d(2), nn.ReLU(), conv(2, 3))
    assert units(model, image()) == {
        of("0 in 0"),
        *(of(f"0 out {index}", f"1 both {index}", f"3 in {index}") for index in range(2)),
        *(of(f"3 out {index}") for index in range(3)),
    }


def test_layers_that_are_added_go_together() -> None:
    model = net(lambda net, x: net.c(net.a(x) + net.b(x)), a=conv(1, 3), b=conv(1, 3), c=conv(3, 1))
    assert units(model, image()) == {
        of("a in 0", "b in 0"),
        *(of(f"a out {index}", f"b out {index}", f"c in {index}") for index in range(3)),
        of("c out 0"),
    }


def test_a_residual_block_has_a_stream_and_a_width_of_its_own() -> None:
    def run(net: Any, x: Tensor) -> Any:
        stream = net.stem(x)
        return net.head(stream + net.second(F.relu(net.first(stream))))

    model = net(run, stem=conv(1, 2), first=conv(2, 3), second=conv(3, 2), head=conv(2, 1))
    assert units(model, image()) == {
        of("stem in 0"),
        *(of(*(f"{layer} {index}" for layer in ("stem out", "first in", "second out", "head in"))) for index in (0, 1)),
        *(of(f"first out {index}", f"second in {index}") for index in range(3)),
        of("head out 0"),
    }


def test_concatenated_channels_are_read_one_after_the_other() -> None:
    model = net(lambda net, x: net.c(torch.cat([net.a(x), net.b(x)], 1)), a=conv(1, 2), b=conv(1, 3), c=conv(5, 1))
    assert units(model, image()) == {
        of("a in 0", "b in 0"),
        *(of(f"a out {index}", f"c in {index}") for index in range(2)),
        *(of(f"b out {index}", f"c in {2 + index}") for index in range(3)),
        of("c out 0"),
    }


def test_a_net_that_is_densely_connected() -> None:
    def run(net: Any, x: Tensor) -> Any:
        first = net.a(x)
        return net.c(torch.cat([first, net.b(first)], 1))

    model = net(run, a=conv(1, 2), b=conv(2, 2), c=conv(4, 1))
    assert units(model, image()) == {
        of("a in 0"),
        *(of(f"a out {index}", f"b in {index}", f"c in {index}") for index in range(2)),
        *(of(f"b out {index}", f"c in {2 + index}") for index in range(2)),
        of("c out 0"),
    }


def test_a_flattened_channel_is_as_many_columns_as_it_has_places() -> None:
    model = chain(conv(1, 2), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(8, 1))
    assert units(model, image()) == {
        of("0 in 0"),
        *(of(f"0 out {index}", *(f"3 in {4 * index + place}" for place in range(4))) for index in range(2)),
        of("3 out 0"),
    }


def test_a_view_to_an_image_makes_one_channel_of_many_rows() -> None:
    model = net(lambda net, x: net.b(net.a(x).view(x.shape[0], -1, 2, 2)), a=nn.Linear(3, 8), b=conv(2, 1))
    assert units(model, normal(2, 3)) == {
        *(of(f"a in {index}") for index in range(3)),
        *(of(f"b in {index}", *(f"a out {4 * index + place}" for place in range(4))) for index in range(2)),
        of("b out 0"),
    }


def test_a_depthwise_convolution_passes_channels_on() -> None:
    model = chain(conv(1, 3), conv(3, 3, groups=3), conv(3, 1))
    assert units(model, image()) == {
        of("0 in 0"),
        *(of(f"0 out {index}", f"1 both {index}", f"2 in {index}") for index in range(3)),
        of("2 out 0"),
    }


def test_a_transposed_convolution() -> None:
    model = chain(conv(1, 2), nn.ConvTranspose2d(2, 3, 2, 2), conv(3, 1))
    assert units(model, image()) == {
        of("0 in 0"),
        *(of(f"0 out {index}", f"1 in {index}") for index in range(2)),
        *(of(f"1 out {index}", f"2 in {index}") for index in range(3)),
        of("2 out 0"),
    }


def test_a_tied_embedding_loses_the_same_columns_in_both_places() -> None:
    model = net(lambda net, x: net.head(net.mix(net.embed(x))), embed=nn.Embedding(5, 2), mix=nn.Linear(2, 2),
                head=nn.Linear(2, 5, bias=False))  # fmt: skip
    model.head.weight = model.embed.weight
    assert units(model, tokens(2, 3) % 5) == {
        *(of(*(f"{layer} {index}" for layer in ("embed both", "mix in", "mix out", "head in"))) for index in (0, 1)),
        *(of(f"head out {index}") for index in range(5)),
    }


def test_a_layer_that_is_called_twice_feeds_itself() -> None:
    shared = nn.Linear(2, 2)
    model = chain(nn.Linear(3, 2), shared, nn.ReLU(), shared, nn.Linear(2, 1))
    assert units(model, normal(4, 3)) == {
        *(of(f"0 in {index}") for index in range(3)),
        *(of(*(f"{layer} {index}" for layer in ("0 out", "1 in", "1 out", "4 in"))) for index in range(2)),
        of("4 out 0"),
    }


def test_a_parameter_of_its_own_goes_with_what_it_scales() -> None:
    scale = nn.Parameter(torch.ones(2, 1, 1))
    model = net(lambda net, x: net.b(net.a(x) * net.scale), a=conv(1, 2), scale=scale, b=conv(2, 1))
    assert units(model, image()) == {
        of("a in 0"),
        *(of(f"a out {index}", f"scale both {index}", f"b in {index}") for index in range(2)),
        of("b out 0"),
    }


@pytest.mark.parametrize("parts", [2, 3])
def test_chunks_that_are_multiplied_go_together(parts: int) -> None:
    def run(net: Any, x: Tensor) -> Any:
        first, *others = net.a(x).chunk(parts, 1)
        for other in others:
            first = first * other
        return net.b(first)

    model = net(run, a=conv(1, 2 * parts), b=conv(2, 1))
    assert units(model, image()) == {
        of("a in 0"),
        *(of(f"b in {index}", *(f"a out {index + 2 * part}" for part in range(parts))) for index in range(2)),
        of("b out 0"),
    }


def test_units_are_numbered_without_gaps_and_groups_are_sides() -> None:
    graph: Graph = traced(chain(conv(1, 2), conv(2, 3), conv(3, 1)), image())
    used = {unit for node in graph.nodes for own in node.sides.values() for unit in own.tolist()}
    assert used == set(range(graph.count))
    assert sorted(torch.tensor(graph.groups()).bincount().tolist()) == [1, 1, 2, 3]


def test_the_model_is_traced_as_it_is_and_left_so() -> None:
    model = chain(conv(1, 2), nn.BatchNorm2d(2), nn.Dropout(), conv(2, 1)).train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[3].register_forward_hook(lambda *_: None)
    with untouched(model), torch.no_grad():
        traced(model, image())


@pytest.mark.parametrize("example", [image(2), "words", None, (), {"other": image()}, (image(), image())])
def test_an_example_that_the_model_does_not_take(example: Any) -> None:
    model = chain(conv(1, 2), nn.BatchNorm2d(2), conv(2, 1)).train()
    with untouched(model), pytest.raises(CompressionError, match="example input"):
        traced(model, example)
