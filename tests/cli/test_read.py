"""The commands that read: what they print, where, and with which exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from sample_workspace import Sample

from autoprune.cli.main import COMMANDS, cli
from autoprune.records import JSON, ExperimentState, TrialState
from autoprune.results import Results
from autoprune.store import trials

READ = ("list", "status", "trials", "trial", "best", "export", "report", "view")
HEAVY = ("sqlalchemy", "pydantic", "fastapi", "uvicorn", "torch", "numpy", "optuna", "rich", "yaml", "psutil")


def run(sample: Sample, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--workspace", str(sample.workspace.root)])


def output(sample: Sample, *arguments: str) -> str:
    result = run(sample, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def output_json(sample: Sample, *arguments: str) -> JSON:
    return json.loads(output(sample, *arguments, "--json"), parse_constant=pytest.fail)


def process(sample: Sample, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "autoprune", *arguments, "--workspace", str(sample.workspace.root)]


@pytest.mark.parametrize("command", ["", *READ, "trial show", "trial log", "update", "import", "trial retry"])
def test_help_is_quick_because_it_imports_little(command: str) -> None:
    code = (
        "import sys\nfrom autoprune.cli.main import cli\n"
        f"try: cli({[*command.split(), '--help']!r}, prog_name='autoprune')\n"
        f"finally: print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert f"Usage: autoprune {command}".strip() in done.stdout
    assert "Examples:" in done.stdout or command in ("", "trial")


def test_help_lists_every_command_with_a_sentence() -> None:
    text = CliRunner().invoke(cli, ["--help"]).stdout
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in text
        assert summary in text
        assert len(summary) <= 65


@pytest.mark.parametrize("name", READ)
def test_a_command_has_a_sentence_of_its_own(name: str) -> None:
    command = cli.get_command(cli.make_context("autoprune", [name]), name)
    assert command is not None
    assert command.help


def test_an_unknown_command_is_answered_with_the_nearest(sample: Sample) -> None:
    for arguments, remedy in [(["trails"], "did you mean trials?"), (["trial", "lgo", "1"], "did you mean log?")]:
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert remedy in result.stderr


def test_list(sample: Sample) -> None:
    sample.create("second", "2030-02-01T00:00:00.000Z")
    assert output(sample, "list") == (
        "id                  state        trials  best  created\n"
        "second              INTERRUPTED       0     -  2030-02-01T00:00:00.000Z\n"
        "digits-300131-abcd  INTERRUPTED       9  0.95  2030-01-31T12:00:00.000Z\n"
    )
    results = Results(sample.workspace, sample.store)
    assert output_json(sample, "list") == results.experiments().model_dump(mode="json")


def test_status(sample: Sample) -> None:
    sample.end(ExperimentState.STOPPED, "stopped by command")
    text = output(sample, "status", "dig")
    for part in (
        "experiment  digits-300131-abcd\n",
        "state       STOPPED\n",
        "message     stopped by command\n",
        "3 SUCCEEDED",
        "best        trial 1: 0.95\n",
        "parameters  prune_method=agp conv0_sparsity=0.1\n",
        "limits      9 trials, 1:00:00 in all, 2 at a time\n",
        str(sample.workspace.folder(sample.id)),
    ):
        assert part in text
    assert output_json(sample, "status") == Results(sample.workspace, sample.store).experiment().model_dump(mode="json")


@pytest.mark.parametrize("state", [state for state in ExperimentState if state is not ExperimentState.INTERRUPTED])
def test_reading_returns_0_whatever_the_state(sample: Sample, state: ExperimentState) -> None:
    sample.end(state)
    for command in ("status", "trials", "best", "export"):
        assert run(sample, command).exit_code == 0


def test_trials(sample: Sample) -> None:
    lines = output(sample, "trials").splitlines()
    assert lines[0] == "number  state          value  seconds  parameters"
    assert lines[2] == "     1  SUCCEEDED       0.95        4  prune_method=agp conv0_sparsity=0.1"
    assert lines[9] == "     8  WAITING            -        -  lr=0.8"
    some = output(sample, "trials", "--state", "succeeded", "--state", "FAILED", "--sort", "-value").splitlines()
    assert [line.split()[0] for line in some[1:]] == ["1", "2", "0", "3"]


def test_trials_as_json_are_all_or_a_page_with_a_cursor(sample: Sample) -> None:
    results = Results(sample.workspace, sample.store)
    everything = output_json(sample, "trials")
    assert everything == results.trials().model_dump(mode="json")
    first = output_json(sample, "trials", "--limit", "5")
    rest = output_json(sample, "trials", "--limit", "5", "--cursor", first["next"])
    assert first["items"] + rest["items"] == everything["items"]
    assert rest["next"] is None
    result = run(sample, "trials", "--limit", "5")
    assert f"--cursor {first['next']}" in result.stderr


def test_all_trials_are_more_than_a_page(fresh: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoprune.results.pages.MAX_PAGE", 2)
    for number in range(5):
        fresh.add(number)
    assert [item["number"] for item in output_json(fresh, "trials")["items"]] == [0, 1, 2, 3, 4]
    assert len(output_json(fresh, "trials", "--limit", "3")["items"]) == 3


def test_parameters_have_the_names_that_were_given(sample: Sample) -> None:
    sample.add(9, {"a/b": 1, "c": {"d~e": 2}})
    assert "  a/b    1\n  c/d~e  2\n" in output(sample, "trial", "show", "9")


def test_trial_show(sample: Sample) -> None:
    text = output(sample, "trial", "show", "3")
    for part in ("state    FAILED\n", "message  exit code 1\n", "  lr  0.30000000000000004\n", "ended by signal 9"):
        assert part in text
    shown = output_json(sample, "trial", "show", "3", "-e", "digits")
    folder = sample.workspace.trial(sample.id, 3)
    expected = Results(sample.workspace, sample.store).trial(None, 3).model_dump(mode="json")
    assert shown == {**expected, "folder": str(folder)}


def test_best(sample: Sample) -> None:
    text = output(sample, "best")
    assert text.startswith("trial    1\nstate    SUCCEEDED\nvalue    0.95\n")
    assert "  prune_method/conv0_sparsity  0.1\n" in text
    assert output_json(sample, "best") == Results(sample.workspace, sample.store).best().model_dump(mode="json")


def test_no_best(fresh: Sample) -> None:
    for arguments, stdout in [(["best"], ""), (["best", "--json"], "null\n")]:
        result = run(fresh, *arguments)
        assert (result.exit_code, result.stdout) == (0, stdout)
        assert "no trial of digits-300131-abcd has succeeded" in result.stderr


def test_export(sample: Sample, tmp_path: Path) -> None:
    text = output(sample, "export")
    assert [row[1] for row in csv.reader(io.StringIO(text))][1:4] == ["SUCCEEDED"] * 3
    file = tmp_path / "trials.csv"
    result = run(sample, "export", "digits", "--format", "csv", "-o", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"wrote {file}\n"
    assert file.read_text() == text
    assert len(output_json(sample, "export")["items"]) == 9
    assert json.loads(output(sample, "export", "--format", "json")) == output_json(sample, "export")


def test_an_export_that_cannot_be_harms_no_file(sample: Sample, tmp_path: Path) -> None:
    file = tmp_path / "kept.csv"
    file.write_text("kept")
    assert run(sample, "export", "nothing", "-o", str(file)).exit_code == 2
    assert file.read_text() == "kept"
    result = run(sample, "export", "-o", str(tmp_path / "nowhere" / "file"))
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "nothing"],
        ["trials", "nothing"],
        ["best", "nothing"],
        ["export", "nothing"],
        ["trial", "show", "99"],
        ["trial", "show", str(2**40)],
        ["trial", "show", "x"],
        ["trial", "log", "99"],
        ["trial", "log", "0", "--attempt", "1"],
        ["trial", "log", "0", "--follow", "--json"],
        ["trials", "--cursor", "bad"],
        ["trials", "--limit", "0"],
        ["trials", "--sort", "parameters"],
        ["trials", "--state", "LOST"],
        ["view", "--host", "0.0.0.0"],
    ],
)
def test_what_is_not_there_is_exit_code_2(sample: Sample, arguments: list[str]) -> None:
    result = run(sample, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: " in result.stderr.lower()
    assert "Traceback" not in result.stderr


def test_a_workspace_without_experiments(empty: Sample, tmp_path: Path) -> None:
    assert output_json(empty, "list") == {"items": [], "next": None}
    assert output(empty, "list").startswith("id")
    result = run(empty, "status")
    assert result.exit_code == 2
    assert "start one with: autoprune run config.yml" in result.stderr
    nowhere = CliRunner().invoke(cli, ["list", "--workspace", str(tmp_path / "nowhere")])
    assert nowhere.exit_code == 2
    assert not (tmp_path / "nowhere").exists()


def log_of(sample: Sample, number: int, stream: str, attempt: int = 0) -> Path:
    folder = sample.workspace.attempt(sample.id, number, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / stream


def test_trial_log(sample: Sample) -> None:
    log_of(sample, 3, "stdout", 0).write_bytes(b"first\n")
    log_of(sample, 3, "stdout", 1).write_bytes(b"second \xff\n")
    log_of(sample, 3, "stderr", 1).write_bytes(b"trouble\n")
    assert run(sample, "trial", "log", "3").stdout_bytes == b"second \xff\n"
    assert output(sample, "trial", "log", "3", "--attempt", "0") == "first\n"
    assert output(sample, "trial", "log", "3", "--stderr") == "trouble\n"
    assert output_json(sample, "trial", "log", "3") == {
        "number": 3,
        "attempt": 1,
        "stream": "stdout",
        "text": "second \ufffd\n",
    }
    assert output(sample, "trial", "log", "3", "--follow") == run(sample, "trial", "log", "3").stdout
    waiting = run(sample, "trial", "log", "8")
    assert (waiting.exit_code, waiting.stdout, waiting.stderr) == (0, "", "trial 8 has not started\n")


def test_a_log_that_was_removed_is_a_mistake(sample: Sample) -> None:
    with sample.store.write() as tx:
        trials.set_process(tx, sample.id, 7, 0, 4711, 1.5)
    for options in ([], ["--json"], ["--follow"]):
        gone = run(sample, "trial", "log", "7", *options)
        assert (gone.exit_code, gone.stdout) == (2, "")
        assert (
            gone.stderr == f"error: the stdout of attempt 0 of trial 7 of {sample.id} is gone: its file was removed\n"
        )


def test_a_log_that_nobody_reads_says_how_long_it_is(sample: Sample) -> None:
    with log_of(sample, 0, "stdout").open("wb") as file:
        file.truncate(120_000_000)
    command = process(sample, "trial", "log", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "trial 0 wrote 120.0 MB to its stdout\n"
        child.terminate()


def test_following_a_log_waits_for_the_start_and_stops_at_the_end(sample: Sample) -> None:
    log = log_of(sample, 8, "stdout")
    with sample.workspace.lock(sample.id):
        command = process(sample, "trial", "log", "8", "--follow")
        follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert follower.stdout is not None
        log.write_text("one\n")
        sample.start(8)
        assert follower.stdout.readline() == "one\n"
        with log.open("a") as file:
            file.write("two\n")
            file.flush()
            assert follower.stdout.readline() == "two\n"
            assert follower.poll() is None
            file.write("three")
        sample.finish(8, TrialState.SUCCEEDED, 0.5)
        assert follower.communicate(timeout=20) == ("three", "")
        assert follower.returncode == 0


def test_following_ends_with_the_manager(sample: Sample) -> None:
    log_of(sample, 7, "stdout").write_text("so far\n")
    command = process(sample, "trial", "log", "7", "-f")
    with sample.workspace.lock(sample.id):
        follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert follower.stdout is not None
        assert follower.stdout.readline() == "so far\n"
    assert follower.communicate(timeout=20) == ("", None)
    assert follower.returncode == 0


def test_ctrl_c_is_130(sample: Sample) -> None:
    log_of(sample, 7, "stdout").write_text("so far\n")
    with sample.workspace.lock(sample.id):
        command = process(sample, "trial", "log", "7", "-f")
        follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert follower.stdout is not None
        follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        assert follower.communicate(timeout=20) == ("", "interrupted\n")
    assert follower.returncode == 130


def test_a_closed_pipe_is_no_traceback(sample: Sample) -> None:
    log_of(sample, 0, "stdout").write_bytes(b"x" * 10_000_000)
    command = process(sample, "trial", "log", "0")
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(20) == 141


def on_a_terminal(command: list[str], **variables: str) -> str:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60", **variables}
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(master, 65536):
                seen.extend(chunk)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    assert child.wait(30) == 0
    reader.join()
    os.close(master)
    return seen.decode()


def test_a_terminal_gets_colours_and_lines_cut_to_its_width(sample: Sample) -> None:
    sample.add(9, {"name": "long " * 30})
    text = on_a_terminal(process(sample, "trials"))
    assert "\x1b[32mSUCCEEDED" in text
    assert "…" in text
    assert len(text.splitlines()) == 11


def test_no_color_is_respected(sample: Sample) -> None:
    for command in ("trials", "status", "list"):
        assert "\x1b[3" not in on_a_terminal(process(sample, command), NO_COLOR="1")


def test_what_a_trial_says_cannot_move_the_cursor(fresh: Sample) -> None:
    fresh.add(0, {"name": "\x1b[2Jgone\nnext"})
    fresh.start(0)
    fresh.finish(0, TrialState.FAILED, message="\x1b]0;title\x07")
    for command in (["trials"], ["trial", "show", "0"]):
        text = output(fresh, *command)
        assert "\x1b" not in text
        assert "\x07" not in text


def test_view_serves_until_ctrl_c(sample: Sample) -> None:
    command = process(sample, "view", "--port", "0")
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    url = child.stdout.readline().strip()
    with httpx.Client(follow_redirects=True) as browser:
        assert sample.id in browser.get(url).text
    child.send_signal(signal.SIGINT)
    rest, notes = child.communicate(timeout=60)
    assert (child.returncode, rest) == (0, "")
    assert notes == f"serving {sample.workspace.root}; Ctrl-C ends it\n"
