"""What masks cost: ours beside torch.topk, numpy's partition and torch.nn.utils.prune; then a whole ResNet-50.

    python benchmarks/masks.py [--sizes 1 25 100] [--repeats 5] [--threads 1] [--all]

One float32 tensor of so many million elements loses the 90 % that are smallest in magnitude. `selection` is the choice
alone, through the library's selection; `LevelPruner` is the public API, from the pruner to the masked model. Each way
runs in a process of its own: time is the median of its repetitions; memory is the peak of a single one, beyond that of
a process which imports the same and only makes the tensor. A time in brackets is the first, whose memory was new.
`prune.l1_unstructured` is left out where it takes more than ten seconds, unless --all is given.

ResNet-50 is timed from the pruner to the masked model: its 54 layers at 80 %, and half of the filters of its
convolutions where the library has FPGM. A new model is made for each repetition; that is not counted.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import nets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import prune

import autoprune.compression.torch as compression
from autoprune.compression.core import selection

SPARSITY = 0.9
SLOW = 50_000_000
"""From so many elements on, `prune.l1_unstructured` waits for --all."""


class Magnitudes:
    """|w|, computed as it is read."""

    def __init__(self, weight: NDArray[np.float32]) -> None:
        self.weight = weight
        self.buffer = np.empty(selection.STRETCH, weight.dtype)

    @property
    def size(self) -> int:
        return self.weight.size

    def stretch(self, start: int, stop: int) -> selection.Values:
        return np.abs(self.weight[start:stop], out=self.buffer[: stop - start])

    def at(self, index: NDArray[np.intp]) -> selection.Values:
        return np.abs(self.weight[index])


class One(nn.Module):
    """A layer around a tensor that exists."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows = 1000
        self.fc = nn.Linear(weight.numel() // rows, rows, bias=False, device="meta")
        self.fc.weight = nn.Parameter(weight.view(rows, -1))


# A way takes the tensor and leaves a mask of what stays, or a masked model.


def by_selection(weight: Tensor, k: int) -> object:
    (pruned,) = selection.smallest([Magnitudes(weight.numpy())], k)
    return np.logical_not(pruned, out=pruned)


def by_pruner(weight: Tensor, k: int) -> object:
    return compression.LevelPruner(One(weight), [{"sparsity": SPARSITY, "op_types": ["Linear"]}]).compress()


def by_topk(weight: Tensor, k: int) -> object:
    index = weight.abs().topk(k, largest=False, sorted=False).indices
    return torch.ones(weight.numel(), dtype=torch.bool).scatter_(0, index, False)


def by_topk_of_the_kept(weight: Tensor, k: int) -> object:
    index = weight.abs().topk(weight.numel() - k, sorted=False).indices
    return torch.zeros(weight.numel(), dtype=torch.bool).scatter_(0, index, True)


def by_partition(weight: Tensor, k: int) -> object:
    values = np.abs(weight.numpy())
    return values > np.partition(values, k - 1)[k - 1]


def by_torch_prune(weight: Tensor, k: int) -> object:
    return prune.l1_unstructured(One(weight).fc, "weight", amount=k)  # type: ignore[no-untyped-call]


def nothing(weight: Tensor, k: int) -> object:
    return None


WAYS: dict[str, Callable[[Tensor, int], object]] = {
    "selection": by_selection,
    "LevelPruner": by_pruner,
    "torch.topk": by_topk,
    "torch.topk of the kept": by_topk_of_the_kept,
    "numpy partition": by_partition,
    "prune.l1_unstructured": by_torch_prune,
}
BASELINE = "torch.topk"


# In a process of its own


@dataclass(frozen=True)
class Cost:
    seconds: list[float]
    peak: int
    """The most memory that the process ever held, in bytes."""


def measured(way: str, size: int, repeats: int, threads: int) -> Cost:
    command = [sys.executable, __file__, "--child", way, "--sizes", str(size), "--repeats", str(repeats)]
    output = subprocess.run([*command, "--threads", str(threads)], check=True, stdout=subprocess.PIPE, text=True).stdout
    peak, *seconds = output.split()
    return Cost([float(one) for one in seconds], int(peak))


def child(way: str, size: int, repeats: int) -> None:
    weight = torch.empty(size)
    k = int(SPARSITY * size)
    run = WAYS.get(way, nothing)
    seconds = []
    for _ in range(repeats):
        weight.normal_(generator=torch.Generator().manual_seed(0))  # a pruner zeroes what it prunes
        seconds.append(timed(lambda: run(weight, k)))
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, *seconds)


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - began
    del result
    return seconds


def tensors(size: int, repeats: int, threads: int, everything: bool) -> str:
    """A markdown table of one size: a row for each way."""
    ways = [way for way in WAYS if everything or way != "prune.l1_unstructured" or size < SLOW]
    times = {way: measured(way, size, repeats, threads).seconds for way in ways}
    bare = measured("nothing", size, 1, threads).peak
    peaks = {way: measured(way, size, 1, threads).peak - bare for way in ways}
    median = {way: statistics.median(seconds) for way, seconds in times.items()}
    lines = [
        f"| {size / 1e6:g} M elements | ms | times as fast as {BASELINE} | peak MB | share of {BASELINE}'s |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in ways:
        time_cell = f"{1000 * median[way]:.1f} ({1000 * times[way][0]:.1f})"
        faster, share = median[BASELINE] / median[way], peaks[way] / peaks[BASELINE]
        lines.append(f"| {way} | {time_cell} | {faster:.2f} | {peaks[way] / 1e6:.0f} | {100 * share:.0f} % |")
    return "\n".join(lines)


# ResNet-50


def whole_model(repeats: int) -> str:
    lines = ["| ResNet-50 | ms, median | least | most |", "|---|---:|---:|---:|"]
    for name, sparsity, types in [("LevelPruner", 0.8, "default"), ("FPGMPruner", 0.5, "Conv2d")]:
        if name not in dir(compression):
            continue
        pruner, config = getattr(compression, name), [{"sparsity": sparsity, "op_types": [types]}]
        models = (nets.resnet50() for _ in range(repeats))
        seconds = [1000 * timed(partial(masked, pruner, model, config)) for model in models]
        figures = (statistics.median(seconds), min(seconds), max(seconds))
        lines.append(f"| {name}, {100 * sparsity:.0f} % | {' | '.join(f'{figure:.0f}' for figure in figures)} |")
    return "\n".join(lines)


def masked(pruner: type[compression.Pruner], model: nn.Module, config: list[dict[str, Any]]) -> object:
    return pruner(model, config).compress()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=float, default=[1, 25, 100], help="millions of elements")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--all", action="store_true", help="also what takes more than ten seconds")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        child(options.child, int(options.sizes[0]), options.repeats)
        return
    for millions in options.sizes:
        print(tensors(int(millions * 1e6), options.repeats, options.threads, options.all), end="\n\n", flush=True)
    print(whole_model(options.repeats))


if __name__ == "__main__":
    main()
