"""Forwards that do more than compute: `speedup` gets them right, or says why not, and leaves the given model alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import L1NormPruner, compaction, load_compact, save_compact, speedup
from tests.compression.compacting import chain, without


def test_an_interrupt_leaves_the_given_model_as_it_is() -> None:
    """Torch runs no hook after KeyboardInterrupt: what was put into the model has to come out all the same."""

    class Interrupted(nn.Linear):
        armed = False

        def forward(self, x: Tensor) -> Tensor:
            if self.armed and not self.weight.requires_grad:
                raise KeyboardInterrupt
            return super().forward(x)

    model = chain(nn.Linear(6, 8), nn.ReLU(), Interrupted(8, 4)).eval()
    before = {name: (id(value), value.clone()) for name, value in model.named_parameters()}
    masks = {"0": {"weight": torch.ones(8, 6, dtype=torch.bool)}, "2": {"weight": torch.ones(4, 8, dtype=torch.bool)}}
    masks["0"]["weight"][:3] = False
    masks["2"]["weight"][:, 4] = False
    Interrupted.armed = True
    with pytest.raises(KeyboardInterrupt):
        speedup(model, masks, torch.randn(2, 6))
    for name, value in model.named_parameters():
        assert id(value) == before[name][0]
        assert value.requires_grad
        assert torch.equal(value, before[name][1])


def test_plans_of_two_rounds_keep_the_dimensions_of_parameters(tmp_path: Path) -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.hidden, self.head = nn.Linear(5, 16), nn.Linear(16, 12), nn.Linear(12, 3)
            self.positions = nn.Parameter(torch.randn(1, 4, 16))

        def forward(self, x: Tensor) -> Any:
            return self.head(torch.relu(self.hidden(torch.relu(self.embed(x) + self.positions))))

    x = torch.randn(2, 4, 5)
    first = speedup(Positions(), {"embed": {"weight": torch.arange(16)[:, None].expand(16, 5) > 5}}, x)
    second = speedup(first, {"hidden": {"weight": torch.arange(12)[:, None].expand(12, 10) > 3}}, x)
    loaded = load_compact(Positions, save_compact(second, tmp_path / "small.safetensors"))
    assert torch.equal(loaded(x), second(x))
    assert loaded.positions.shape == (1, 4, 10)


def test_a_model_that_keeps_an_activation() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Any:
            self.last = torch.relu(self.a(x))
            return self.b(self.last)

    model = Keeping()
    small = speedup(model, {"a": {"weight": torch.arange(8)[:, None].expand(8, 5) > 3}}, torch.randn(2, 5))
    assert small.b.in_features == 4
    assert not hasattr(model, "last")


def test_half_precision_that_is_written_into_the_forward() -> None:
    class Casting(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.bfloat16())  # type: ignore[no-any-return]

    model = Casting(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).bfloat16()
    small = speedup(model, {"0": {"weight": torch.arange(8)[:, None].expand(8, 5) > 3}}, torch.randn(2, 5))
    assert small[2].in_features == 4  # type: ignore[union-attr]


def test_what_only_some_inputs_show() -> None:
    """The greatest of all channels: where all are positive, zeros that go do not matter; where none is, they do."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.h = nn.Linear(4, 8, bias=False), nn.Linear(8, 3)
            self.c.weight.data.abs_()

        def forward(self, x: Tensor) -> Any:
            y = self.c(x)
            return self.h(y * y.amax(1, keepdim=True).sigmoid())

    with pytest.raises(CompressionError, match="of c: "):
        speedup(Gated(), {"c": {"weight": torch.arange(8)[:, None].expand(8, 4) > 3}}, torch.rand(2, 4) + 0.1)


