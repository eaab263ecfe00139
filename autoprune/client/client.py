"""A server, and what is there."""

from __future__ import annotations

from typing import Self
from urllib.parse import quote

from autoprune.client.connection import Connection
from autoprune.client.experiment import RemoteExperiment
from autoprune.errors import NotFoundError
from autoprune.results.models import Experiment, ExperimentDetail, Page


class Client:
    """A server that `autoprune run` or `autoprune view` has started.

        with autoprune.Client("http://127.0.0.1:8080/?token=...") as client:
            print(client.experiment("digits").best())

    The address may be the link that was printed, with the token in it. Where neither has it, it is AUTOPRUNE_TOKEN.
    `timeout` is how many seconds an answer may take. Errors are those of `autoprune.Experiment`.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30.0) -> None:
        self._connection = Connection(url, token, timeout)

    def experiments(self) -> list[Experiment]:
        """All of the server's workspace, the newest first, as `autoprune list --json`."""
        return self._connection.all(Experiment, "/experiments")

    def experiment(self, id: str | None = None) -> RemoteExperiment:
        """One of them: by its id or the beginning of one, or the newest."""
        if id is not None:
            found = self._connection.get(ExperimentDetail, f"/experiments/{quote(id, safe='')}")
            return RemoteExperiment(self._connection, found.id)
        newest = self._connection.get(Page[Experiment], "/experiments", limit=1).items
        if not newest:
            raise NotFoundError(f"there are no experiments at {self._connection.url}")
        return RemoteExperiment(self._connection, newest[0].id)

    def close(self) -> None:
        """End the connection; may be called again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._connection.url}>"
