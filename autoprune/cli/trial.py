"""`autoprune trial`: the commands about one trial."""

from __future__ import annotations

import click

from autoprune.cli._lazy import LazyGroup, Table

COMMANDS: Table = {
    "show": ("autoprune.cli.trial_show", "Show a trial's parameters, metrics and attempts."),
    "log": ("autoprune.cli.trial_log", "Print what a trial wrote."),
    "kill": ("autoprune.cli.trial_kill", "Kill a running trial."),
    "enqueue": ("autoprune.cli.trial_enqueue", "Have a trial run with given parameters."),
    "retry": ("autoprune.cli.trial_retry", "Run a trial that did not succeed once more."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Show, follow, enqueue, kill or retry one trial."""
