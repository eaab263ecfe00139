"""What running trials costs: warm, cold, and beside a bare pool of subprocesses that starts the same scripts.

    python benchmarks/manager.py [--trials 200] [--concurrency 2] [--scripts NAME,NAME]

Warm trials start from the fork server, cold ones (`trainingService.warmStart: false`) in a new interpreter each. A
rate is that of all trials but the first, from its end to the end of the last: the first one waits for the server.
`first` is when that one has ended, counted from the start of the command. All pools run one after the other on this
machine; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from textwrap import dedent

REPORT = "autoprune.report_final_result(autoprune.get_parameters()['x'])\n"
SCRIPTS = {
    "no-op": f"import autoprune\n{REPORT}",
    "imports torch": f"import torch, autoprune\n{REPORT}",
    "trains 3 steps": dedent("""
        import torch, autoprune
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(torch.rand(32, 64)), torch.randint(10, (32,))).backward()
            optimizer.step()
        """)
    + REPORT,
}
SPACE = {"x": {"_type": "uniform", "_value": [0, 1]}}


def rate(ends: list[float]) -> float:
    """Trials a second, but for the first."""
    return (len(ends) - 1) / (max(ends) - min(ends))


def bare(folder: Path, trials: int, concurrency: int) -> list[float]:
    """When each script of a thread pool has ended, with the parameters where the trial API looks for them."""

    def one(number: int) -> None:
        attempt = folder / f"bare-{number}"
        attempt.mkdir()
        (attempt / "parameters.json").write_text(json.dumps({"x": 0.5}))
        environment = {**os.environ, "AUTOPRUNE_ATTEMPT_DIR": str(attempt), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "trial.py"], cwd=folder, env=environment, check=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        futures = [pool.submit(one, number) for number in range(trials)]
        ends = []
        for future in as_completed(futures):
            future.result()
            ends.append(time.perf_counter() - began)
    return ends


def managed(folder: Path, trials: int, concurrency: int, *, warm: bool) -> list[float]:
    """When each trial of a whole `autoprune run` has ended, from the start of the command."""
    config = {
        "searchSpace": SPACE,
        "trialCommand": "python trial.py",
        "trialConcurrency": concurrency,
        "maxTrialNumber": trials,
        "tuner": {"name": "Random", "classArgs": {"seed": 1}},
        "trainingService": {"warmStart": warm},
    }
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "autoprune", "run", "config.json", "--no-server", "--json", "--workspace", "ws"]
    began = time.perf_counter()
    ends = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if json.loads(line)["event"] == "trial_ended":
                ends.append(time.perf_counter() - began)
    if process.returncode != 0 or len(ends) != trials:
        sys.exit(f"the run ended with exit code {process.returncode} after {len(ends)} trials")
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--scripts", default=",".join(SCRIPTS), help="by name, between commas")
    options = parser.parse_args()
    print(f"{options.trials} trials, {options.concurrency} at a time; trials a second, and when the first has ended\n")
    print("| script | bare | cold | warm | warm : cold | first, cold | first, warm |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.scripts.split(","):
        with tempfile.TemporaryDirectory() as name_of_folder:
            folder = Path(name_of_folder)
            (folder / "trial.py").write_text(SCRIPTS[name])
            alone = bare(folder, options.trials, options.concurrency)
            cold = managed(folder, options.trials, options.concurrency, warm=False)
            warm = managed(folder, options.trials, options.concurrency, warm=True)
        rates = " | ".join(f"{rate(ends):.1f}" for ends in (alone, cold, warm))
        first = f"{min(cold):.1f} s | {min(warm):.1f} s"
        print(f"| {name} | {rates} | {rate(warm) / rate(cold):.1f} | {first} |", flush=True)


if __name__ == "__main__":
    main()
