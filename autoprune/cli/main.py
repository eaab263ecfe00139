"""The `autoprune` command: the list of its commands, and nothing that takes time to import."""

from __future__ import annotations

import sys

import click

from autoprune.cli._lazy import RootGroup, Table

COMMANDS: Table = {
    "init": ("autoprune.cli.init", "Write a small experiment to start from."),
    "run": ("autoprune.cli.run", "Run an experiment from its YAML file."),
    "validate": ("autoprune.cli.validate", "Check an experiment's YAML file without running it."),
    "space": ("autoprune.cli.space", "Print the search space of a task's model."),
    "schema": ("autoprune.cli.schema", "Print the JSON Schema of experiment files, for editors."),
    "list": ("autoprune.cli.list", "List the experiments of the workspace."),
    "status": ("autoprune.cli.status", "Show where an experiment stands."),
    "trials": ("autoprune.cli.trials", "List the trials of an experiment."),
    "trial": ("autoprune.cli.trial", "Show, follow, enqueue, kill or retry one trial."),
    "best": ("autoprune.cli.best", "Show the best trial or trials of an experiment."),
    "refit": ("autoprune.cli.refit", "Make the smaller model of a trial once more."),
    "scan": ("autoprune.cli.scan", "Show how sensitive the layers of a task's model are."),
    "import": ("autoprune.cli.import_", "Take results of other experiments into an experiment."),
    "export": ("autoprune.cli.export", "Write all trials as CSV, JSON or an Optuna database."),
    "report": ("autoprune.cli.report", "Write a report of an experiment as one HTML file."),
    "view": ("autoprune.cli.view", "Serve the results over HTTP until Ctrl-C."),
    "resume": ("autoprune.cli.resume", "Go on with an experiment that stopped."),
    "update": ("autoprune.cli.update", "Change the limits of an experiment, also while it runs."),
    "stop": ("autoprune.cli.stop", "Stop a running experiment."),
    "delete": ("autoprune.cli.delete", "Delete an experiment and its files."),
    "compress": ("autoprune.cli.compress", "Prune a model once and make it really smaller."),
    "cost": ("autoprune.cli.cost", "Measure what a model costs: size, MACs, latency, memory."),
    "doctor": ("autoprune.cli.doctor", "Say what is wrong with this machine or the workspace."),
    "completion": ("autoprune.cli.completion", "Print the script that completes commands in a shell."),
}


@click.group(
    cls=RootGroup,
    table=COMMANDS,
    epilog="Start with: autoprune init",
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
