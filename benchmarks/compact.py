"""Whether large models can be pruned and made compact: time and memory for about a hundred million parameters.

    python benchmarks/compact.py [--nets wide_resnet50 vgg16] [--sparsity 0.5] [--threads 2]

Half of the channels of every layer but the last go, layers that go together as one. Each network runs in a process of
its own, which has run the model once before: memory is the greatest that the process held beyond what it held before
the model was made, in multiples of the model's size, the model itself included.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from pathlib import Path

import nets
import torch

from autoprune.compression.torch import L1NormPruner, speedup

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["wide_resnet50", "vgg16"])
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        torch.set_num_threads(given.threads)
        alone(given.nets[0], given.sparsity)
        return
    print(
        "| network | parameters | compress | speedup | peak memory | parameters left |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for name in given.nets:
        options = ["--nets", name, "--sparsity", str(given.sparsity), "--threads", str(given.threads), "--alone"]
        subprocess.run([sys.executable, __file__, *options], check=True)


def alone(name: str, sparsity: float) -> None:
    image = torch.randn(1, 3, 224, 224)
    warm_up(image)
    before = held()
    model = getattr(nets, name)().eval()
    count = sum(parameter.numel() for parameter in model.parameters())
    last = [layer for layer, module in model.named_modules() if isinstance(module, torch.nn.Linear)][-1]
    entries = [
        {"sparsity": sparsity, "op_types": ["Conv2d", "Linear"], "mode": "dependency_aware"},
        {"exclude": True, "op_names": [last]},
    ]
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    L1NormPruner(model, entries, dummy_input=image).compress()
    masked = time.perf_counter()
    small = speedup(model, None, image)
    done = time.perf_counter()
    left = sum(parameter.numel() for parameter in small.parameters()) / count
    peak = (peak_held() - before) / (count * 4 / MIB)
    times = f"{masked - start:.1f} s | {done - masked:.1f} s"
    print(f"| {name} | {count / 1e6:.1f} M | {times} | {peak:.2f} times the model | {left:.0%} |", flush=True)


def warm_up(image: torch.Tensor) -> None:
    """Everything that is loaded once, whatever the model."""
    model = nets.resnet18().eval()
    entry = {"sparsity": 0.5, "op_types": ["Conv2d"], "mode": "dependency_aware"}
    L1NormPruner(model, [entry], dummy_input=image).compress()
    speedup(model, None, image)
    del model
    gc.collect()


def held() -> float:
    return _status("VmRSS")


def peak_held() -> float:
    return _status("VmHWM")


def _status(field: str) -> float:
    """MiB, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


if __name__ == "__main__":
    main()
