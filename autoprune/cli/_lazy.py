"""Groups of commands whose modules are imported when called, and errors turned into exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from autoprune.errors import AutopruneError, did_you_mean

Table: TypeAlias = Mapping[str, tuple[str, str]]
"""A command's name -> (its module, its summary in `--help`), in the order that `--help` shows."""

INTERRUPTED = 130
_PIPE_CLOSED = 141


class LazyGroup(click.Group):
    """A group that knows its commands by name and summary, and imports a module only to run it."""

    def __init__(self, *args: Any, table: Table, **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        command = importlib.import_module(self.table[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.table and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command is called {name!r} ({did_you_mean(name, list(self.table))})", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [(name, summary) for name, (_, summary) in self.table.items() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=summary) for name, summary in commands), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.table.items()])


class RootGroup(LazyGroup):
    """The outermost group: a command's whole number is the exit code, and every error has one."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
        except AutopruneError as error:
            click.echo(f"error: {error}", err=True)
            code = error.exit_code
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            _silence_stdout()
            code = _PIPE_CLOSED
        ctx.exit(code if isinstance(code, int) else 0)


def _silence_stdout() -> None:
    """Whoever read our output has gone; what is still buffered goes nowhere, without a second complaint."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
