"""`python -m autoprune.server`: a server for one workspace, started by `autoprune run` as its child.

Prints one line, `{"url", "port", "token"}`, once it answers; logs to stderr.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path

from autoprune.errors import AutopruneError
from autoprune.server.door import LOOPBACK, bind
from autoprune.server.serve import Address, serve
from autoprune.server.tokens import choose_token
from autoprune.store import Workspace


def main() -> int:
    options = _parser().parse_args()
    try:
        token = choose_token(options.token_file)
        workspace = Workspace(options.workspace.absolute())
        given = options.listener
        with bind(options.host, options.port) if given is None else socket.socket(fileno=given) as listener:
            serve(workspace, token, _announce, listener, host=options.host, with_parent=options.with_parent)
    except AutopruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _announce(address: Address) -> None:
    print(json.dumps(address.to_json()), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m autoprune.server", description="Serve a workspace over HTTP.")
    parser.add_argument("--workspace", type=Path, required=True, metavar="DIR")
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=8080, help="the first port to try; the next free one is taken")
    parser.add_argument("--listener", type=int, metavar="FD", help="serve on this open socket, not on --port")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="read, or created with a new token")
    parser.add_argument("--with-parent", action="store_true", help="end when stdin ends or the parent has gone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
