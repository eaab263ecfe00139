"""What removing channels gains, and what masking them does not: one image at a time, and 32.

    python benchmarks/latency.py [--sparsity 0.7] [--nets resnet18 mobilenet_v2] [--rounds 15] [--threads 2]

The same network dense, with so many of its channels masked, and with them removed by `speedup`, in torch (float32,
channels_last) and in ONNX Runtime. Layers that go together are pruned together (dependency_aware, L1); weights are
random, since time does not depend on them. In each round every variant has its turn, in changing order, so that a busy
machine slows all of them: a call to warm up, and the median of three. Times are medians over the rounds, ratios are
medians of the ratios within a round. torch and ONNX Runtime have rounds of their own, since their idle threads spin.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nets
import onnxruntime
import torch
from torch import Tensor, nn

from autoprune.compression.cost import measure
from autoprune.compression.torch import L1NormPruner, compaction, export_onnx, speedup

Variant = Callable[[Tensor], Any]
WARM, CALLS = 3, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--nets", nargs="+", default=["resnet18", "mobilenet_v2"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name in given.nets:
        torch.manual_seed(0)
        dense, masked, small = pruned(getattr(nets, name), given.sparsity)
        show_sizes(name, dense, small)
        runtimes = {
            "torch": in_torch(dense, masked, small),
            "ONNX Runtime": in_onnx(dense, masked, small, given.threads),
        }
        for batch in given.batches:
            rounds = given.rounds if batch == 1 else max(given.rounds // 3, 3)
            show(batch, {name: timed(variants, images(batch), rounds) for name, variants in runtimes.items()})


def images(batch: int) -> Tensor:
    return torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)


def pruned(build: Callable[[], nn.Module], sparsity: float) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The network as it is, masked, and without what is masked."""
    dense, masked = (build().eval().to(memory_format=torch.channels_last) for _ in range(2))
    masked.load_state_dict(dense.state_dict())
    entry = {"sparsity": sparsity, "op_types": ["Conv2d"], "mode": "dependency_aware"}
    L1NormPruner(masked, [entry], dummy_input=images(1)).compress()
    return dense, masked, speedup(masked, None, images(1))


def in_torch(dense: nn.Module, masked: nn.Module, small: nn.Module) -> dict[str, Variant]:
    return {"dense": dense, "masked": masked, "compact": small}


def in_onnx(dense: nn.Module, masked: nn.Module, small: nn.Module, threads: int) -> dict[str, Variant]:
    """The same three in ONNX Runtime, from files that are checked against torch as they are written."""
    variants: dict[str, Variant] = {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        for name, model in in_torch(dense, masked, small).items():
            path = Path(folder) / f"{name}.onnx"
            export_onnx(model, path, images(2).contiguous())
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            variants[name] = runner(session)
    return variants


def runner(session: onnxruntime.InferenceSession) -> Variant:
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch.contiguous().numpy()})


@torch.inference_mode()
def timed(variants: dict[str, Variant], batch: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of every variant, round by round."""
    for run in variants.values():
        for _ in range(WARM):
            run(batch)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in sorted(variants, reverse=number % 2 == 1):
            variants[name](batch)
            times[name].append(statistics.median(once(variants[name], batch) for _ in range(CALLS)))
    return times


def once(run: Variant, batch: Tensor) -> float:
    start = time.perf_counter()
    run(batch)
    return time.perf_counter() - start


def show_sizes(name: str, dense: nn.Module, small: nn.Module) -> None:
    before, after = (measure(model, images(1), latency=False) for model in (dense, small))
    print(f"\n{name}: {before.parameters / 1e6:.2f} M parameters -> {after.parameters / 1e6:.2f} M, ", end="")
    print(f"{before.macs / 1e9:.3f} G MACs -> {after.macs / 1e9:.3f} G")
    for each in compaction(small).staying:
        print(f"  stays: {each}")


def show(batch: int, runtimes: dict[str, dict[str, list[float]]]) -> None:
    print(f"\n| batch {batch} | ms | times as fast as dense there |\n|---|---|---|")
    for runtime, times in runtimes.items():
        for name, own in times.items():
            ratio = statistics.median(base / each for base, each in zip(times["dense"], own, strict=True))
            gain = "-, zeros are computed" if name == "masked" else f"{ratio:.2f}"
            print(f"| {name}, {runtime} | {statistics.median(own) * 1e3:.1f} | {gain} |", flush=True)


if __name__ == "__main__":
    main()
