"""What commands share: their common options, the open store, and JSON on stdout."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from autoprune.cli import _complete

if TYPE_CHECKING:
    from pydantic import BaseModel

    from autoprune.results import Results
    from autoprune.store import Store, Workspace

DEFAULT_PORT = 8080

Function = TypeVar("Function", bound=Callable[..., Any])


def workspace_option(function: Function) -> Function:
    """`--workspace DIR`, as the parameter `workspace: Path | None`."""
    return click.option(
        "--workspace",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Where experiments are kept; by default AUTOPRUNE_WORKSPACE, else the nearest autoprune-experiments/.",
    )(function)


def json_option(function: Function) -> Function:
    """`--json`, as the parameter `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, as the REST API gives it.")(function)


def id_argument(function: Function) -> Function:
    """`[ID]`, as the parameter `id: str | None`: an experiment's id or a unique prefix; left out, the newest."""
    return click.argument("id", required=False, metavar="[ID]", shell_complete=_complete.experiments)(function)


def required_id_argument(function: Function) -> Function:
    """`ID`, as the parameter `id: str`: an experiment's id or a unique prefix."""
    return click.argument("id", metavar="ID", shell_complete=_complete.experiments)(function)


def experiment_option(function: Function) -> Function:
    """`-e ID`, as the parameter `id: str | None`, for commands whose argument is a trial."""
    return click.option(
        "-e",
        "--experiment",
        "id",
        metavar="ID",
        shell_complete=_complete.experiments,
        help="The experiment's id or a unique prefix; by default the newest.",
    )(function)


def door_options(function: Function) -> Function:
    """`--port N`, `--host HOST` and `--token-file FILE`, as the parameter `door: Door`."""

    @wraps(function)
    def gathered(
        *given: Any, port: int, host: str, token_file: Path | None, no_server: bool = False, **others: Any
    ) -> Any:
        from autoprune.server.door import Door

        asked = click.get_current_context().get_parameter_source("port") is not ParameterSource.DEFAULT
        door = None if no_server else Door.kept(host, port, token_file, asked=asked)
        return function(*given, door=door, **others)

    wrapped = cast(Function, gathered)
    for option in (
        click.option(
            "--token-file",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Read the token from it, or create it with a new one; by default AUTOPRUNE_TOKEN, else a new one.",
        ),
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="Another than loopback needs --token-file."
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=DEFAULT_PORT,
            show_default=True,
            help="Serve results here, or on the next free port.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def server_options(function: Function) -> Function:
    """The same, and `--no-server`: the parameter `door: Door | None`."""
    return door_options(click.option("--no-server", is_flag=True, help="Do not serve results.")(function))


def number_argument(function: Function) -> Function:
    """`NUMBER`, as the parameter `number: int`: a trial's."""
    return click.argument("number", type=click.IntRange(0, 2**31 - 1), shell_complete=_complete.trials)(function)


def examples(*lines: str) -> str:
    """An epilog of examples, one a line, which click leaves as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


@contextmanager
def opened(workspace: Path | None) -> Iterator[tuple[Workspace, Store]]:
    """The workspace in force and its store, which must exist; closed at the end."""
    from autoprune.store import find_workspace

    place = find_workspace(workspace)
    store = place.open()
    try:
        yield place, store
    finally:
        store.close()


@contextmanager
def reading(workspace: Path | None) -> Iterator[Results]:
    """The results of the workspace in force."""
    from autoprune.results import Results

    with opened(workspace) as (place, store):
        yield Results(place, store)


def print_json(value: BaseModel | Any) -> None:
    """One JSON document on stdout: a model of `autoprune.results`, or plain data."""
    dump = getattr(value, "model_dump", None)
    data = dump(mode="json") if dump else value
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def note(text: str) -> None:
    """A sentence for the reader, on stderr: stdout is data. Nobody has to read it."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(text, err=True)
