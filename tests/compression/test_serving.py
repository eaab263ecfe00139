"""A process that does a task with torch always answers."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from autoprune import probe
from autoprune.errors import AutopruneError

SERVING = """
    from autoprune.compression.command.serving import serve
    def run(what): return {"nan": float("nan"), "object": object()}[what]
    if __name__ == "__main__": serve({"task": "serving_odd"})
    """


@pytest.mark.parametrize("what", ["nan", "object"])
def test_an_answer_that_json_does_not_take_is_an_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "serving_odd.py").write_text(dedent(SERVING))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(AutopruneError, match=r"the answer can not be passed on \((ValueError|TypeError): .*JSON"):
        probe.ask("serving_odd", "task", {"what": what})
    assert "Traceback" not in capfd.readouterr().err
