"""The `autoprune` command: the list of its commands, and nothing that takes time to import."""

from __future__ import annotations

import sys

import click

from autoprune.cli._lazy import RootGroup, Table

COMMANDS: Table = {
    "run": ("autoprune.cli.run", "Run an experiment from its YAML file."),
    "validate": ("autoprune.cli.validate", "Check an experiment's YAML file without running it."),
    "schema": ("autoprune.cli.schema", "Print the JSON Schema of experiment files, for editors."),
    "list": ("autoprune.cli.list", "List the experiments of the workspace."),
    "status": ("autoprune.cli.status", "Show where an experiment stands."),
    "trials": ("autoprune.cli.trials", "List the trials of an experiment."),
    "trial": ("autoprune.cli.trial", "Show, follow or kill one trial."),
    "best": ("autoprune.cli.best", "Show the best trial of an experiment."),
    "export": ("autoprune.cli.export", "Write all trials of an experiment as CSV or JSON."),
    "view": ("autoprune.cli.view", "Serve the results over HTTP until Ctrl-C."),
    "resume": ("autoprune.cli.resume", "Go on with an experiment that stopped."),
    "stop": ("autoprune.cli.stop", "Stop a running experiment."),
    "delete": ("autoprune.cli.delete", "Delete an experiment and its files."),
}


@click.group(
    cls=RootGroup,
    table=COMMANDS,
    epilog="Start with: autoprune run config.yml",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="autoprune", message="%(prog)s %(version)s")
def cli() -> None:
    """Find the sparsest version of a network that still does its job."""


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.platform == "win32":
        click.echo("error: autoprune does not run on Windows; use Linux, macOS or WSL 2", err=True)
        sys.exit(2)
    cli(prog_name="autoprune")


if __name__ == "__main__":
    main()
