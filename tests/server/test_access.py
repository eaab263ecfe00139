"""Nobody gets in without the token, or under a foreign name; not to errors, nor to the API's description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from asgi_client import HOST, TOKEN, Client
from sample_workspace import Sample

from autoprune.errors import UsageError
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
    assert answer.headers["location"] == "/api/v1/experiments"
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert stranger.get("/api/v1/experiments").status_code == 200, "the client keeps the cookie"
    assert stranger.get("/").status_code == 303
    assert stranger.request("POST", "/api/v1/experiments").status_code == 401, "a cookie is for reading"


def test_the_token_in_an_address_works_at_the_door_only(stranger: Client) -> None:
    assert stranger.get("/api/v1/experiments", params={"token": TOKEN}).status_code == 401
    assert stranger.get("/", params={"token": "wrong"}).status_code == 401
    assert stranger.request("POST", "/", params={"token": TOKEN}).status_code == 401


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
