"""The server as a process: where it listens, what it says, and when it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from sample_workspace import Sample

from autoprune.errors import AutopruneError, UsageError
from autoprune.server.door import Door, bind, is_loopback
from autoprune.server.process import ServerProcess, serving
from autoprune.store import Workspace


@contextmanager
def listening() -> Iterator[int]:
    """A port that is taken."""
    with closing(bind("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@contextmanager
def started(workspace: Workspace, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    command = [sys.executable, "-m", "autoprune.server", "--workspace", str(workspace.root), *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield process, json.loads(line) if line else {}
    finally:
        process.kill()
        process.communicate()


def test_a_browser_and_a_program_read_over_real_http(sample: Sample) -> None:
    with listening() as taken, ServerProcess.start(sample.workspace, taken) as server:
        address = httpx.URL(server.url)
        assert taken < (address.port or 0) < taken + 100
        with httpx.Client(follow_redirects=True) as browser:
            answer = browser.get(server.url)
        assert answer.status_code == 200
        assert answer.url.path == "/"
        assert sample.id in answer.text
        token = address.params["token"]
        base = f"http://localhost:{address.port}/api/v1"
        best = httpx.get(f"{base}/experiments/digits/best", headers={"Authorization": f"Bearer {token}"})
        assert best.json()["number"] == 1
        assert httpx.get(f"{base}/experiments").status_code == 401
        assert "server" not in best.headers
        sample.succeed(9, 0.99)
        best = httpx.get(f"{base}/experiments/digits/best", headers={"Authorization": f"Bearer {token}"})
        assert best.json()["number"] == 9, "what the manager writes meanwhile is seen"


@pytest.mark.parametrize("target", ["//evil.example/api/v1/health", "/../../../../etc/passwd", "/%2e%2e/etc/passwd"])
def test_addresses_that_no_client_library_sends(sample: Sample, target: str) -> None:
    with ServerProcess.start(sample.workspace, 0) as server:
        url = httpx.URL(server.url)
        with closing(http.client.HTTPConnection("127.0.0.1", url.port)) as connection:
            connection.request("GET", target, headers={"Authorization": f"Bearer {url.params['token']}"})
            assert connection.getresponse().status == 404
        with closing(http.client.HTTPConnection("127.0.0.1", url.port)) as connection:
            connection.putrequest("GET", f"http://evil.example{target}", skip_host=True)
            connection.putheader("Host", "evil.example")
            connection.putheader("Authorization", f"Bearer {url.params['token']}")
            connection.endheaders()
            assert connection.getresponse().status == 421


def test_it_stops_at_once_and_once_more_is_harmless(sample: Sample) -> None:
    server = ServerProcess.start(sample.workspace, 0)
    assert server.alive
    with httpx.Client() as idle:
        idle.get(server.url)
        server.stop()
    server.stop()
    assert not server.alive
    assert (sample.workspace.root / "server.log").read_text() == ""


def test_nobody_takes_the_port_of_a_server_that_died(sample: Sample) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with serving(sample.workspace, Door(port=0)) as link:
        [server] = [child for child in psutil.Process().children() if child.pid not in before]
        server.kill()
        server.wait()
        port = httpx.URL(link).port
        assert port is not None
        with closing(bind("127.0.0.1", port)) as rival:
            assert rival.getsockname()[1] != port
        assert httpx.get(link, timeout=60).status_code == 303


def test_it_is_out_of_reach_of_ctrl_c_and_its_token_of_ps(sample: Sample) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with ServerProcess.start(sample.workspace, 0) as server:
        [child] = [child for child in psutil.Process().children() if child.pid not in before]
        assert os.getsid(child.pid) != os.getsid(0)
        assert httpx.URL(server.url).params["token"] not in " ".join(child.cmdline())


def test_a_server_that_cannot_start_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(AutopruneError, match=r"did not start: .*no experiments in .*server\.log"):
        ServerProcess.start(Workspace(tmp_path), 0)
    assert "no experiments in" in (tmp_path / "server.log").read_text()


def test_what_an_earlier_server_said_is_no_reason(sample: Sample) -> None:
    (sample.workspace.root / "server.log").write_text("old trouble\n")
    with pytest.raises(AutopruneError, match=r"did not start \(its log is"):
        ServerProcess.start(sample.workspace, 0, patience=0)


def test_it_ends_with_its_parent_even_a_killed_one(sample: Sample) -> None:
    code = """
import sys, time
from pathlib import Path
from autoprune.server.process import ServerProcess
from autoprune.store import Workspace
server = ServerProcess.start(Workspace(Path(sys.argv[1])), 0)
print(server._process.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(sample.workspace.root)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(sample: Sample, number: signal.Signals) -> None:
    with started(sample.workspace, "--port", "0") as (process, address):
        assert set(address) == {"url", "port", "token"}
        process.send_signal(number)
        assert process.wait(60) == -number


def test_without_a_parent_to_follow_it_outlives_its_input(sample: Sample) -> None:
    with started(sample.workspace, "--port", "0") as (process, address):
        assert process.stdin is not None
        process.stdin.close()
        time.sleep(0.7)
        assert process.poll() is None
        assert httpx.get(str(address["url"])).status_code == 303
        process.stdin = None


def test_a_token_file(sample: Sample, tmp_path: Path) -> None:
    with started(sample.workspace, "--port", "0", "--token-file", str(tmp_path / "token")) as (_, address):
        assert address["token"] == (tmp_path / "token").read_text().strip()


def test_a_workspace_that_is_not_there(tmp_path: Path) -> None:
    with started(Workspace(tmp_path / "nowhere")) as (process, address):
        assert address == {}
        assert process.stderr is not None
        assert "error: no experiments in" in process.stderr.read()
        assert process.wait(60) == 2


def test_ports() -> None:
    with listening() as taken, closing(bind("127.0.0.1", taken)) as other:
        assert taken < other.getsockname()[1] < taken + 100
    with pytest.raises(UsageError, match="expected a name or address"):
        bind("no such host", 0)
    with pytest.raises(UsageError, match=r"cannot serve on 192\.0\.2\.1"):
        bind("192.0.2.1", 0)


def test_answers_go_out_without_delay() -> None:
    with closing(bind("127.0.0.1", 0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on: 40 ms an answer"


def test_two_servers_never_share_a_port() -> None:
    with listening() as port:
        sockets = [bind("127.0.0.1", port) for _ in range(5)]
        assert len({listener.getsockname()[1] for listener in sockets} | {port}) == 6
        for listener in sockets:
            listener.close()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_ipv6(sample: Sample) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with started(sample.workspace, "--port", "0", "--host", "::1") as (_, address):
        assert str(address["url"]).startswith("http://[::1]:")
        assert httpx.get(str(address["url"])).status_code == 303
