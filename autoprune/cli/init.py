"""`autoprune init`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, note


@click.command(
    epilog=examples(
        "autoprune init",
        "autoprune init my-search && autoprune run my-search/config.yml",
        "autoprune init --task my-model",
    )
)
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--task", "as_task", is_flag=True, help="Say how the network is built, trained and judged; autoprune does the rest."
)
def command(folder: Path, as_task: bool) -> int:
    """Write a small experiment into DIR, by default the current folder, ready to run and to change.

    It prunes a network on scikit-learn's digits. Either a trial script of your own does everything (config.yml,
    search_space.json, trial.py), or with --task, autoprune prunes your model within a budget (config.yml, task.py). A
    README.md says what to type. Files that exist are never written over.
    """
    import shlex
    from importlib.resources import files

    from autoprune.errors import UsageError

    example = "_example_task" if as_task else "_example"
    templates = sorted(
        (template for template in (files("autoprune.cli") / example).iterdir() if template.is_file()),
        key=lambda template: template.name,
    )
    present = [template.name for template in templates if (folder / template.name).exists()]
    if present:
        raise UsageError(f"{folder} already has {', '.join(present)}; name another folder: autoprune init my-search")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for template in templates:
            (folder / template.name).write_bytes(template.read_bytes())
            click.echo(folder / template.name)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from None
    note(f"run it with: autoprune run {shlex.quote(str(folder / 'config.yml'))}")
    return 0
