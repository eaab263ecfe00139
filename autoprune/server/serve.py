"""Running the application in this process: the names it goes by, and how it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

import psutil
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from autoprune.server.app import create_app
from autoprune.server.door import LOOPBACK, is_address, is_loopback
from autoprune.server.live import Hub
from autoprune.store import Workspace

_HTTP = 80
_WATCH_SECONDS = 0.5
_STALLED_SECONDS = 30.0
_FAREWELL_SECONDS = 1.5
"""A page asks once more half a second after the last news, or later where that took it long."""
_LEAVING_SECONDS = 0.05


@dataclass(frozen=True)
class Address:
    """Where a server is, and what opens it. `url` is a link that logs a browser in."""

    url: str
    port: int
    token: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def serve(
    workspace: Workspace,
    token: str,
    announce: Callable[[Address], None],
    listener: socket.socket,
    *,
    host: str = LOOPBACK,
    with_parent: bool = False,
) -> None:
    """Serve on this socket until a signal comes; `announce` is called once requests are answered.

    `host` is what the socket was bound to, and decides by which names one may ask. `with_parent` also ends when stdin
    does, or when the process that started this one has gone.
    """
    parent = os.getppid()
    port: int = listener.getsockname()[1]
    app = create_app(workspace, token, _hosts(host, port))
    address = Address(f"http://{_shown(host)}:{port}/?token={quote(token, safe='')}", port, token)
    server = _Server(_config(app), lambda: announce(address), app.state.hub)
    if with_parent:
        threading.Thread(target=_end_with_parent, args=(server, parent), daemon=True).start()
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it has started. Before it ends, who watches is told the last news, and has time to look once more; it
    waits for nobody who has left."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], hub: Hub) -> None:
        super().__init__(config)
        self._say_started, self._hub = started, hub

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while self._hub.watched and time.monotonic() < deadline:
            await asyncio.sleep(_LEAVING_SECONDS)
        self._hub.close()
        await super().shutdown(sockets)


class _Connection(H11Protocol):
    """Lets a client go that asks and does not read the answer."""

    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(_STALLED_SECONDS, self._let_go)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _let_go(self) -> None:
        """At once: without a reset, the system would go on offering what was not read."""
        now = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._stalled is not None:
            self._stalled.cancel()


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def _end_with_parent(server: uvicorn.Server, parent: int) -> None:
    while not server.should_exit:
        readable, _, _ = select.select([sys.stdin], [], [], _WATCH_SECONDS)
        ended = bool(readable) and not os.read(sys.stdin.fileno(), 4096)
        if ended or os.getppid() != parent:
            server.should_exit = True


def _hosts(host: str, port: int) -> list[str]:
    """What requests may have in their Host header: browsers leave out the port of the protocol."""
    names = _names(host)
    return [*(f"{name}:{port}" for name in names), *(names if port == _HTTP else ())]


def _names(host: str) -> set[str]:
    """What a client may call this server."""
    if is_loopback(host):
        return {LOOPBACK, "localhost", "[::1]"}
    if not is_address(host) or not ipaddress.ip_address(host).is_unspecified:
        return {_shown(host)}
    addresses = [address for card in psutil.net_if_addrs().values() for address in card]
    internet = [found.address for found in addresses if found.family in (socket.AF_INET, socket.AF_INET6)]
    return {"localhost", socket.gethostname(), *(_bracketed(address) for address in internet)}


def _shown(host: str) -> str:
    """The host as it stands in a link; where all of this machine's addresses are served, its name."""
    unspecified = is_address(host) and ipaddress.ip_address(host).is_unspecified
    return socket.gethostname() if unspecified else _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
