"""Where a server listens, and where the token comes from that opens it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from autoprune.errors import UsageError
from autoprune.server.tokens import choose_token

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Door:
    """As the options `--host`, `--port` and `--token-file` say it. Others than this machine's need a token to keep."""

    host: str = LOOPBACK
    port: int = 8080
    token_file: Path | None = None

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and self.token_file is None:
            raise UsageError(f"--host {self.host} lets other machines in; give --token-file FILE with it")

    @classmethod
    def kept(cls, host: str, port: int, token_file: Path | None) -> Self:
        """One whose token file can be read; it is made if it is not there."""
        door = cls(host, port, token_file)
        if token_file is not None:
            choose_token(token_file)
        return door

    @property
    def options(self) -> list[str]:
        """What to type for it."""
        file = [] if self.token_file is None else ["--token-file", str(self.token_file)]
        return ["--host", self.host, "--port", str(self.port), *file]


def is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
