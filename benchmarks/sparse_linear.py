"""From how many zeros a Linear pays as CSR, on this device.

    python benchmarks/sparse_linear.py [--size 2048] [--threads 1] [--repeats 50]

A square Linear of float32 with random zeros, dense and as `SparseLinear`, at batch 1 and 32. The two take turns, and
the figures are medians. The outputs are compared before anything is timed. A ratio over 1 is a gain of CSR.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from autoprune.compression.torch.sparse_kernels import SparseLinear

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
BATCHES = (1, 32)
WARM_UP = 5


def pruned(size: int, sparsity: float) -> nn.Linear:
    """A Linear whose every weight is zero with this probability."""
    layer = nn.Linear(size, size)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(size, size) >= sparsity)
    return layer.eval()


def milliseconds(layer: nn.Module, inputs: Tensor) -> float:
    start = time.perf_counter()
    layer(inputs)
    return (time.perf_counter() - start) * 1e3


def side_by_side(dense: nn.Module, sparse: nn.Module, inputs: Tensor, repeats: int) -> tuple[float, float]:
    """The medians of both, in milliseconds."""
    pairs = [(milliseconds(dense, inputs), milliseconds(sparse, inputs)) for _ in range(WARM_UP + repeats)][WARM_UP:]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"Linear {options.size}x{options.size}, float32, torch {torch.__version__}, {options.threads} threads")
    print("zeros  batch  dense ms    CSR ms  ratio")
    with torch.no_grad():
        for sparsity in SPARSITIES:
            dense = pruned(options.size, sparsity)
            sparse = SparseLinear(dense.weight, dense.bias).eval()
            for batch in BATCHES:
                inputs = torch.randn(batch, options.size)
                torch.testing.assert_close(sparse(inputs), dense(inputs), rtol=1e-5, atol=1e-5)
                slow, fast = side_by_side(dense, sparse, inputs, options.repeats)
                print(f"{sparsity:5.0%}  {batch:5}  {slow:8.3f}  {fast:8.3f}  {slow / fast:4.2f}x")


if __name__ == "__main__":
    main()
