"""Time and memory of a forward: what is measured, in which state, and that nothing is left behind."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression import measure
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import LevelPruner
from autoprune.compression.torch.measuring import calm
from autoprune.compression.torch.nested import resized


class Watching(nn.Module):
    """Notes how it is called, and leaves things behind."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))
        self.note: Callable[[tuple[Any, ...]], None] = lambda _: None

    def forward(self, x: Tensor) -> Tensor:
        state = (tuple(x.shape), x.stride(), self.training, torch.is_inference_mode_enabled())
        self.note(state)
        self.calls += 1
        self.last = self.linear(x) + torch.rand(4)
        return self.last


def timed(model: nn.Module, example: Any, **options: Any) -> Any:
    return measure(model, example, macs=False, **{"warmup": 1, "repeats": 3, **options})


def test_the_figures_of_each_batch_size(net: nn.Module) -> None:
    made = timed(net, torch.randn(2, 1, 8, 8), batch_sizes=(1, 4, 2), repeats=7).latency
    assert [(each.batch_size, each.repeats, each.threads) for each in made] == [(1, 7, 1), (4, 7, 1), (2, 7, 1)]
    assert all(0 < each.median_ms <= each.p95_ms for each in made)
    assert made[0].peak_memory < made[2].peak_memory < made[1].peak_memory
    assert all(each.device for each in made)


def test_forwards_are_warmed_up_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm, "_waited", lambda: 0.0)
    model = Watching().train()
    seen: list[tuple[Any, ...]] = []
    model.note = seen.append
    timed(model, torch.randn(2, 4), batch_sizes=(3,), warmup=2, repeats=5)
    assert seen == [((3, 4), (4, 1), False, True)] * (2 + 5 + 1)


def test_nothing_is_left_behind() -> None:
    example = torch.randn(3, 4)
    model = nn.Sequential(Watching(), nn.BatchNorm1d(4), nn.Dropout()).train()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    measure(model, example, batch_sizes=(3,), repeats=2)
    assert [each.training for each in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert "last" not in vars(model[0])
    torch.autograd.backward(model(example).sum())


def test_masks_stay_and_are_not_copied(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    pruner = LevelPruner(net, [{"sparsity": 0.5}])
    pruner.compress()
    clone = Tensor.clone
    copied: list[int] = []
    monkeypatch.setattr(Tensor, "clone", lambda self, **how: (copied.append(self.numel()), clone(self, **how))[1])
    measure(net, torch.randn(1, 1, 8, 8), repeats=1)
    assert max(copied, default=0) <= 4  # buffers of the BatchNorm
    monkeypatch.undo()
    masks = {name: int(each["weight"].sum()) for name, each in pruner.masks.items()}
    assert masks == {"conv0": 18, "conv1": 108, "fc": 480}
    pruner.unwrap()
    assert all(bool(each.all()) for each in (net.conv1.weight, net.fc.weight))


def test_peak_memory_of_a_chain() -> None:
    model = nn.Sequential(
        nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 500), nn.ReLU(inplace=True), nn.Linear(500, 9)
    )
    weights = 100 * 1000 + 1000 + 1000 * 500 + 500 + 500 * 9 + 9
    made = timed(model, torch.randn(64, 100), batch_sizes=(64, 32))
    assert made.weight_memory == 4 * weights
    activations = [2 * size * 1000 for size in (64, 32)]  # the first layer's output and that of its ReLU
    inputs = [size * 100 for size in (64, 32)]
    assert [each.peak_memory for each in made.latency] == [
        4 * (weights + held + given) for held, given in zip(activations, inputs, strict=True)
    ]


def test_shared_memory_counts_once(tied: nn.Module) -> None:
    made = timed(tied.half(), torch.zeros(1, 2, dtype=torch.long))
    assert made.weight_memory == 2 * (96 + 72)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_batches_keep_their_memory_format(size: int) -> None:
    image = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    scale, token = torch.randn(()), torch.arange(6).reshape(2, 3)
    given = {"image": image, "others": [scale, token, torch.ones(3), "text"]}
    made = resized(given, 2, size)
    rows = [row % 2 for row in range(size)]
    assert torch.equal(made["image"], image[rows])
    assert made["image"].stride() == torch.empty(size, 3, 4, 4).contiguous(memory_format=torch.channels_last).stride()
    assert torch.equal(made["others"][1], token[rows])
    assert (made["others"][0], made["others"][2].shape, made["others"][3]) == (scale, (3,), "text")


@pytest.mark.parametrize("example", [(), torch.zeros(0, 4), "text"])
def test_batches_need_a_tensor(example: Any) -> None:
    with pytest.raises(CompressionError, match=r"example_input: given .*; expected a batch of at least one"):
        timed(nn.Linear(4, 4), example)


def test_compiled_and_keyword_models() -> None:
    class Named(nn.Linear):
        def forward(self, *, input: Tensor) -> Tensor:
            return super().forward(input)

    compiled: Any = torch.compile(nn.Linear(4, 4), backend="eager")
    assert timed(compiled, torch.randn(1, 4)).latency[0].median_ms > 0
    assert timed(Named(4, 4), {"input": torch.randn(1, 4)}).latency[0].repeats == 3


def test_inputs_are_read_as_models_take_them() -> None:
    class Batch(Mapping[str, Tensor]):
        """Keyword arguments as tokenizers return them: a mapping, and no dict."""

        def __init__(self, rows: int) -> None:
            self.values_of = {"input": torch.randn(rows, 4)}

        def __getitem__(self, name: str) -> Tensor:
            return self.values_of[name]

        def __iter__(self) -> Iterator[str]:
            return iter(self.values_of)

        def __len__(self) -> int:
            return len(self.values_of)

    model = nn.Linear(4, 4)
    model.forward = lambda input: (sizes.append(len(input)), nn.functional.linear(input, model.weight))[1]  # type: ignore[method-assign]
    sizes: list[int] = []
    made = measure(model, Batch(2), batch_sizes=(3,), warmup=0, repeats=1)
    assert (made.macs, sizes[-1]) == (2 * 16, 3)


def test_a_profiler_under_way_is_an_error() -> None:
    with (
        torch.autograd.profiler.profile(),
        pytest.raises(CompressionError, match="under a torch profiler"),
    ):
        timed(nn.Linear(4, 4), torch.randn(1, 4))


def test_an_error_leaves_the_model_as_it_was() -> None:
    model = Watching().train()
    with pytest.raises(RuntimeError):
        timed(model, torch.randn(1, 5))
    assert model.training
    assert (float(model.calls), hasattr(model, "last")) == (0.0, False)


def test_measuring_says_nothing_by_itself() -> None:
    code = (
        "import os, torch; from autoprune.compression import measure; "
        "measure(torch.nn.Linear(4, 4), torch.randn(1, 4), repeats=1); assert 'KINETO_LOG_LEVEL' not in os.environ"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KINETO_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("", "")
