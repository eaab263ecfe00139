"""From a configuration to an experiment in the store, and from an experiment in the store to its end."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autoprune.config import ExperimentConfig
from autoprune.errors import AutopruneError, StoreError, UsageError
from autoprune.manager import tasks
from autoprune.manager.advisor_client import AdvisorClient
from autoprune.manager.finishing import finish, report
from autoprune.manager.journal import Journal, Listener
from autoprune.manager.loop import Manager
from autoprune.manager.outcome import Outcome
from autoprune.manager.recover import TakenUp, history, take_up
from autoprune.manager.starts import all_starts
from autoprune.records import ExperimentState, StartingPoint, timestamp
from autoprune.runners import Options, Runner, runners
from autoprune.store import Experiment, Store, Workspace, experiments

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 3600.0
"""Seconds that a manager waits for a database that another process holds: its trials run on meanwhile."""


def check(config: ExperimentConfig) -> None:
    """Raises UsageError for what only shows when one tries: folders and GPUs that are not there, and a tuner class
    that cannot be imported or made. User code is imported in a process of its own."""
    _runner(config).close()
    if config.tuner.class_name is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        start = {"do": "start", "config": config.to_json(), "seed": config.seed or 0}
        with contextlib.closing(AdvisorClient(start, tuple, Path(folder) / "log", config.tuner_timeout)) as client:
            while client.descriptors():
                select.select(client.descriptors(), [], [], 0.1)
                client.answers()


def new_experiment(config: ExperimentConfig, source: str, workspace: Workspace, store: Store) -> Experiment:
    """Write a new experiment into the store, ready to be driven."""
    now = time.time()
    experiment = Experiment(
        id=_new_id(config.experiment_name, now),
        name=config.experiment_name,
        config=config.to_json(),
        source=source,
        seed=config.seed if config.seed is not None else secrets.randbits(31),
        state=ExperimentState.RUNNING,
        created=timestamp(now),
    )
    with store.write(durable=True) as tx:
        experiments.create(tx, experiment)
    return experiment


def end_orphans(experiment: Experiment, workspace: Workspace, store: Store) -> None:
    """End what a manager that died left running. Its trials wait, and the experiment can be resumed."""
    config = ExperimentConfig.from_json(experiment.config)
    runner = _make_runner(config)
    with workspace.lock(experiment.id), contextlib.closing(runner):
        journal = Journal(store, experiment.id, runner.now, lambda notice: None)
        taken_up = take_up(experiment, store, workspace, runner, journal)
        journal.active(taken_up.active_seconds)
        journal.experiment_ended(ExperimentState.STOPPED, "stopped by command after its manager died")


def drive(experiment: Experiment, workspace: Workspace, store: Store, listener: Listener, resumed: bool) -> Outcome:
    """Run an experiment from where it stands, as its only manager."""
    store = store.patient(_PATIENCE)
    with contextlib.ExitStack() as held:
        held.enter_context(_told_how_to_go_on(experiment.id))
        held.enter_context(workspace.lock(experiment.id))
        locked = timestamp(time.time())
        with store.read() as tx:
            experiment = experiments.get(tx, experiment.id)
        config = ExperimentConfig.from_json(experiment.config)
        runner = held.enter_context(contextlib.closing(_runner(config)))
        journal = Journal(store, experiment.id, runner.now, listener)
        journal.refuse_commands_before(locked)
        taken_up = take_up(experiment, store, workspace, runner, journal)
        journal.experiment_started(resumed)
        try:
            outcome = _stages(_Drive(experiment, workspace, store, runner, journal, taken_up), config)
        except AutopruneError as error:
            with contextlib.suppress(StoreError):
                journal.experiment_ended(ExperimentState.FAILED, str(error))
            raise
        if outcome.state is ExperimentState.DONE and config.task is not None:
            _report_and_end(experiment, workspace, journal, outcome)
        else:
            journal.experiment_ended(outcome.state, outcome.message)
        return outcome


@dataclass(frozen=True)
class _Drive:
    """All that one manager holds of its experiment while it drives it."""

    experiment: Experiment
    workspace: Workspace
    store: Store
    runner: Runner
    journal: Journal
    taken_up: TakenUp


def _stages(held: _Drive, config: ExperimentConfig) -> Outcome:
    """The trials; with a task, after a study of its model, and before what is made of the best."""
    experiment, journal = held.experiment, held.journal
    try:
        config, studied = tasks.study(experiment, config, held.workspace, held.store, journal)
        starts = all_starts(config, studied)
        if config.max_trial_number is not None and config.max_trial_number < len(starts):
            limit = f"maxTrialNumber is {config.max_trial_number}"
            journal.warning(f"{limit}, and there are {len(starts)} starting points: the tuner will not be asked")
        outcome = _search(held, config, starts)
        if outcome.state is ExperimentState.DONE:
            finish(experiment, config, held.workspace, journal)
        return outcome
    except tasks.StoppedError as error:
        return Outcome(ExperimentState.STOPPED, 0, str(error))
    except KeyboardInterrupt:
        return _interrupted(experiment, signal.SIGINT)
    except SystemExit:
        return _interrupted(experiment, signal.SIGTERM)


def _report_and_end(experiment: Experiment, workspace: Workspace, journal: Journal, outcome: Outcome) -> None:
    """The report says how the experiment ended; that it ended is told last."""
    ended = journal.experiment_ending(outcome.state, outcome.message)
    try:
        report(experiment, workspace, journal)
    finally:
        journal.experiment_ended(outcome.state, outcome.message, ended)


def _search(held: _Drive, config: ExperimentConfig, starts: Sequence[StartingPoint]) -> Outcome:
    """All trials, from where they stand to a limit or the end of the space."""
    experiment, workspace, store, journal = held.experiment, held.workspace, held.store, held.journal
    folder = workspace.folder(experiment.id)
    command = tasks.command(config)
    held.runner.prepare(command, config.trial_code_directory, folder / "fork-server.log")
    start = {"do": "start", "config": config.to_json(), "seed": experiment.seed}
    advisor = AdvisorClient(start, lambda: history(store, experiment.id), folder / "tuner.log", config.tuner_timeout)
    with contextlib.closing(advisor):
        manager = Manager(
            experiment.id,
            config,
            workspace,
            held.runner,
            advisor,
            journal,
            held.taken_up,
            command,
            starts,
            tasks.environment(experiment, config, workspace),
        )
        try:
            with _signals_to(manager):
                return manager.run()
        finally:
            with contextlib.suppress(StoreError):
                journal.active(manager.active_seconds())


@contextlib.contextmanager
def _told_how_to_go_on(id: str) -> Iterator[None]:
    """A database that fails, of a full disk for example, loses nothing that it has said to have kept."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{error}; once that is mended, go on with: autoprune resume {id}") from error


