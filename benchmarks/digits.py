"""What a search on the digits is worth: its best trial beside the same sparsity in every layer, on unseen images.

    autoprune run experiments/digits-v2/config.yml
    python benchmarks/digits.py [--seeds 10]

Reads the newest experiment of the workspace. Fine-tunes its best trial's parameters, and uniform sparsity with either
pruner at several learning rates, anew under several seeds, and evaluates each once on the 360 test images that no
search has seen. The learning rate of a uniform row is chosen on the validation images, as the search's was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "experiments" / "digits"))

from network import evaluate, prepared, train_epoch  # noqa: E402

import autoprune  # noqa: E402
from autoprune.compression.torch import AGPPruner, LevelPruner, achieved_sparsity, layer_sizes  # noqa: E402

TOTAL_SPARSITY, EPOCHS = 0.9, 8
LEARNING_RATES = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03)


def refit(params: dict[str, Any], seed: int) -> tuple[float, float, float]:
    """Validation and test accuracy, and the achieved sparsity, of one fine-tuning as experiments/digits-v2 does it."""
    model = prepared()
    sizes = layer_sizes(model)
    sparsity = autoprune.scale_to_target({name: params[name] for name in sizes}, sizes, TOTAL_SPARSITY)
    if params["method"] == "agp":
        schedule = {"initial_sparsity": 0, "end_epoch": EPOCHS - 2}
        pruner = AGPPruner(model, [{"final_sparsity": sparsity[n], "op_names": [n], **schedule} for n in sizes])
    else:
        pruner = LevelPruner(model, [{"sparsity": sparsity[n], "op_names": [n]} for n in sizes])
    pruner.compress()
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=params["learning_rate"])
    for epoch in range(EPOCHS):
        train_epoch(model, optimizer)
        pruner.update_epoch(epoch + 1)
    return evaluate(model), evaluate(model, "test"), achieved_sparsity(model)


def uniform(method: str) -> dict[str, Any]:
    """The same sparsity everywhere, with the learning rate that does best on the validation images."""
    candidates = [
        {"method": method, "learning_rate": rate, **dict.fromkeys(("conv0", "conv1", "fc"), TOTAL_SPARSITY)}
        for rate in LEARNING_RATES
    ]
    return max(candidates, key=lambda params: statistics.mean(refit(params, seed)[0] for seed in range(3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shown = subprocess.run([sys.executable, "-m", "autoprune", "best", "--json"], capture_output=True, text=True)
    if shown.returncode != 0 or not shown.stdout.strip():
        sys.exit(f"no best trial: {shown.stderr.strip()}")
    best = json.loads(shown.stdout)["parameters"]
    rows = {
        "level, uniform": uniform("level"),
        "agp, uniform": uniform("agp"),
        f"best trial ({best['method']})": best,
    }
    print(f"test accuracy after {EPOCHS} epochs of fine-tuning, {options.seeds} seeds")
    print(f"{'dense':<20} {100 * evaluate(prepared(), 'test'):6.2f} %")
    for name, params in rows.items():
        results = [refit(params, seed) for seed in range(options.seeds)]
        accuracies = [100 * test for _, test, _ in results]
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        accuracy = f"{statistics.mean(accuracies):6.2f} % +- {spread:.2f}"
        print(f"{name:<20} {accuracy}  sparsity {results[0][2]:.4f}  learning rate {params['learning_rate']:.4f}")


if __name__ == "__main__":
    main()