def test_a_model_that_writes_on_its_input() -> None:
    class Writing(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(2))  # type: ignore[no-any-return]

    x = torch.randn(2, 5)
    before = x.clone()
    model = Writing(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    small = speedup(model, {"0": {"weight": torch.arange(8)[:, None].expand(8, 5) > 3}}, x)
    assert small[2].in_features == 4  # type: ignore[union-attr]
    assert torch.equal(x, before)


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell])
def test_loops_over_cells_end(cell: type[nn.Module]) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p, self.cell, self.f, self.g = nn.Linear(7, 12), cell(12, 10), nn.Linear(10, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Any:
            state = None
            for step in range(x.shape[1]):
                state = self.cell(torch.relu(self.p(x[:, step])), state)
            return self.g(torch.relu(self.f(state[0] if isinstance(state, tuple) else state)))

    small = speedup(Loop(), {"f": {"weight": torch.arange(8)[:, None].expand(8, 10) > 3}}, torch.randn(2, 5, 7))
    assert small.g.in_features == 4


def test_heads_that_run_in_training_alone_keep_what_they_read() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.h, self.aux = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 3), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Any:
            y = torch.relu(self.a(x))
            out = self.h(torch.relu(self.b(y)))
            return (out, self.aux(y)) if self.training else out

    masks = {"a": {"weight": torch.arange(8)[:, None].expand(8, 5) > 3}}
    masks["b"] = {"weight": torch.arange(6)[:, None].expand(6, 8) > 2}
    small = speedup(Auxiliary(), masks, torch.randn(2, 5))
    assert (small.a.out_features, small.b.out_features) == (8, 3)
    assert len(small.train()(torch.randn(2, 5))) == 2
    assert "in training mode" in compaction(small).staying[0].reason


@pytest.mark.parametrize("mixed", [False, True])
def test_inexact_is_checked_as_well(mixed: bool) -> None:
    """It gives what the norm over the channels that stay gives, and channels that are mixed up stay."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.n, self.o = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Any:
            y = self.n(self.a(x))
            return self.o(y.flip(-1) if mixed else y)

    model, x = Normed(), torch.randn(4, 5)
    masks = {"a": {"weight": torch.arange(8)[:, None].expand(8, 5) > 2}}
    if mixed:
        with pytest.raises(CompressionError, match="o reads other channels"):
            speedup(model, masks, x, inexact=True)
        return
    small = speedup(model, masks, x, inexact=True)
    hidden = nn.functional.layer_norm(model.a(x)[:, 3:], (5,), model.n.weight[3:], model.n.bias[3:])
    assert torch.allclose(small(x), hidden @ model.o.weight[:, 3:].T + model.o.bias, atol=1e-6)


def test_an_example_of_no_rows_shows_nothing() -> None:
    model = chain(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    masks = {"0": {"weight": torch.arange(8)[:, None].expand(8, 5) > 2}}
    with pytest.raises(CompressionError, match="expected a batch of at least one"):
        speedup(model, masks, torch.randn(0, 5))


@pytest.mark.parametrize("example", [None, (1, 5), "x"])
def test_an_example_without_a_tensor(example: Any) -> None:
    model = chain(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    masks = {"0": {"weight": torch.arange(8)[:, None].expand(8, 5) > 2}}
    with pytest.raises(CompressionError, match=r"as the example input; expected a tensor, a tuple of arguments"):
        speedup(model, masks, example)


def test_the_order_of_another_library() -> None:
    model = chain(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(CompressionError, match=r"as masks; expected speedup\(model, masks, example_input\)"):
        speedup(model, torch.randn(2, 5), {})  # type: ignore[arg-type]


def test_only_what_speedup_returned_is_saved(tmp_path: Path) -> None:
    model = chain(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    small = speedup(model, {"0": {"weight": torch.arange(8)[:, None].expand(8, 5) > 2}}, torch.randn(2, 5))
    with pytest.raises(CompressionError, match=r"given a Sequential of which '0' was made by speedup"):
        save_compact(nn.Sequential(small, nn.Linear(3, 2)), tmp_path / "small.safetensors")
    compiled: Any = torch.compile(small, backend="eager")
    loaded = load_compact(
        lambda: chain(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), save_compact(compiled, tmp_path / "s.safetensors")
    )
    x = torch.randn(2, 5)
    assert torch.equal(loaded(x), small(x))


@pytest.mark.parametrize("sizes", [None, (8, 8)])
def test_channels_that_are_cut_into_parts(sizes: tuple[int, int] | None) -> None:
    """`chunk` takes what there is; sizes that are written in do not change."""

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.o = nn.Linear(5, 16), nn.Linear(8, 8), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Any:
            y = torch.relu(self.a(x))
            one, two = y.chunk(2, 1) if sizes is None else y.split(sizes, 1)
            return self.o(torch.cat([two, self.b(one)], 1))

    masks = {"a": {"weight": (torch.arange(16)[:, None].expand(16, 5) % 4) > 0}}
    if sizes is not None:
        with pytest.raises(CompressionError, match="split_with_sizes expects split_sizes to sum exactly"):
            speedup(Cut(), masks, torch.randn(2, 5))
        return
    small = speedup(Cut(), masks, torch.randn(2, 5))
    assert (small.a.out_features, small.b.in_features, small.o.in_features) == (12, 6, 14)


@pytest.mark.parametrize("greatest", [lambda x: x.amax(1, keepdim=True), lambda x: x.max(-3, keepdim=True).values])
def test_the_greatest_of_all_channels_needs_them(greatest: Any) -> None:
    """Zeros that go are seldom the greatest: no example need show that they matter."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.o = nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 4, 1)

        def forward(self, x: Tensor) -> Any:
            y = self.b(self.a(x))
            return self.o(y * torch.sigmoid(greatest(y)))

    masks = {"a": {"weight": torch.arange(32)[:, None, None, None].expand(32, 3, 3, 3) > 15}}
    with pytest.raises(CompressionError, match="compared with other channels"):
        speedup(Attention().eval(), masks, torch.randn(2, 3, 8, 8))