def _interrupted(experiment: Experiment, number: signal.Signals) -> Outcome:
    message = f"interrupted; go on with: autoprune resume {experiment.id}"
    return Outcome(ExperimentState.STOPPED, 128 + number, message)


def detach(
    experiment: Experiment, workspace: Workspace, serve: Sequence[str] = ("--no-server",), patience: float = 60.0
) -> int:
    """Have another process drive the experiment, which none does yet; returns its id once it holds the lock. `serve`
    are the options of `autoprune resume` that say where to serve its results."""
    with workspace.lock(experiment.id):
        pass
    command = [sys.executable, "-m", "autoprune", "resume", experiment.id, "--workspace", str(workspace.root), *serve]
    with open(workspace.manager_log(experiment.id), "ab", opener=_private) as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + patience
    while not workspace.locked(experiment.id):
        if process.poll() == 0:
            break
        if process.poll() is not None or time.monotonic() > deadline:
            raise AutopruneError(
                f"the manager of {experiment.id} did not start; its log is {workspace.manager_log(experiment.id)}"
            )
        time.sleep(0.02)
    threading.Thread(target=process.wait, daemon=True).start()  # no zombie, where the caller lives longer
    return process.pid


def _private(path: str, flags: int) -> int:
    """Opens a file for its owner alone: the log of a manager has the link that lets into its server."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _runner(config: ExperimentConfig) -> Runner:
    """The runner the configuration names, if it can do what is asked."""
    if not config.trial_code_directory.is_dir():
        raise UsageError(f"the trials' code directory {config.trial_code_directory} is not there any more")
    runner = _make_runner(config)
    refusal = runner.check(config.trial_gpu_number)
    if refusal:
        runner.close()
        raise UsageError(f"{refusal}; to run the trials on the CPU, give --set trialGpuNumber=0")
    return runner


def _make_runner(config: ExperimentConfig) -> Runner:
    service = config.training_service
    options = Options(
        gpu_indices=service.gpu_indices,
        trials_per_gpu=service.max_trial_number_per_gpu,
        use_active_gpu=service.use_active_gpu,
        warm_start=service.warm_start,
    )
    return runners.get(service.platform)(config.trial_concurrency, options)


def _new_id(name: str, now: float) -> str:
    """`<slug>-<yymmdd>-<4 base32>`."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "experiment"
    day = datetime.fromtimestamp(now, UTC).strftime("%y%m%d")
    return f"{slug}-{day}-{base64.b32encode(secrets.token_bytes(3)).decode().lower()[:4]}"


@contextlib.contextmanager
def _signals_to(manager: Manager) -> Iterator[None]:
    """Signals that ask this process to end ask the manager instead, which leaves everything in order.

    One that whoever started this process chose to ignore (`nohup`) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: manager.interrupt(number)) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
