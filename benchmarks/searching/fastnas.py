"""FastNAS of NVIDIA Model Optimizer, run by a Python that has it: prunes a task's network to so many MACs.

    python -m pip install nvidia-modelopt requests huggingface_hub torchprofile==0.0.4
    python fastnas.py '{"task": "task.py:Task", "arguments": {}, "prepared": FOLDER, "limit": MACS, "seed": 0}' OUT

It judges the widths of each layer by validation accuracy without fine-tuning, with BatchNorm recalibrated, and removes
channels for real. It counts multiply-accumulates in its own way, so its bound is bisected until as much as possible is
left by our count. OUT are the weights that are left, as safetensors.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import modelopt.torch.prune as mtp
import torch
from safetensors.torch import save_file
from torch import nn

from autoprune.compression.cost import measure
from autoprune.search.loading import Source, load_task, seed_all
from autoprune.search.preparing import dense

DIVISOR = 2
"""Channels go in steps of so many; by default it is 32, and these layers have no more."""
BATCHES = 50
"""In so many the images for BatchNorm are divided; it warns of fewer."""
ROUNDS = 7


def main() -> None:
    request, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    source, prepared, limit = (
        Source.of(request["task"], request["arguments"]),
        Path(request["prepared"]),
        request["limit"],
    )
    whole = measure(dense(load_task(source), source, prepared), load_task(source).example_input(), latency=False).macs
    best, most, low, high = None, 0, 0.0, 2 * limit / whole
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            bound = (low + high) / 2
            model, macs = pruned(source, prepared, bound, request["seed"], Path(folder) / "search.pth")
            print(f"within {bound:.2%} of its own count, {macs} of {whole} MACs are left", file=sys.stderr, flush=True)
            low, high = (bound, high) if macs <= limit else (low, bound)
            if most < macs <= limit:
                best, most = model, macs
    if best is None:
        raise SystemExit(f"FastNAS does not come below {limit} MACs")
    state = {name: value for name, value in best.state_dict().items() if isinstance(value, torch.Tensor)}
    save_file({name: value.detach().clone().contiguous() for name, value in state.items()}, str(out))


def pruned(source: Source, prepared: Path, bound: float, seed: int, measured: Path) -> tuple[nn.Module, int]:
    """The network within this share of its MACs by the other's count, and how many there are by ours. `measured` keeps
    how sensitive the layers are."""
    task = load_task(source)
    model = dense(task, source, prepared).to(memory_format=torch.contiguous_format)
    seed_all(seed)
    config = {
        "data_loader": torch.cat([images for images, _ in task.calibration_batches()]).chunk(BATCHES),
        "collect_func": lambda images: images,
        "score_func": task.evaluate,
        "checkpoint": str(measured),
        "verbose": False,
    }
    features = {"*": {"feature_divisor": DIVISOR}}
    rules = {"nn.Conv2d": {"*": {"channel_divisor": DIVISOR}}, "nn.BatchNorm2d": features, "nn.Linear": features}
    example = task.example_input()
    smaller, _ = mtp.prune(model, [("fastnas", rules)], {"flops": f"{100 * bound:.4f}%"}, example, config)
    return smaller, measure(smaller, example, latency=False).macs


if __name__ == "__main__":
    main()
