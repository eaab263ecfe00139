"""Nobody gets in without the token, or under a foreign name; not to errors, nor to the API's description."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from asgi_client import HOST, TOKEN, Client
from sample_workspace import SAMPLE_ID, Sample

from autoprune.errors import UsageError
from autoprune.server.access import Access
from autoprune.server.app import create_app
from autoprune.server.tokens import choose_token

BEARER = {"Authorization": f"Bearer {TOKEN}"}
ADDRESSES = [
    "/",
    "/nothing",
    "/api/v1/openapi.json",
    "/api/v1/health",
    "/api/v1/version",
    "/api/v1/experiments",
    "/api/v1/experiments/digits",
    "/api/v1/experiments/digits/trials",
    "/api/v1/experiments/digits/trials/0",
    "/api/v1/experiments/digits/trials/x",
    "/api/v1/experiments/digits/trials/0/metrics",
    "/api/v1/experiments/digits/best",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_needs_the_token(stranger: Client, address: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS"):
        answer = stranger.request(method, address)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_needs_the_right_name(stranger: Client, address: str) -> None:
    for host in ("evil.example", "127.0.0.1", "127.0.0.1:8081", "localhost.evil.example:8080", "", "127.0.0.1:8080."):
        answer = stranger.get(address, headers={**BEARER, "Host": host})
        assert answer.status_code == 421
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", [HOST, "localhost:8080", "LOCALHOST:8080", "[::1]:8080"])
def test_the_names_of_this_server(stranger: Client, host: str) -> None:
    assert stranger.get("/api/v1/health", headers={**BEARER, "Host": host}).status_code == 200


def test_two_hosts_are_refused(stranger: Client) -> None:
    answer = stranger.get("/api/v1/health", headers=[("Host", HOST), ("Host", "evil.example"), *BEARER.items()])
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Cookie": f"autoprune={TOKEN}"},
        {"Cookie": f"token={TOKEN}"},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
)
def test_wrong_tokens(stranger: Client, headers: Mapping[str, str]) -> None:
    assert stranger.get("/api/v1/experiments", headers=headers).status_code == 401


def test_a_token_that_is_not_ascii(stranger: Client) -> None:
    assert (
        stranger.get("/api/v1/experiments", headers={"Authorization": "Bearer \xff\xfe".encode("latin-1")}).status_code
        == 401
    )
    assert stranger.get("/?token=%ff%00é").status_code == 401


def test_the_link_logs_a_browser_in(stranger: Client) -> None:
    answer = stranger.get("/", params={"token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert answer.headers["referrer-policy"] == "same-origin"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in answer.headers["location"]
    assert stranger.get("/api/v1/experiments").status_code == 200, "the client keeps the cookie"
    assert stranger.get("/").status_code == 200


def test_a_link_on_a_foreign_page_logs_in_as_well(stranger: Client) -> None:
    """A browser would not send a strict cookie along a redirect that another site began: so there is none."""
    answer = stranger.get("/", params={"token": TOKEN}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/"' in answer.text
    assert TOKEN not in answer.text
    assert stranger.get("/api/v1/experiments").status_code == 200


@pytest.mark.parametrize(
    ("experiment", "path"),
    [
        (SAMPLE_ID, f"/experiments/{SAMPLE_ID}"),
        ("", "/"),
        ("//evil.example", "/experiments/%2F%2Fevil.example"),
        ("https://evil.example/", "/experiments/https%3A%2F%2Fevil.example%2F"),
        ("/../../x?y#z", "/experiments/%2F..%2F..%2Fx%3Fy%23z"),
        ("x\r\nSet-Cookie: y", "/experiments/x%0D%0ASet-Cookie%3A%20y"),
        ('"><script>', "/experiments/%22%3E%3Cscript%3E"),
        ("{target}{0}", "/experiments/%7Btarget%7D%7B0%7D"),
    ],
)
def test_the_link_of_an_experiment_leads_to_its_page_and_nowhere_else(
    stranger: Client, experiment: str, path: str
) -> None:
    link = {"token": TOKEN, "experiment": experiment}
    assert stranger.get("/", params=link).headers["location"] == path
    foreign = stranger.get("/", params=link, headers={"Sec-Fetch-Site": "cross-site"})
    assert f'content="0; url={path}"' in foreign.text
    assert f'<a href="{path}">' in foreign.text
    assert stranger.get(path).status_code == (200 if SAMPLE_ID in path or path == "/" else 404)


def test_an_experiment_in_a_link_lets_nobody_in(stranger: Client) -> None:
    for token in ({}, {"token": "wrong"}, {"token": ""}):
        answer = stranger.get("/", params={**token, "experiment": SAMPLE_ID})
        assert answer.status_code == 401
        assert "location" not in answer.headers


def test_the_token_in_an_address_works_at_the_door_only(stranger: Client) -> None:
    assert stranger.get("/api/v1/experiments", params={"token": TOKEN}).status_code == 401
    assert stranger.get("/", params={"token": "wrong"}).status_code == 401
    assert stranger.request("POST", "/", params={"token": TOKEN}).status_code == 401


def test_a_browser_without_the_cookie_is_told_how_to_log_in(stranger: Client) -> None:
    for address in ("/", "/nothing", "/?token=wrong", "/experiments/digits"):
        answer = stranger.get(address, headers={"Accept": "text/html,application/xhtml+xml"})
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "Open the link" in answer.text
        assert "digits" not in answer.text


STOP = "/api/v1/experiments/digits/stop"
OURS = {"Origin": f"http://{HOST}"}


@pytest.fixture
def browser(stranger: Client) -> Client:
    """One that has followed the link."""
    stranger.get("/", params={"token": TOKEN})
    return stranger


@pytest.fixture
def csrf() -> str:
    return Access(TOKEN, [HOST]).csrf


@pytest.mark.parametrize(
    "headers",
    [
        OURS,
        {"Sec-Fetch-Site": "same-origin"},
        {**OURS, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Origin": "HTTP://127.0.0.1:8080"},
    ],
)
def test_a_page_of_ours_may_change_things(browser: Client, csrf: str, headers: dict[str, str]) -> None:
    by_script = browser.request("POST", STOP, headers={**headers, "X-CSRF-Token": csrf})
    assert by_script.status_code == 409, "it got as far as the experiment, which nothing runs"
    by_form = browser.request("POST", STOP, headers=headers, data={"csrf": csrf, "other": "x"})
    assert by_form.status_code == 409


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Origin": "http://localhost:8080"},
        {"Origin": f"http://{HOST}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {**OURS, "Sec-Fetch-Site": "cross-site"},
        {**OURS, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_page_of_others_may_not(browser: Client, csrf: str, headers: dict[str, str]) -> None:
    answer = browser.request("POST", STOP, headers={**headers, "X-CSRF-Token": csrf})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("given", ["", "wrong", TOKEN, "é", "0" * 64])
def test_what_changes_something_needs_the_pages_token(browser: Client, given: str) -> None:
    answers = [
        browser.request("POST", STOP, headers=OURS),
        browser.request("POST", STOP, headers={**OURS, "X-CSRF-Token": given.encode()}),
        browser.request("POST", STOP, headers=OURS, data={"csrf": given}),
        browser.request("POST", STOP, headers=OURS, json={"csrf": given}),
        browser.request("DELETE", "/", headers=OURS),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5


def test_the_pages_token_is_taken_once_and_not_from_the_address(browser: Client, csrf: str) -> None:
    body = {"headers": OURS, "content": f"csrf={csrf}&csrf={csrf}".encode()}
    assert browser.request("POST", STOP, **body).status_code == 403
    assert browser.request("POST", f"{STOP}?csrf={csrf}", headers=OURS).status_code == 403
    assert csrf != TOKEN


def test_a_foreign_page_may_lead_here_but_not_read_from_here(browser: Client) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert browser.get("/", headers=link).status_code == 200
    for headers in ({**link, "Sec-Fetch-Mode": "no-cors"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://a.b"}):
        answer = browser.get("/api/v1/experiments", headers=headers)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_a_program_with_the_token_needs_none_of_that(client: Client) -> None:
    for headers in ({}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.request("POST", STOP, headers=headers).status_code == 409


def test_a_wrong_bearer_is_not_helped_by_the_cookie(browser: Client) -> None:
    assert browser.get("/api/v1/experiments", headers={"Authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize("size", [64 * 1024 + 1, 10**6, 10**7])
def test_large_bodies_are_refused(client: Client, size: int) -> None:
    for content in (b" " * size, pieces(size)):
        answer = client.request("POST", STOP, content=content)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
    assert client.request("POST", STOP, content=b" " * 64 * 1024).status_code == 409


async def pieces(size: int) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(0, size, 4096):
        yield b" " * 4096
    yield b" "


def test_the_headers_of_every_answer(browser: Client) -> None:
    page, data = browser.get("/"), browser.get("/api/v1/version")
    for answer in (page, data):
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
    assert data.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    policy = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "base-uri 'none'", "form-action 'self'"} <= set(policy)
    assert "unsafe-eval" not in page.headers["content-security-policy"]


def test_the_token_of_another_server_is_in_another_cookie(sample: Sample, stranger: Client) -> None:
    other = Client(create_app(sample.workspace, "y" * 43, [HOST]))
    mine = stranger.get("/", params={"token": TOKEN}).headers["set-cookie"].partition("=")[0]
    theirs = other.get("/", params={"token": "y" * 43}).headers["set-cookie"].partition("=")[0]
    other.close()
    assert mine != theirs


def test_a_token_file_is_made_for_its_owner_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = choose_token(file)
    assert len(token) == 43
    assert file.stat().st_mode & 0o777 == 0o600
    assert choose_token(file) == token


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    choose_token(file)
    file.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        choose_token(file)


@pytest.mark.parametrize("content", ["", "short", "x" * 31, "x" * 600, "white space " * 5, "é" * 40])
def test_a_weak_token_is_refused_without_being_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(content)
    with pytest.raises(UsageError, match="expected 32 to 512") as refusal:
        choose_token(file)
    assert not content or content not in str(refusal.value)


def test_a_token_file_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot make the token file"):
        choose_token(tmp_path / "nowhere" / "token")
    with pytest.raises(UsageError, match="cannot read the token file"):
        choose_token(tmp_path)


def test_the_token_comes_from_the_environment_or_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPRUNE_TOKEN", TOKEN)
    assert choose_token() == TOKEN
    monkeypatch.delenv("AUTOPRUNE_TOKEN")
    assert choose_token() != choose_token()
