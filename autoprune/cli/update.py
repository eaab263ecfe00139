"""`autoprune update`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._change import change
from autoprune.cli._common import examples, id_argument, opened, workspace_option

_NONE = "none"


def _count(ctx: click.Context, option: click.Parameter, given: str | None) -> int | str | None:
    if given is None or given == _NONE:
        return given
    if not given.isdecimal() or int(given) < 1:
        raise click.BadParameter(f"given {given}; expected a whole number from 1, or {_NONE}")
    return int(given)


def _duration(ctx: click.Context, option: click.Parameter, given: str | None) -> float | str | None:
    """Seconds, as experiment files spell durations."""
    if given is None or given == _NONE:
        return given
    from pydantic_core import PydanticCustomError

    from autoprune.config.values import parse_duration

    try:
        return parse_duration(given)
    except PydanticCustomError as error:
        raise click.BadParameter(f"given {given}; expected {error.message()}, or {_NONE}") from None


@click.command(
    epilog=examples(
        "autoprune update --max-trials 200",
        "autoprune update digits --concurrency 1",
        "autoprune update digits --max-duration 2h --max-trials none",
    )
)
@id_argument
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Run N trials at a time.")
@click.option("--max-trials", callback=_count, metavar="N", help="Stop after N trials in all; none for no limit.")
@click.option(
    "--max-duration",
    callback=_duration,
    metavar="TIME",
    help="Stop after this time in all, such as 90m or 2h; none for no limit.",
)
@workspace_option
def command(
    id: str | None,
    concurrency: int | None,
    max_trials: int | str | None,
    max_duration: float | str | None,
    workspace: Path | None,
) -> int:
    """Change the limits of the experiment ID: an id or the beginning of one; by default the newest.

    A running experiment obeys at once: what already runs is finished, except when its time is up. Of any other,
    `autoprune resume ID` goes on with the new limits, also where the experiment had ended because of the old ones.
    Imported trials do not count as trials of the experiment.
    """
    given = {"trialConcurrency": concurrency, "maxTrialNumber": max_trials, "maxExperimentDuration": max_duration}
    limits = {name: None if value == _NONE else value for name, value in given.items() if value is not None}
    if not limits:
        raise click.UsageError("nothing to change; give --concurrency, --max-trials or --max-duration")
    changed = ", ".join(f"{name} {_NONE if value is None else f'{value:g}'}" for name, value in limits.items())
    with opened(workspace) as (place, store):
        change(place, store, id, "update", limits, lambda experiment, _: f"updated {experiment}: {changed}")
    return 0
