"""Who may ask: every request must name this server in its Host header, and carry the token.

The Host check keeps out pages whose name was made to point at this machine; the token keeps out other users of it.
The token comes as `Authorization: Bearer`, or, in a browser, as a cookie that following the printed link sets.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoprune.server.problems import problem, unexpected

LOGIN = "/"
_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Access:
    """The token, and the names (`host:port`) this server answers to."""

    def __init__(self, token: str, hosts: Iterable[str]) -> None:
        self._token = token.encode()
        self._hosts = frozenset(host.lower() for host in hosts)
        # Cookies do not tell ports apart, so each token has a cookie of its own.
        self.cookie = f"autoprune_{hashlib.sha256(self._token).hexdigest()[:8]}"

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that may not pass; None where it may."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1:
            return problem(HTTPStatus.BAD_REQUEST, "a request needs one Host header")
        if hosts[0].lower() not in self._hosts:
            names = ", ".join(sorted(self._hosts))
            return problem(HTTPStatus.MISDIRECTED_REQUEST, f"given another Host; expected one of {names}")
        if not self._admits(request):
            detail = "give the token as 'Authorization: Bearer TOKEN', or open the link that was printed at the start"
            return problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
        return None

    def knows(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(errors="replace"), self._token)

    def _admits(self, request: Request) -> bool:
        if "authorization" in request.headers:
            scheme, _, token = request.headers["authorization"].partition(" ")
            return scheme.lower() == "bearer" and self.knows(token.strip())
        if request.method not in _SAFE_METHODS:
            return False
        if request.url.path == LOGIN and "token" in request.query_params:
            return self.knows(request.query_params["token"])
        return self.knows(request.cookies.get(self.cookie, ""))


class Guard:
    """Stands around the whole application, so that no answer, errors included, goes out without its checks."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._access.refusal(Request(scope))
        try:
            await (refusal or self._app)(scope, receive, send_safely)
        except Exception as error:
            answer = unexpected(error)
            if started:
                raise
            await answer(scope, receive, send_safely)
