"""Who may ask: every request must name this server in its Host header, and carry the token.

The Host check keeps out pages whose name was made to point at this machine; the token keeps out other users of it.
The token comes as `Authorization: Bearer`, or, in a browser, as a cookie that following the printed link sets. Since a
browser sends a cookie whoever asks it to, what comes with the cookie alone must come from a page of this server: its
Origin and Sec-Fetch-Site say so, and what changes something carries `Access.csrf`, which only these pages know.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from autoprune.server.problems import problem

LOGIN = "/"
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
FORM = "application/x-www-form-urlencoded"
_SAFE_METHODS = ("GET", "HEAD")
_OPEN_THE_LINK = (
    "give the token as 'Authorization: Bearer TOKEN', or open the link that was printed when this server started"
)
_DOOR = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>autoprune: log in</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
body { display: grid; place-items: center; min-height: 100vh; margin: 0; padding: 1rem; box-sizing: border-box;
  background: light-dark(#f6f7f9, #14181d); color: light-dark(#1c222b, #e6e9ee); }
main { max-width: 34rem; padding: 1.5rem 1.75rem .75rem; border-radius: 10px;
  background: light-dark(#ffffff, #1b2027); border: 1px solid light-dark(#dde1e7, #303841); }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.2; }
p { margin: 0 0 1rem; }
code { padding: .1em .35em; border-radius: 5px; font-size: .875rem; overflow-wrap: anywhere;
  background: light-dark(#eef0f3, #12161b); }
</style>
<main>
<h1>Log in</h1>
<p>Open the link that was printed when this server started: it ends in <code>/?token=...</code>, and lets this browser
in.</p>
<p>It is not at hand any more? Start another server beside this one with <code>autoprune view</code>, and open the link
that it prints. What runs goes on.</p>
</main>
"""
_INSIDE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={target}">
<title>autoprune</title>
<p><a href="{target}">Go on</a></p>
"""


class Access:
    """The token, and the names (`host:port`) this server answers to."""

    def __init__(self, token: str, hosts: Iterable[str]) -> None:
        self._token = token.encode()
        self._hosts = frozenset(host.lower() for host in hosts)
        # Cookies do not tell ports apart, so each token has a cookie of its own.
        self.cookie = f"autoprune_{hashlib.sha256(self._token).hexdigest()[:8]}"
        self.csrf = hmac.new(self._token, b"csrf", hashlib.sha256).hexdigest()
        """What forms carry in the field `csrf`, and scripts in the header X-CSRF-Token."""

    def knows(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(errors="replace"), self._token)

    def login(self, request: Request) -> Response | None:
        """The answer to one who follows the printed link: the token moves from the address into a cookie.

        With `experiment`, which becomes a name in a path of this server whatever it is, the link leads to its page.
        """
        if request.method != "GET" or request.scope["path"] != LOGIN or "token" not in request.query_params:
            return None
        token = request.query_params["token"]
        if self._misnamed(request) or not self.knows(token):
            return None
        # Where a foreign page was left by the link, a redirect would go without the cookie; a page of ours has it.
        foreign = request.headers.get("sec-fetch-site") == "cross-site"
        experiment = request.query_params.get("experiment")
        target = f"/experiments/{quote(experiment, safe='')}" if experiment else LOGIN
        inside = _INSIDE.format(target=target)
        response = HTMLResponse(inside) if foreign else RedirectResponse(target, HTTPStatus.SEE_OTHER)
        response.set_cookie(self.cookie, token, httponly=True, samesite="strict")
        return response

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that may not pass, as its head shows; None where it may."""
        if misnamed := self._misnamed(request):
            return misnamed
        if "authorization" in request.headers:
            return None if self._bears(request) else _unauthorized(request)
        if not self.knows(request.cookies.get(self.cookie, "")):
            return _unauthorized(request)
        if foreign := _foreign(request):
            return problem(HTTPStatus.FORBIDDEN, foreign)
        return None

    def forged(self, request: Request, body: bytes) -> Response | None:
        """The answer to a change that comes with the cookie, but not from a form or a script of this server."""
        if request.method in _SAFE_METHODS or "authorization" in request.headers:
            return None
        given = [*request.headers.getlist(CSRF_HEADER), *form(request, body).get(CSRF_FIELD, [])]
        if len(given) == 1 and secrets.compare_digest(given[0].encode(errors="replace"), self.csrf.encode()):
            return None
        detail = f"what changes something needs the page's token, in the field {CSRF_FIELD} or the header {CSRF_HEADER}"
        return problem(HTTPStatus.FORBIDDEN, f"{detail}; reload the page")

    def _misnamed(self, request: Request) -> Response | None:
        hosts = request.headers.getlist("host")
        if len(hosts) != 1:
            return problem(HTTPStatus.BAD_REQUEST, "a request needs one Host header")
        if hosts[0].lower() not in self._hosts:
            names = ", ".join(sorted(self._hosts))
            return problem(HTTPStatus.MISDIRECTED_REQUEST, f"given another Host; expected one of {names}")
        return None

    def _bears(self, request: Request) -> bool:
        given = request.headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ")
        return len(given) == 1 and scheme.lower() == "bearer" and self.knows(token.strip())


def form(request: Request, body: bytes) -> dict[str, list[str]]:
    """The fields of a form; none where the body is something else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return {}
    return parse_qs(body.decode(errors="replace"), keep_blank_values=True)


def _foreign(request: Request) -> str:
    """Why a request that a browser sent with the cookie is not one of our own pages'; empty where it may be.

    A page may be reached by a link from anywhere. Anything else must come from a page of this server, and who changes
    something has to show that it does.
    """
    site, mode = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
    origins = request.headers.getlist("origin")
    safe = request.method in _SAFE_METHODS
    if any(origin.lower() != f"http://{request.headers['host'].lower()}" for origin in origins):
        return "given an Origin that is not this server"
    if site not in (None, "same-origin", "none") and not (safe and mode == "navigate"):
        return f"given Sec-Fetch-Site: {site[:20]}; expected same-origin"
    if not safe and not origins and site != "same-origin":
        return "what changes something needs an Origin or Sec-Fetch-Site header where it comes with a cookie"
    return ""


def _unauthorized(request: Request) -> Response:
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_DOOR, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
    return problem(HTTPStatus.UNAUTHORIZED, _OPEN_THE_LINK, {"WWW-Authenticate": "Bearer"})
