"""Every malformed file ends `run` with exit code 2, a line, a remedy, and nothing begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from config_examples import SEED_SPACE, SEED_YAML

from autoprune.cli.main import cli
from tests.config.test_config_problems import CONFIGS, SPACES

FILES = {
    **{f"config: {name}": (text, SEED_SPACE, place, remedy) for name, (text, place, remedy) in CONFIGS.items()},
    **{f"space: {name}": (SEED_YAML, text, place, remedy) for name, (text, place, remedy) in SPACES.items()},
}


def test_there_are_more_than_twenty() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("name", FILES)
def test_run_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    config, space, place, remedy = FILES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "config.yml").write_text(config)
    (tmp_path / "search_space.json").write_text(space)
    for folder in (tmp_path, tmp_path / "code"):
        (folder / "trial.py").touch()
    result = CliRunner().invoke(cli, ["run", "config.yml"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert place in result.stderr
    assert remedy in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 24
    assert not (tmp_path / "autoprune-experiments").exists()
