"""`autoprune completion`."""

from __future__ import annotations

import click

from autoprune.cli._common import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        "autoprune completion bash > ~/.local/share/bash-completion/completions/autoprune",
        "autoprune completion zsh > ~/.zfunc/_autoprune    # with fpath+=~/.zfunc before compinit in ~/.zshrc",
        "autoprune completion fish > ~/.config/fish/completions/autoprune.fish",
        'eval "$(autoprune completion bash)"               # for this shell alone',
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script with which SHELL completes autoprune's commands, options, experiment ids and trial numbers.

    Put it where the shell looks for such scripts, as below, and open a new shell.
    """
    from click.shell_completion import get_completion_class

    from autoprune.cli.main import cli

    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(cli, {}, "autoprune", "_AUTOPRUNE_COMPLETE").source())
