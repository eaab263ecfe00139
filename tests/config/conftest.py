"""A way to write configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_examples import SEED_SPACE, Write


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a config, and the seed's search space beside it, into a folder called `study` that has a script; returns
    its relative path, so that marks read `config.yml:1:1`."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "trial.py").touch()
    monkeypatch.chdir(folder)

    def write(text: str, space: str | None = SEED_SPACE) -> Path:
        Path("config.yml").write_text(text, encoding="utf-8")
        if space is not None:
            Path("search_space.json").write_text(space, encoding="utf-8")
        return Path("config.yml")

    return write
