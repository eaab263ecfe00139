"""What `run` and `resume` share: driving an experiment while showing it, and saying how it ended."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import click

from autoprune.cli._common import Function, note, server_options, workspace_option
from autoprune.cli._progress import number, print_json, print_line, shorten
from autoprune.errors import AutopruneError

if TYPE_CHECKING:
    from autoprune.cli._live import Live
    from autoprune.manager.journal import Listener
    from autoprune.records import ExperimentState
    from autoprune.results.models import Best, Trial
    from autoprune.server.door import Door
    from autoprune.store import Experiment, Store, Workspace

_MOST_NUMBERS = 10


@dataclass(frozen=True)
class Show:
    """How a run is shown: as JSON lines, by its end alone, or with the `top` best trials in a live view."""

    as_json: bool
    quiet: bool
    top: int


def run_options(function: Function) -> Function:
    """What `run` and `resume` take: the parameters `detach: bool`, `show: Show`, `door: Door | None` and
    `workspace: Path | None`."""

    @wraps(function)
    def gathered(*given: Any, as_json: bool, quiet: bool, top: int, **others: Any) -> Any:
        return function(*given, show=Show(as_json, quiet, top), **others)

    wrapped = cast(Function, gathered)
    for option in (
        workspace_option,
        server_options,
        click.option(
            "--top",
            type=click.IntRange(1, 50),
            default=5,
            show_default=True,
            metavar="N",
            help="List the N best trials in the live view.",
        ),
        click.option("--quiet", is_flag=True, help="Say only how it ended."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON line per event."),
        click.option("--detach", is_flag=True, help="Return at once; the experiment runs on in the background."),
    ):
        wrapped = option(wrapped)
    return wrapped


def drive_and_show(
    experiment: Experiment,
    place: Workspace,
    store: Store,
    show: Show,
    door: Door | None,
    *,
    resumed: bool,
    detach: bool,
) -> int:
    """Drive to the end, or have another process do so; returns the exit code. `door` is where to serve the results,
    None for nowhere."""
    from autoprune.manager.launch import drive

    if detach:
        _detach(experiment, place, show, door)
        return 0
    with _served(place, door) as url, _listener(experiment, store, show) as listener:
        if show.as_json:
            print_json({"event": "experiment", "time": experiment.created, "id": experiment.id, "url": url})
        elif not show.quiet:
            note(f"experiment {experiment.id} in {place.folder(experiment.id)}")
            note(f"results at {url}" if url else "results are not served")
        outcome = drive(experiment, place, store, listener, resumed)
    if not show.as_json:
        _say_the_end(experiment, place, store, outcome.message)
    return outcome.code


def _detach(experiment: Experiment, place: Workspace, show: Show, door: Door | None) -> None:
    from autoprune.manager.launch import detach

    pid = detach(experiment, place, door.options if door else ["--no-server"])
    log = place.manager_log(experiment.id)
    if show.as_json:
        print_json({"id": experiment.id, "pid": pid, "log": str(log)})
        return
    click.echo(experiment.id)
    note(f"runs in the background as process {pid}; its log is {log}")
    note(f"watch it with: autoprune status {experiment.id}   stop it with: autoprune stop {experiment.id}")


@contextmanager
def _served(place: Workspace, door: Door | None) -> Iterator[str | None]:
    """The address of a server process for the time of the run; a run goes on without one that cannot start."""
    from autoprune.server.process import serving

    if door is None:
        yield None
        return
    with ExitStack() as held:
        try:
            url = held.enter_context(serving(place, door))
            if said := door.note(url):
                note(said)
        except AutopruneError as error:
            note(f"warning: {error}")
            url = None
        yield url


@contextmanager
def _listener(experiment: Experiment, store: Store, show: Show) -> Iterator[Listener]:
    if show.as_json:
        yield print_json
    elif show.quiet:
        yield lambda notice: None
    elif sys.stderr.isatty():
        from autoprune.cli._live import live_view

        with live_view(_new_view(experiment, store, show.top)) as listener:
            yield listener
    else:
        yield print_line


def _new_view(experiment: Experiment, store: Store, top: int) -> Live:
    from autoprune.cli._layers import sparsities
    from autoprune.cli._live import Live, Success
    from autoprune.config import ExperimentConfig
    from autoprune.records import OptimizeMode
    from autoprune.results.leaders import best_so_far
    from autoprune.store import trials

    config = ExperimentConfig.from_json(experiment.config)
    highest = config.optimize_mode is OptimizeMode.MAXIMIZE
    with store.read() as tx:
        counts = trials.counts(tx, experiment.id)
        best = trials.best(tx, experiment.id, highest=highest, limit=max(top, 1))
        repeats = trials.repeats(tx, experiment.id)
        curve = best_so_far(tx, experiment)
        imported = sum(counts.values()) - trials.created(tx, experiment.id) - len(repeats)
    return Live(
        experiment.id,
        config,
        Counter({str(state): count for state, count in counts.items() if state.finished}),
        experiment.active_seconds,
        [
            Success(trial.value, trial.number, trial.parameters, sparsities(trial.metrics), trial.origin)
            for trial in best
            if trial.value is not None
        ],
        curve,
        imported,
        sum(trial.state.finished for trial in repeats),
        top,
    )


def _say_the_end(experiment: Experiment, place: Workspace, store: Store, message: str) -> None:
    from autoprune.cli._trials import repeated
    from autoprune.records import TrialState
    from autoprune.results import Results
    from autoprune.results.leaders import objectives
    from autoprune.search_space.leaves import is_number

    found = Results(place, store).experiment(experiment.id)
    best: Best | None = found.best
    click.echo(f"{experiment.id}: {message}")
    if best is None:
        click.echo("no trial is feasible" if found.trials.get(TrialState.SUCCEEDED) else "no trial has succeeded")
    else:
        others = {name: value for name, value in best.metrics.items() if name != "default" and is_number(value)}
        extra = f" ({shorten(others)})" if others else ""
        click.echo(f"best: trial {best.number} with {number(best.value)}{extra}: {shorten(best.parameters, 300)}")
        if again := repeated(best):
            click.echo(f"repeated: {again}")
        if len(objectives(experiment.config)) > 1:
            front = Results(place, store).pareto(experiment.id).items
            click.echo(f"that is by default alone; no other beats these in everything: {_numbers(front)}")
    _say_the_model(experiment, place, store, found.state)
    click.echo(f"results: {place.folder(experiment.id)}, or: autoprune view --workspace {place.root}")


def _say_the_model(experiment: Experiment, place: Workspace, store: Store, state: ExperimentState) -> None:
    """What was made of the best trial, where the experiment has a task and came to its end."""
    from autoprune.cli._model import show_model
    from autoprune.records import ExperimentState
    from autoprune.store import models

    with store.read() as tx:
        result = models.result(tx, experiment.id)
    if result is not None and state is ExperimentState.DONE:
        show_model(result, place.best(experiment.id))


def _numbers(trials: Sequence[Trial]) -> str:
    shown = ", ".join(str(trial.number) for trial in trials[:_MOST_NUMBERS])
    return f"trial{'s' if len(trials) > 1 else ''} {shown}{', ...' if len(trials) > _MOST_NUMBERS else ''}"
