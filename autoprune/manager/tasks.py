"""Experiments with a task: what is asked of the process that knows its model before the trials."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from autoprune import probe
from autoprune.config import ExperimentConfig
from autoprune.errors import AutopruneError
from autoprune.manager.journal import Journal
from autoprune.protocol import GPUS_VARIABLE
from autoprune.records import JSON, OptimizeMode, StartingPoint
from autoprune.results.curves import curve_lines
from autoprune.store import Experiment, Store, Workspace, experiments, models
from autoprune.taskfile import check_unchanged, task_key

SETTINGS_VARIABLE = "AUTOPRUNE_SEARCH"
_SCRIPT = ("entry", "trial.py")


def command(config: ExperimentConfig) -> str:
    """The command that runs a trial: the user's, or for a task the script of the search."""
    if config.trial_command is not None:
        return config.trial_command
    spec = find_spec("autoprune.search")
    assert spec is not None
    assert spec.submodule_search_locations
    return shlex.join([sys.executable, str(Path(spec.submodule_search_locations[0]).joinpath(*_SCRIPT))])


def settings_of(experiment: Experiment, config: ExperimentConfig, workspace: Workspace) -> dict[str, JSON]:
    """What the search has to know of an experiment: its request, and the file that trials read."""
    file = settings_file(experiment.id, workspace)
    key = json.loads(file.read_text(encoding="utf-8")).get("key") if file.exists() else None
    return {**request_of(config, workspace.root / "prepared", experiment.seed, file.parent), "key": key}


def request_of(
    config: ExperimentConfig, prepared: Path = Path(), seed: int = 0, folder: Path | None = None
) -> dict[str, JSON]:
    """The same of a configuration alone, for what neither prepares a model nor trains one."""
    given = config.to_json()
    return {
        "task": config.task,
        "arguments": config.task_arguments,
        "prepared": str(prepared),
        "budget": given["budget"],
        "search": {**given["search"], "pruners": config.pruners},
        "seed": seed,
        "maximize": config.optimize_mode is OptimizeMode.MAXIMIZE,
        "assessed": config.assessor is not None,
        "folder": None if folder is None else str(folder),
    }


def devices(config: ExperimentConfig) -> dict[str, str]:
    """What the environment of a process that knows the model says of GPUs: where trials see none, it sees none."""
    return {} if config.trial_gpu_number else {GPUS_VARIABLE: ""}


def check(config: ExperimentConfig) -> None:
    """Raises an error where the task can not be searched: its class, its model, its pruners or its budget."""
    if config.task is not None:
        probe.ask(probe.SEARCH, "check", {"settings": request_of(config)}, environment=devices(config))


def settings_file(experiment: str, workspace: Workspace) -> Path:
    return workspace.folder(experiment) / "search.json"


def environment(experiment: Experiment, config: ExperimentConfig, workspace: Workspace) -> dict[str, str]:
    """What the trials of a task find in their environment."""
    return {} if config.task is None else {SETTINGS_VARIABLE: str(settings_file(experiment.id, workspace))}


def study(
    experiment: Experiment, config: ExperimentConfig, workspace: Workspace, store: Store, journal: Journal
) -> tuple[ExperimentConfig, list[StartingPoint]]:
    """Learn what the model is made of, unless that is known: the configuration with its search space, and where to
    start."""
    if config.task is None:
        return config, []
    with store.read() as tx:
        facts = models.facts(tx, experiment.id)
    settings = settings_of(experiment, config, workspace)
    if facts is None:
        settings["key"] = task_key(config.task, config.task_arguments)
    elif settings["key"] is not None:
        check_unchanged(config.task, config.task_arguments, settings["key"])
    _write(settings, settings_file(experiment.id, workspace))
    if facts is None:
        key = _key(config)
        with store.read() as tx:
            known = models.known(tx, key)
        curves = known["curves"] if known else []
        request = {"settings": settings, "curves": curves, "workers": config.trial_concurrency}
        journal.study_started()
        facts = probe.ask(
            probe.SEARCH,
            "study",
            request,
            listener=journal.progress,
            meanwhile=lambda: check_stop(journal),
            environment=devices(config),
        )
        with store.write(durable=True) as tx:
            models.save(tx, experiment.id, key, facts)
            stored = {**config.to_json(), "searchSpace": facts["space"]}
            experiments.set_config(tx, experiment.id, stored)
        journal.study_ended(curve_lines(facts))
        config = ExperimentConfig.from_json(stored)
    return config, [StartingPoint(**start) for start in facts["starts"]]


def _write(settings: dict[str, JSON], file: Path) -> None:
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(settings), encoding="utf-8")
    partial.replace(file)


class StoppedError(AutopruneError):
    """Somebody asked the experiment to stop before its first trial, or after its last."""


def check_stop(journal: Journal) -> None:
    """Raises StoppedError where somebody has asked for it, and refuses all else; called again and again while a process
    works."""
    for command in journal.pending():
        if command.kind == "stop":
            journal.answered(command)
            raise StoppedError("stopped by command")
        journal.answered(command, "the model is being prepared, or the result made; ask again later")


def _key(config: ExperimentConfig) -> str:
    """All that a scan depends on."""
    assert config.task is not None
    file = config.task.rpartition(":")[0]
    search = config.to_json()["search"]
    said = [config.task, config.task_arguments, config.pruners, search["granularity"], search["scan"]]
    return hashlib.sha256(Path(file).read_bytes() + json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]
