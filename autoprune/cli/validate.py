"""`autoprune validate`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, json_option, note, print_json


@click.command(
    epilog=examples("autoprune validate config.yml", "autoprune validate config.yml --set trialGpuNumber=0 --json")
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field (v2 name).")
@json_option
def command(config: Path, overrides: tuple[str, ...], as_json: bool) -> int:
    """Check CONFIG and the search space or the task it names; show everything that is wrong, with its place.

    Of a task, the model is built and run on its example input, and the budget must be within reach. Exits with 0 when
    an experiment could start from them, else with 2.
    """
    from autoprune.config import load
    from autoprune.errors import ConfigError, Problem, UsageError
    from autoprune.manager import tasks
    from autoprune.manager.launch import check

    try:
        loaded = load(config, overrides)
        check(loaded.config)
        tasks.check(loaded.config)
    except UsageError as error:
        if not as_json:
            raise
        problems = error.problems if isinstance(error, ConfigError) else [Problem("", "", str(error))]
        print_json({"valid": False, "problems": [problem.to_json() for problem in problems], "notes": []})
        return error.exit_code
    if as_json:
        print_json({"valid": True, "problems": [], "notes": list(loaded.notes), "config": loaded.config.to_json()})
        return 0
    for text in loaded.notes:
        note(f"note: {text}")
    click.echo(f"{config} is valid")
    return 0
