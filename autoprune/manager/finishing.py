"""After the trials of a task: the smaller model of the best one, and at any time that of any trial once more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autoprune import probe
from autoprune.config import ExperimentConfig
from autoprune.manager.journal import Journal
from autoprune.manager.repeating import contest
from autoprune.manager.tasks import check_stop, devices, settings_of
from autoprune.protocol import REPORT
from autoprune.records import JSON, OptimizeMode, Trial, TrialState
from autoprune.runners.local import threads_of_a_trial
from autoprune.store import Experiment, Workspace

REFITS = "refit"
"""The folder of an experiment with the models of trials made again, by number."""

_TASK = "finish"
_REPORT_SECONDS = 120


def finish(
    experiment: Experiment,
    config: ExperimentConfig,
    workspace: Workspace,
    journal: Journal,
    *,
    epochs: int | None = None,
    out: Path | None = None,
) -> JSON:
    """Make the model of the best trial, beside the dense one and the starting points; None without a task or a best.

    It trains on for `epochs`, by default as the configuration says. It is saved with its card in `out`, by default the
    experiment's folder for it, of which the result is kept.
    """
    trials = journal.trials()
    found = contest(trials, highest=config.optimize_mode is OptimizeMode.MAXIMIZE)
    if config.task is None or found is None:
        return None
    journal.progress("makes the model of the best trial")
    winner, rival = found["winner"]["number"], found["rival"]
    place = out or workspace.best(experiment.id)
    outputs = {trial.number: str(workspace.output(experiment.id, trial.number)) for trial in trials}
    order = {
        "settings": settings_of(experiment, config, workspace),
        "experiment": experiment.id,
        "out": str(place),
        "candidates": [_candidate(root, trials, outputs) for root in _roots(winner, trials)],
        "verdict": {
            "winner": winner,
            "rival": None if rival is None else rival["number"],
            "noise": found["noise"],
            "ahead": found["ahead"],
        },
        "epochs": epochs,
        "threads": threads_of_a_trial(config.trial_concurrency),
        "outputs": [outputs[trial.number] for trial in trials if trial.state.finished],
    }
    listener, meanwhile = journal.progress, lambda: check_stop(journal)
    seen = devices(config)
    result = probe.ask(probe.SEARCH, _TASK, order, listener=listener, meanwhile=meanwhile, environment=seen)
    if out is None:
        journal.model_made(result, str(place))
    return result


def report(experiment: Experiment, workspace: Workspace, journal: Journal) -> None:
    """Put a report beside the model of the best trial, where there is one.

    It is drawn by a process of its own, since that takes more memory than a manager should have. Where it fails, a
    warning says so.
    """
    best = workspace.best(experiment.id)
    if not best.is_dir():
        return
    draft = workspace.folder(experiment.id) / f".{REPORT}"
    given = ["report", experiment.id, "--out", str(draft), "--workspace", str(workspace.root)]
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "autoprune", *given],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=_REPORT_SECONDS,
        )
        draft.replace(best / REPORT)
    except (OSError, subprocess.SubprocessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else ""
        why = said.splitlines()[-1] if said else str(error)
        journal.warning(f"no report was written ({why}); write it with: autoprune report {experiment.id}")


def refit(
    experiment: Experiment,
    config: ExperimentConfig,
    workspace: Workspace,
    trial: Trial,
    out: Path,
    listener: Callable[[str], None],
    *,
    epochs: int | None = None,
) -> JSON:
    """Make the model of this trial again, from its parameters and its seed, and save it in `out`."""
    run = {"trial": trial.number, "value": trial.value, "output": str(workspace.output(experiment.id, trial.number))}
    order = {
        "settings": settings_of(experiment, config, workspace),
        "experiment": experiment.id,
        "out": str(out),
        "candidates": [{"name": trial.origin, "parameters": trial.parameters, "runs": [run]}],
        "epochs": epochs,
        "threads": threads_of_a_trial(config.trial_concurrency),
        "anew": True,
    }
    return probe.ask(probe.SEARCH, _TASK, order, listener=listener, environment=devices(config))


def _roots(winner: int, trials: Sequence[Trial]) -> Iterator[Trial]:
    """The best trial, then the starting points."""
    yield next(trial for trial in trials if trial.number == winner)
    for trial in trials:
        if trial.origin and trial.repeat_of is None and trial.number != winner and _counts(trial):
            yield trial


def _candidate(root: Trial, trials: Sequence[Trial], outputs: dict[int, str]) -> JSON:
    """A trial and its repeats."""
    runs = [root, *(trial for trial in trials if trial.repeat_of == root.number and _counts(trial))]
    return {
        "name": root.origin,
        "parameters": root.parameters,
        "runs": [{"trial": run.number, "value": run.value, "output": outputs[run.number]} for run in runs],
    }


def _counts(trial: Trial) -> bool:
    return trial.state is TrialState.SUCCEEDED and trial.feasible
