"""Where `view`, `run` and `resume` serve: which workspace, which experiment, and who may come in."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sample_workspace import SAMPLE_ID, Sample

from autoprune.server.door import bind

from .conftest import SLOW, Autoprune

TOKEN = "token-of-this-test-" + "x" * 32


@contextmanager
def viewing(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[httpx.URL]:
    """The link of a view that was started in a folder."""
    command = [sys.executable, "-m", "autoprune", "view", "--port", "0", "--json", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = iter(child.stdout.readline, "}\n")
        try:
            yield httpx.URL(json.loads("".join(lines) + "}")["url"])
        finally:
            child.send_signal(signal.SIGINT)


@pytest.mark.parametrize("what", ["autoprune-experiments", ".", "digits", SAMPLE_ID])
def test_a_folder_or_an_experiment(sample: Sample, environment: dict[str, str], what: str) -> None:
    """A folder without a workspace stands in the way of no id."""
    folder = sample.workspace.root.parent
    (folder / "digits").mkdir()
    with viewing(folder, environment, what) as link, httpx.Client(follow_redirects=True) as browser:
        page = browser.get(link)
    assert page.status_code == 200
    assert page.url.path == (f"/experiments/{SAMPLE_ID}" if "digits" in what else "/")
    assert SAMPLE_ID in page.text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nothing"], "no experiment has an id that begins with 'nothing'"),
        (["."], "no experiment has an id that begins with '.'"),
        (["autoprune-experiments", "--workspace", "autoprune-experiments"], "expected one of them"),
        (["digits", "digits"], "unexpected extra argument"),
    ],
)
def test_what_cannot_be_viewed(
    sample: Sample, autoprune: Autoprune, tmp_path: Path, arguments: list[str], why: str
) -> None:
    if arguments == ["."]:
        sample.workspace.root.rename(tmp_path / "elsewhere")
        arguments = [".", "--workspace", str(tmp_path / "elsewhere")]
    done = autoprune("view", "--port", "0", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


def test_a_port_that_is_asked_for_and_taken(
    sample: Sample, environment: dict[str, str], config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        said = f"port {port} is taken; results are served on port "
        ran = autoprune("run", str(config()), "--quiet", "--port", str(port))
        assert ran.returncode == 0
        assert said in ran.stderr
        command = [sys.executable, "-m", "autoprune", "view", "--port", str(port)]
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as child:
            assert child.stderr is not None
            assert child.stderr.readline().startswith(said)
            child.send_signal(signal.SIGINT)


def test_who_lets_other_machines_in_keeps_a_token(
    sample: Sample, config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    open_to_all = tmp_path / "token"
    open_to_all.write_text(TOKEN)
    open_to_all.chmod(0o644)
    for command in (["view"], ["run", str(config())], ["run", str(config()), "--detach"], ["resume", "digits"]):
        wide = autoprune(*command, "--host", "0.0.0.0", "--port", "0")
        assert (wide.returncode, wide.stdout) == (2, "")
        assert "--host 0.0.0.0 lets other machines in; give --token-file" in wide.stderr
        loose = autoprune(*command, "--token-file", str(open_to_all), "--port", "0")
        assert (loose.returncode, loose.stdout) == (2, "")
        assert "others may read the token file" in loose.stderr
    assert json.loads(autoprune("list", "--json").stdout)["items"][0]["id"] == SAMPLE_ID, "nothing has begun"


def test_the_token_of_a_file_opens_what_runs_in_the_background(
    config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    done = autoprune("run", str(config(SLOW)), "--detach", "--json", "--token-file", "kept", "--port", "0")
    assert done.returncode == 0, done.stderr
    started = json.loads(done.stdout)
    try:
        token = (tmp_path / "kept").read_text().strip()
        link = link_in(Path(started["log"]))
        assert link.params["token"] == token
        address = link.copy_with(path=f"/api/v1/experiments/{started['id']}", query=None)
        answer = httpx.get(address, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        assert answer.json()["state"] == "RUNNING"
    finally:
        autoprune("stop", started["id"])


def test_the_token_of_the_environment_opens_what_runs(
    config: Callable[..., Path], autoprune: Autoprune, environment: dict[str, str]
) -> None:
    environment["AUTOPRUNE_TOKEN"] = TOKEN
    done = autoprune("run", str(config()), "--json", "--port", "0", "--host", "localhost")
    link = httpx.URL(json.loads(done.stdout.splitlines()[0])["url"])
    assert (link.host, link.params["token"]) == ("localhost", TOKEN)


def link_in(log: Path, patience: float = 60.0) -> httpx.URL:
    deadline = time.monotonic() + patience
    while not (found := re.search(r"results at (\S+)\n", log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return httpx.URL(found[1])
