"""`autoprune init`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, note


@click.command(epilog=examples("autoprune init", "autoprune init my-search && autoprune run my-search/config.yml"))
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path())
def command(folder: Path) -> int:
    """Write a small experiment into DIR, by default the current folder, ready to run and to change.

    It prunes a network on scikit-learn's digits: config.yml, search_space.json, trial.py, and a README.md that says
    what to type. Files that exist are never written over.
    """
    import shlex
    from importlib.resources import files

    from autoprune.errors import UsageError

    templates = sorted(
        (template for template in (files("autoprune.cli") / "_example").iterdir() if template.is_file()),
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
