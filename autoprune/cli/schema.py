"""`autoprune schema`."""

from __future__ import annotations

import click

from autoprune.cli._common import examples, print_json


@click.command(epilog=examples("autoprune schema > autoprune.schema.json"))
def command() -> None:
    """Print the JSON Schema of experiment files.

    Editors with a YAML language server use it when a file's first line is
    `# yaml-language-server: $schema=autoprune.schema.json`.
    """
    from autoprune.config import schema

    print_json(schema())