def test_attention_with_a_padding_mask() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.embed, self.encoder, self.head = (
                nn.Embedding(50, 16),
                nn.TransformerEncoder(layer, 2),
                nn.Linear(16, 3),
            )

        def forward(self, tokens: Tensor, mask: Tensor) -> Any:
            return self.head(self.encoder(self.embed(tokens), src_key_padding_mask=mask).mean(1))

    padding = torch.arange(20).expand(2, 20) > 14
    model, example = Classifier().eval(), {"tokens": torch.randint(50, (2, 20)), "mask": padding}
    entry = {"sparsity": 0.5, "op_names": ["encoder.layers.0.linear1"]}
    L1NormPruner(model, [entry], dummy_input=example).compress()
    small = speedup(model, None, example)
    assert small.encoder.layers[0].linear1.out_features == 16
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.allclose(small(**example), model(**example), atol=1e-5)


def test_a_block_that_fails_keeps_only_what_fails_in_it() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.o = nn.Linear(8, 16), nn.Linear(16, 6)

        def forward(self, x: Tensor) -> Any:
            return self.o(torch.cat(torch.relu(self.a(x)).split((8, 8), 1)[::-1], 1))

    model = chain(nn.Linear(5, 8), nn.ReLU(), Block(), nn.Linear(6, 3))
    masks = {"0": {"weight": torch.arange(8)[:, None].expand(8, 5) > 3}}
    masks["2.a"] = {"weight": torch.arange(16)[:, None].expand(16, 8) % 2 > 0}
    masks["2.o"] = {"weight": torch.arange(6)[:, None].expand(6, 16) > 2}
    small: Any = speedup(model, masks, torch.randn(2, 5))
    assert (small[0].out_features, small[2].a.out_features, small[2].o.out_features) == (4, 16, 3)


def test_a_grouped_convolution_that_becomes_depthwise(tmp_path: Path) -> None:
    """Four groups of two, one of each goes: from then on, channels go from both sides at once."""

    def grouped() -> Any:
        return chain(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 4, 1)).eval()

    model, x = grouped(), torch.randn(2, 3, 8, 8)
    masks = {"0": without(model[0], [0, 2, 4, 6]), "1": without(model[1], [1, 3, 5, 7])}
    once: Any = speedup(model, masks, x)
    assert once[1].groups == once[1].in_channels == once[1].out_channels == 4
    twice = speedup(once, {"0": without(once[0], [1, 2])}, x)
    path = save_compact(twice, tmp_path / "small.safetensors")
    assert torch.equal(load_compact(grouped, path)(x), twice(x))
