"""`autoprune space`."""

from __future__ import annotations

import click

from autoprune.cli._common import examples, note, print_json


@click.command(
    epilog=examples(
        "autoprune space task.py:Task > search_space.json",
        "autoprune space task.py:Task --pruners level,l1 --granularity block",
        "autoprune space task.py:Task --pruners l1 --budget macs=.35 --arg width=16",
    )
)
@click.argument("task", metavar="TASK.py:CLASS")
@click.option("--pruners", default="level", show_default=True, metavar="A,B", help="Pruners to choose from.")
@click.option(
    "--granularity",
    type=click.Choice(["layer", "block", "stage"]),
    default="layer",
    show_default=True,
    help="What has a sparsity of its own.",
)
@click.option(
    "--budget", metavar="KIND=AMOUNT", help="What trials will be scaled to: it must be within reach of the model."
)
@click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="An argument of the class.")
def command(task: str, pruners: str, granularity: str, budget: str | None, arguments: tuple[str, ...]) -> None:
    """Print the search space of the model that TASK.py:CLASS builds, as JSON for any trial script.

    CLASS is a subclass of autoprune.Task. The space is a choice of a pruner, and inside it a sparsity for each layer.
    Layers that can only lose filters together share one sparsity, and those of which nothing can go have none. The
    model is built and not trained. What autoprune itself searches, where the configuration names a task, is this.
    """
    from autoprune.config.load import load_plain
    from autoprune.manager.tasks import request_of
    from autoprune.probe import SEARCH, ask

    search = {"pruners": [name.strip() for name in pruners.split(",")], "granularity": granularity}
    given = [f"taskArguments.{argument}" for argument in arguments] + ([f"budget.{budget}"] if budget else [])
    config = load_plain({"task": task, "search": search}, given).config
    answer = ask(SEARCH, "space", {"settings": request_of(config)})
    print_json(answer["space"])
    for pruner, groups in answer["groups"].items():
        for group in groups:
            if len(group["layers"]) > 1:
                note(f"{pruner}: {group['name']}_sparsity is that of {', '.join(group['layers'])}")
