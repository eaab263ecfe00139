"""Where a server listens, and where the token comes from that opens it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from autoprune.errors import UsageError
from autoprune.server.tokens import choose_token

LOOPBACK = "127.0.0.1"
_TRIES = 100


@dataclass(frozen=True)
class Door:
    """As the options `--host`, `--port` and `--token-file` say it. Others than this machine's need a token to keep."""

    host: str = LOOPBACK
    port: int = 8080
    token_file: Path | None = None
    asked: bool = False
    """Whether somebody named the port."""

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and self.token_file is None:
            raise UsageError(f"--host {self.host} lets other machines in; give --token-file FILE with it")

    @classmethod
    def kept(cls, host: str, port: int, token_file: Path | None, *, asked: bool) -> Self:
        """One whose token file can be read; it is made if it is not there."""
        door = cls(host, port, token_file, asked)
        if token_file is not None:
            choose_token(token_file)
        return door

    @property
    def options(self) -> list[str]:
        """What to type for it."""
        file = [] if self.token_file is None else ["--token-file", str(self.token_file)]
        return ["--host", self.host, "--port", str(self.port), *file]

    def note(self, link: str) -> str:
        """What is to be said where this is the link to what listens there; empty where that is as asked."""
        port = urlsplit(link).port
        if not self.asked or self.port in (0, port):
            return ""
        return f"port {self.port} is taken; results are served on port {port}"


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on the first free port from `port` upward; 0 leaves the choice to the system."""
    candidates = range(port, min(port + _TRIES, 65536)) if port else [0]
    for candidate in candidates:
        # asyncio turns Nagle's delay of 40 ms off only for sockets that say they are TCP.
        listener = socket.socket(_family(host), socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise UsageError(f"cannot serve on {host}:{candidate}: {error.strerror}") from None
        else:
            return listener
    raise UsageError(f"no port from {port} to {candidates[-1]} is free; give another --port")


def is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _family(host: str) -> socket.AddressFamily:
    try:
        return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
    except OSError:
        raise UsageError(f"given the host {host!r}; expected a name or address of this machine") from None
