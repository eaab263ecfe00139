"""What stands around the whole application: no answer, errors included, goes out without its checks and headers."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoprune.server.access import Access
from autoprune.server.problems import problem, unexpected

LARGEST_BODY = 64 * 1024
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_POLICY = "default-src 'none'; frame-ancestors 'none'"
_POLICY_OF_PAGES = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Plotly gives its elements styles of their own.
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


class Guard:
    """Lets a request in that `access` admits and that is not too large, and dresses the answer."""

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
                _dress(MutableHeaders(scope=message))
            await send(message)

        request = Request(scope)
        answer = self._access.login(request) or self._access.refusal(request)
        try:
            if answer is None:
                body = await _body(request, receive)
                answer = _too_large() if body is None else self._access.forged(request, body)
            if answer is None:
                await self._app(scope, _again(body or b"", receive), send_safely)
            else:
                await _and_close(answer)(scope, receive, send_safely)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = unexpected(error)
            if started:
                raise
            await answer(scope, receive, send_safely)


def _dress(headers: MutableHeaders) -> None:
    """The headers of every answer. Who answers may say how long the answer can be kept; else it is not."""
    page = headers.get("content-type", "").startswith("text/html")
    headers.update(_HEADERS)
    headers["Content-Security-Policy"] = _POLICY_OF_PAGES if page else _POLICY
    headers.setdefault("Cache-Control", "no-store")


async def _body(request: Request, receive: Receive) -> bytes | None:
    """All of it; None where it is larger than anything this server takes. Half of one is nothing anybody asked for."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, for those who read it next; then what else comes: that the client has gone."""
    read = False

    async def replay() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large() -> Response:
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may carry {LARGEST_BODY} bytes at most")


def _and_close(answer: Response) -> Response:
    """The rest of a request that is refused is not read."""
    answer.headers["Connection"] = "close"
    return answer
