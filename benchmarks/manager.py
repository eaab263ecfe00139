"""What running trials costs: autoprune beside a bare pool of subprocesses that starts the same scripts.

    python benchmarks/manager.py [--trials 60] [--concurrency 2]

Two scripts: one that does nothing but report, and one that imports torch first. Both pools run in this order, on
this machine, one after the other; the ratio is what to look at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SCRIPTS = {
    "no-op": "import autoprune\nautoprune.report_final_result(autoprune.get_parameters()['x'])\n",
    "imports torch": "import torch, autoprune\nautoprune.report_final_result(autoprune.get_parameters()['x'])\n",
}
SPACE = {"x": {"_type": "uniform", "_value": [0, 1]}}


def bare(folder: Path, trials: int, concurrency: int) -> float:
    """Seconds for the same scripts from a thread pool, with the parameters where the trial API looks for them."""

    def one(number: int) -> None:
        attempt = folder / f"bare-{number}"
        attempt.mkdir()
        (attempt / "parameters.json").write_text(json.dumps({"x": 0.5}))
        environment = {**os.environ, "AUTOPRUNE_ATTEMPT_DIR": str(attempt), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "trial.py"], cwd=folder, env=environment, check=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(one, range(trials)))
    return time.perf_counter() - began


def managed(folder: Path, trials: int, concurrency: int) -> tuple[float, float]:
    """Seconds for a whole `autoprune run`, and for its trials alone (first start to last end)."""
    config = {
        "searchSpace": SPACE,
        "trialCommand": "python trial.py",
        "trialConcurrency": concurrency,
        "maxTrialNumber": trials,
        "tuner": {"name": "Random", "classArgs": {"seed": 1}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "autoprune", "run", "config.json", "--no-server", "--json", "--workspace", "ws"]
    began = time.perf_counter()
    marks = {}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            event = json.loads(line)["event"]
            if event == "trial_started":
                marks.setdefault("start", time.perf_counter())
            marks["end" if event == "trial_ended" else "other"] = time.perf_counter()
    if process.returncode != 0:
        sys.exit(f"the run ended with exit code {process.returncode}")
    return time.perf_counter() - began, marks["end"] - marks["start"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--concurrency", type=int, default=2)
    options = parser.parse_args()
    print(f"{options.trials} trials, {options.concurrency} at a time")
    print(f"{'script':<14} {'bare':>9} {'autoprune':>10} {'ratio':>6} {'whole command':>14}")
    for name, script in SCRIPTS.items():
        with tempfile.TemporaryDirectory() as name_of_folder:
            folder = Path(name_of_folder)
            (folder / "trial.py").write_text(script)
            alone = bare(folder, options.trials, options.concurrency)
            whole, inside = managed(folder, options.trials, options.concurrency)
        rates = f"{options.trials / alone:7.1f}/s {options.trials / inside:8.1f}/s"
        print(f"{name:<14} {rates} {alone / inside:6.2f} {whole:12.1f} s")


if __name__ == "__main__":
    main()
