"""`autoprune view`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, json_option, note, print_json, workspace_option
from autoprune.errors import UsageError

if TYPE_CHECKING:
    from autoprune.server.serve import Address

_LOOPBACK = "127.0.0.1"


@click.command(epilog=examples("autoprune view", "autoprune view --port 9000"))
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Or the next free one.")
@click.option("--host", default=_LOOPBACK, show_default=True, help="Another than loopback needs --token-file.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read the token from it, or create it with a new one; by default AUTOPRUNE_TOKEN, else a new one.",
)
@json_option
@workspace_option
def command(port: int, host: str, token_file: Path | None, as_json: bool, workspace: Path | None) -> None:
    """Serve the results of the workspace over HTTP until Ctrl-C.

    The link it prints logs a browser in. Programs give the token as Authorization: Bearer TOKEN.
    """
    from autoprune.server.serve import is_loopback, serve
    from autoprune.server.tokens import choose_token
    from autoprune.store import find_workspace

    if not is_loopback(host) and token_file is None:
        raise UsageError(f"--host {host} lets other machines in; give --token-file FILE with it")
    place = find_workspace(workspace)
    place.open().close()

    def announce(address: Address) -> None:
        if as_json:
            print_json(address.to_json())
        else:
            click.echo(address.url)
        note(f"serving {place.root}; Ctrl-C ends it")

    with suppress(KeyboardInterrupt):
        serve(place, choose_token(token_file), announce, host=host, port=port)
