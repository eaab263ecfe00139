"""Completion: what a shell offers after each word, and that bash offers it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from sample_workspace import Sample

from autoprune.cli.completion import SHELLS
from autoprune.cli.main import COMMANDS, cli


def offered(*words: str, incomplete: str = "") -> list[str]:
    complete = ShellComplete(cli, {}, "autoprune", "_AUTOPRUNE_COMPLETE")
    return [item.value for item in complete.get_completions(list(words), incomplete)]


@pytest.fixture
def workspace(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """The sample is the workspace in force."""
    monkeypatch.setenv("AUTOPRUNE_WORKSPACE", str(sample.workspace.root))
    return sample


def test_commands_and_their_options() -> None:
    assert offered() == list(COMMANDS)
    assert offered(incomplete="tri") == ["trials", "trial"]
    assert {"show", "log", "kill"} <= set(offered("trial"))
    assert offered("run", incomplete="--ma") == ["--max-trials"]
    assert "--help" in offered("stop", incomplete="--")
    assert offered("completion", incomplete="z") == ["zsh"]
    assert offered("trials", "--state", incomplete="early") == ["early_stopped"]


def test_commands_bring_their_summaries_and_stay_unimported() -> None:
    code = """
        import sys
        from click.shell_completion import ShellComplete
        from autoprune.cli.main import COMMANDS, cli

        items = ShellComplete(cli, {}, "autoprune", "_AUTOPRUNE_COMPLETE").get_completions([], "")
        print([item.help for item in items] == [summary for _, summary in COMMANDS.values()])
        print([module for module, _ in COMMANDS.values() if module in sys.modules])
        """
    result = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True)
    assert result.stdout.splitlines() == ["True", "[]"], result.stderr


@pytest.mark.parametrize(
    "words",
    [["status"], ["trials"], ["best"], ["export"], ["stop"], ["resume"], ["delete"], ["trial", "show", "3", "-e"]],
    ids=" ".join,
)
def test_experiments_wherever_one_is_named(workspace: Sample, words: list[str]) -> None:
    assert offered(*words) == [workspace.id]
    assert offered(*words, incomplete=workspace.id[:3]) == [workspace.id]
    assert offered(*words, incomplete="nothing-like-it") == []


@pytest.mark.parametrize("command", ["show", "log", "kill"])
def test_trials_of_the_experiment(workspace: Sample, command: str) -> None:
    assert offered("trial", command) == [str(number) for number in range(9)]
    assert offered("trial", command, "-e", workspace.id, incomplete="8") == ["8"]
    assert offered("trial", command, "-e", "nothing-like-it") == []


def test_the_workspace_given_before(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPRUNE_WORKSPACE", str(tmp_path / "none"))
    assert offered("stop") == []
    assert offered("stop", "--workspace", str(sample.workspace.root)) == [sample.id]


def test_what_makes_no_sense_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPRUNE_WORKSPACE", str(tmp_path))
    (tmp_path / "autoprune.db").write_text("not a database, and longer than a database's header is: " + "x" * 100)
    assert offered("status") == []
    assert offered("trial", "show") == []
    assert offered("nothing", "like", "it", incomplete="x") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert f"_AUTOPRUNE_COMPLETE={shell}_complete" in result.stdout
    assert CliRunner().invoke(cli, ["completion", "cmd"]).exit_code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("words", [["autoprune", "resu"], ["autoprune", "status", ""]], ids=["command", "experiment"])
def test_bash_offers_it(workspace: Sample, tmp_path: Path, words: list[str]) -> None:
    tool = tmp_path / "bin" / "autoprune"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m autoprune "$@"\n')
    tool.chmod(0o755)
    script = f"""
        source <(autoprune completion bash)
        COMP_WORDS=({" ".join(repr(word) for word in words)})
        COMP_CWORD={len(words) - 1}
        _autoprune_completion autoprune
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """
    environment = {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-c", dedent(script)], env=environment, capture_output=True, text=True)
    assert result.stdout.split() == ["resume" if words[-1] else workspace.id], result.stderr
