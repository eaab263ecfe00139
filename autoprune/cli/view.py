"""`autoprune view`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli import _complete
from autoprune.cli._common import door_options, examples, json_option, note, print_json, workspace_option
from autoprune.errors import UsageError

if TYPE_CHECKING:
    from autoprune.server.door import Door
    from autoprune.server.serve import Address
    from autoprune.store import Workspace


@click.command(epilog=examples("autoprune view", "autoprune view digits --port 9000", "autoprune view /data/searches"))
@click.argument("what", required=False, metavar="[DIR|ID]", shell_complete=_complete.experiments)
@door_options
@json_option
@workspace_option
def command(what: str | None, door: Door, as_json: bool, workspace: Path | None) -> None:
    """Serve the results of a workspace over HTTP until Ctrl-C.

    DIR is a workspace, or a folder with autoprune-experiments/ in it. With an ID (a unique prefix is enough) the link
    leads to that experiment. The link logs a browser in. Programs give the token as Authorization: Bearer TOKEN.
    """
    from autoprune.server.door import bind
    from autoprune.server.serve import serve
    from autoprune.server.tokens import choose_token

    place, experiment = _find(what, workspace)

    def announce(address: Address) -> None:
        link = address if experiment is None else replace(address, url=f"{address.url}&experiment={experiment}")
        if as_json:
            print_json(link.to_json())
        else:
            click.echo(link.url)
        if said := door.note(address.url):
            note(said)
        note(f"serving {place.root}; Ctrl-C ends it")

    with suppress(KeyboardInterrupt), bind(door.host, door.port) as listener:
        serve(place, choose_token(door.token_file), announce, listener, host=door.host)


def _find(what: str | None, workspace: Path | None) -> tuple[Workspace, str | None]:
    """The workspace to serve, and the experiment to lead to. A folder with a workspace comes before an id."""
    from autoprune.cli._common import opened
    from autoprune.store import experiments

    given = None if what is None else _workspace_in(Path(what))
    if given is not None and workspace is not None:
        raise UsageError(f"given the workspaces {given} and {workspace}; expected one of them")
    with opened(given or workspace) as (place, store):
        if what is None or given is not None:
            return place, None
        with store.read() as tx:
            return place, experiments.resolve(tx, what)


def _workspace_in(folder: Path) -> Path | None:
    """The workspace that a folder is, or has in it."""
    from autoprune.store import FOLDER, Workspace

    return next((root for root in (folder, folder / FOLDER) if Workspace(root).database.is_file()), None)
