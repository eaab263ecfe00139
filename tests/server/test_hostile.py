"""A table of hostile requests to a real server: each is refused as the table says, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest
from sample_workspace import Sample

from autoprune.server.access import Access
from autoprune.server.guard import LARGEST_BODY
from autoprune.store import Workspace

from .served import Served, served

API = "/api/v1/experiments"
STOP = f"{API}/digits/stop"
SECRET = "hostile-secret"
BEARER, COOKIE, CSRF = "Authorization: Bearer {token}", "Cookie: {cookie}={token}", "X-CSRF-Token: {csrf}"
OURS = "Origin: http://{host}"
JSON = "Content-Type: application/json"
NOT_THERE = (404, 422)


@dataclass(frozen=True)
class Case:
    """One request, its headers as they go over the wire, and the statuses that refuse it."""

    target: str
    status: tuple[int, ...]
    method: str = "GET"
    headers: Sequence[str] = (BEARER,)
    body: bytes = b""
    host: str | None = "{host}"

    def raw(self, names: dict[str, str]) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"Host: {self.host}"] if self.host is not None else []
        lines += [*self.headers, "Connection: close"]
        if self.body and not any(line.lower().startswith(("content-length", "transfer")) for line in self.headers):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join(lines)
        for name, value in names.items():
            head = head.replace(f"{{{name}}}", value)
        return head.encode("latin-1") + b"\r\n\r\n" + self.body


PATHS = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%252f..%252f..%252fetc%252fpasswd",
    "..%5c..%5c..%5cetc%5cpasswd",
    "..\\..\\..\\etc\\passwd",
    "....//....//....//etc/passwd",
    "%c0%ae%c0%ae%2fetc%2fpasswd",
    "%uff0e%uff0e%u2215etc%u2215passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "..%00/secret",
    "..;/..;/etc/passwd",
    "%2e%2e%2f%2e%2e%2fautoprune.db",
]
PLACES = [
    "/{}",
    f"{API}/{{}}",
    f"{API}/{{}}/trials",
    f"{API}/digits/trials/{{}}",
    f"{API}/digits/trials/0/logs/{{}}",
    f"{API}/digits/commands/{{}}",
    "/static/{}",
    "/experiments/{}",
    "/experiments/digits/trials/{}",
]


def traversal() -> Iterator[Case]:
    for place, path in product(PLACES, PATHS):
        yield Case(place.format(path), NOT_THERE)


def hosts() -> Iterator[Case]:
    addresses = ["/", f"{API}/digits", "/static/page.css", "/nothing"]
    names = [
        "evil.example",
        "127.0.0.1",
        "{host}.evil.example",
        "evil.example:{port}",
        "127.0.0.2:{port}",
        "{host}@evil",
    ]
    for address, name in product(addresses, names):
        yield Case(address, (421,), host=name)
    for address in addresses:
        yield Case(address, (400,), host=None)
        yield Case(address, (400,), headers=(BEARER, "Host: evil.example"))
        yield Case(address, (421,), host="evil.example", headers=(BEARER, "X-Forwarded-Host: {host}"))
        yield Case(f"http://evil.example{address}", (421,), host="evil.example")
    yield Case("http://127.0.0.1/etc/passwd", NOT_THERE)
    yield Case("http://{host}/api/v1/experiments", NOT_THERE)


def tokens() -> Iterator[Case]:
    wrong = [
        (),
        ("Authorization:",),
        ("Authorization: Bearer",),
        ("Authorization: Bearer wrong",),
        ("Authorization: Bearer {token}x",),
        ("Authorization: Bearer x{token}",),
        ("Authorization: Basic {token}",),
        ("Authorization: {token}",),
        ("Authorization: Bearer {csrf}",),
        ("Authorization: Bearer wrong", BEARER),
        ("Authorization: Bearer wrong", COOKIE),
        ("Cookie: {cookie}=",),
        ("Cookie: {cookie}={token}x",),
        ("Cookie: {cookie}={csrf}",),
        ("Cookie: autoprune={token}",),
        ("X-Token: {token}", "X-Forwarded-For: 127.0.0.1"),
    ]
    for headers, address in product(wrong, ["/", f"{API}/digits/best"]):
        yield Case(address, (401,), headers=headers)
    for address in (API, f"{API}/digits/best", "/experiments/digits", "/static/page.css", "//"):
        yield Case(f"{address}?token={{token}}", (401,), headers=())
    yield Case("/?token=", (401,), headers=())
    yield Case("/?token={csrf}", (401,), headers=())
    yield Case("/?token[]={token}", (401,), headers=())
    yield Case("/?token={token}", (401,), "POST", headers=(OURS,))
    yield Case("/?token={token}", (401,), "HEAD", headers=())
    yield Case(STOP, (401,), "POST", headers=(OURS, CSRF))


def forgery() -> Iterator[Case]:
    foreign: list[tuple[str, ...]] = [
        (),
        ("Origin: null",),
        ("Origin: http://evil.example",),
        ("Origin: http://{host}.evil.example",),
        ("Origin: https://{host}",),
        ("Origin: http://127.0.0.1:1",),
        ("Origin: http://localhost:{port}",),
        ("Origin:",),
        (OURS, "Origin: http://evil.example"),
        (OURS, "Sec-Fetch-Site: cross-site"),
        (OURS, "Sec-Fetch-Site: same-site"),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: none",),
        ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate"),
        ("Referer: http://{host}/",),
    ]
    verbs = [("POST", STOP), ("PATCH", f"{API}/digits/limits"), ("POST", "/experiments/digits/stop")]
    for headers, (method, address) in product(foreign, verbs):
        yield Case(address, (403,), method, (COOKIE, CSRF, *headers))
    unknown: list[tuple[tuple[str, ...], bytes]] = [
        ((), b""),
        (("X-CSRF-Token:",), b""),
        (("X-CSRF-Token: {token}",), b""),
        (("X-CSRF-Token: {csrf}0",), b""),
        ((CSRF, CSRF), b""),
        ((CSRF, "Content-Type: application/x-www-form-urlencoded"), b"csrf=wrong"),
        (("Content-Type: application/x-www-form-urlencoded",), b"csrf="),
        (("Content-Type: text/plain",), b"csrf={csrf}"),
        ((JSON,), b'{"csrf": "{csrf}"}'),
    ]
    for (headers, body), (method, address) in product(unknown, verbs):
        yield Case(address, (403,), method, (COOKIE, OURS, *headers), body)
    for site in ("cross-site", "same-site"):
        yield Case(API, (403,), headers=(COOKIE, f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: cors"))
        yield Case(f"{API}/digits/events", (403,), headers=(COOKIE, f"Sec-Fetch-Site: {site}"))
    yield Case(API, (401,), "OPTIONS", ("Origin: http://evil.example", "Access-Control-Request-Method: POST"))


def bodies() -> Iterator[Case]:
    trials, limits = f"{API}/digits/trials", f"{API}/digits/limits"
    large = b" " * (LARGEST_BODY + 1)
    chunk = b"%x\r\n%s\r\n" % (len(large), large)
    for method, address in (("POST", STOP), ("POST", trials), ("PATCH", limits), ("GET", API)):
        yield Case(address, (413,), method, body=large)
        yield Case(address, (413,), method, (BEARER, "Content-Length: 99999999999999999999"))
        yield Case(address, (413,), method, (BEARER, "Transfer-Encoding: chunked"), chunk)
    yield Case(trials, (400,), "POST", (BEARER, "Content-Length: -1"))
    yield Case(trials, (400,), "POST", (BEARER, "Content-Length: 1", "Content-Length: 2"), b"xx")
    yield Case(trials, (400, 422), "POST", (BEARER, "Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n")
    yield Case(trials, (400, 501), "POST", (BEARER, "Transfer-Encoding: gzip"), b"xx")
    texts = [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\x00",
        b"\xff\xfe",
        b"[" * 30_000,
        b'{"parameters":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
        b'{"parameters": {"lr": NaN}}',
        b'{"parameters": {"lr": 1e999}}',
        b'{"parameters": {"lr": ' + b"9" * 10_000 + b"}}",
        b'{"parameters": {"__proto__": 1, "../x": 2}}',
        b'{"parameters": {"lr": 0.5}, "trialCommand": "rm -rf /"}',
        b'{"parameters": {"lr": "; rm -rf /"}}',
    ]
    for text in texts:
        yield Case(trials, (400, 422), "POST", (BEARER, JSON), text)
    for kind in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        yield Case(trials, (415, 422), "POST", (BEARER, f"Content-Type: {kind}"), b'{"parameters": {"lr": 0.5}}')
    for value in (0, -1, 2**63, 1e999, "1", None, [], {"a": 1}):
        yield Case(limits, (400, 422), "PATCH", (BEARER, JSON), json.dumps({"trialConcurrency": value}).encode())


def queries() -> Iterator[Case]:
    cursors = ["x", "", "%00", "AAAA", "e30=", "W10=", "..%2f..%2f", "a" * 1001, "%ff%fe", "bnVsbA==", "' OR 1=1 --"]
    for cursor, address in product(cursors, [API, f"{API}/digits/trials", f"{API}/digits/trials/0/metrics"]):
        if cursor:
            yield Case(f"{address}?cursor={cursor.replace(' ', '%20')}", (422,))
    numbers = ["-1", "99999999999", "1e3", "0x1", "NaN", "%00", "1;drop", "9" * 400]
    for number in numbers:
        yield Case(f"{API}/digits/trials/{number}", NOT_THERE)
        yield Case(f"{API}?limit={number}", (422,))
    for number in ("-1", "x", "1e3", "%00", "9" * 20, "9" * 400):
        yield Case(f"{API}/digits/events?after={number}", (422,))
    for sort in ("password", "-", "value;drop%20table", "number,value", "__class__"):
        yield Case(f"{API}/digits/trials?sort={sort}", (422,))
    yield Case(f"{API}/digits/trials?state=DANCING", (422,))
    yield Case(f"{API}/{'d' * 5000}", (422,))
    yield Case(f"{API}/%25", NOT_THERE)
    yield Case(f"{API}/_igits", NOT_THERE)
    yield Case(f"{API}/dig%00its", NOT_THERE)
    yield Case(f"{API}/digits'--", NOT_THERE)
    yield Case(f"{API}/{{{{7*7}}}}", NOT_THERE)


def methods() -> Iterator[Case]:
    addresses = [API, f"{API}/digits", f"{API}/digits/trials/0", "/", "/api/v1/health", f"{API}/digits/events"]
    for method, address in product(["PUT", "DELETE", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "BREW"], addresses):
        yield Case(address, (405,), method)
    yield Case(STOP, (405,), "GET")
    yield Case(f"{API}/digits/limits", (405,), "POST")
    yield Case("/api/v2/experiments", (404,))
    yield Case("/api/v1/run", (404,), "POST", (BEARER, JSON), b'{"command": "id"}')
    yield Case("/docs", (404,))
    yield Case(STOP, (405,), "GET", (BEARER, "X-HTTP-Method-Override: POST"))


def lines() -> Iterator[Case]:
    split = "%0d%0aSet-Cookie:%20a=b"
    for address in (f"/{split}", f"{API}/{split}", f"{API}/digits/commands/{split}", f"/experiments/{split}"):
        yield Case(address, NOT_THERE)
    yield Case(f"{API}?cursor={split}", (422,))
    yield Case(API, (400,), headers=(BEARER, "X-A: b\x00c"))
    yield Case(API, (400,), headers=(BEARER, "X A: b"))
    yield Case(API, (400,), headers=(BEARER, ": b"))
    yield Case(API, (400,), headers=(BEARER, "X-A: " + "b" * 200_000))
    yield Case(f"{API}/" + "a" * 200_000, (400,))
    yield Case(f"{API} /x", (400,))
    yield Case(f"{API}\x00", (400,))
    yield Case("*", (404, 405), "OPTIONS")
    yield Case("", (400,))


FAMILIES = [traversal, hosts, tokens, forgery, bodies, queries, methods, lines]


@dataclass(frozen=True)
class Target:
    """The server under attack, and its database as it was."""

    server: Served
    names: dict[str, str]
    before: list[str] = field(repr=False)
    database: Path

    def dump(self) -> list[str]:
        return dump(self.database)


def dump(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One whose experiment runs, so that a command which came through would be written down."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "secret").write_text(SECRET)
    workspace = Workspace(folder / "autoprune-experiments")
    store = workspace.create()
    sample = Sample(workspace, store)
    sample.create()
    sample.succeed(0, 0.9)
    store.close()
    with workspace.lock(sample.id), served(workspace) as server:
        access = Access(server.token, [])
        host = f"127.0.0.1:{server.port}"
        names = {"host": host, "port": str(server.port), "token": server.token}
        names |= {"cookie": access.cookie, "csrf": access.csrf}
        yield Target(server, names, dump(workspace.database), workspace.database)


def send(target: Target, raw: bytes) -> bytes:
    """The whole answer. What the server does not care to read is not sent to the end."""
    with socket.create_connection(("127.0.0.1", target.server.port), timeout=30) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    return answer


def test_there_are_enough_of_them() -> None:
    assert sum(len(list(family())) for family in FAMILIES) >= 200


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_hostile_requests_are_refused(target: Target, family: object) -> None:
    assert callable(family)
    wrong = []
    for case in family():
        answer = send(target, case.raw(target.names))
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        head = answer.partition(b"\r\n\r\n")[0].lower()
        leaks = b"root:" in answer or SECRET.encode() in answer or b"\r\nset-cookie" in head or b"traceback" in answer
        if status not in case.status or not 400 <= status < 500 or leaks:
            wrong.append((case.method, case.target[:80], [line[:60] for line in case.headers], status, case.status))
    assert wrong == []
    health = f"GET /api/v1/health HTTP/1.1\r\nHost: {{host}}\r\n{BEARER}\r\nConnection: close\r\n\r\n"
    for name, value in target.names.items():
        health = health.replace(f"{{{name}}}", value)
    assert send(target, health.encode()).startswith(b"HTTP/1.1 200 "), "it still answers others"
    assert target.dump() == target.before, "nothing was written"
    assert "Traceback" not in target.server.log.read_text()
