"""`autoprune scan`: the sensitivity of layers, from the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import Autoprune
from results.test_curves import WEIGHTS
from sample_workspace import SAMPLE_ID, Sample

from autoprune.store import Workspace, models


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    place = Workspace(tmp_path / "autoprune-experiments")
    sample = Sample(place, place.create())
    sample.create()
    return sample


def test_it_shows_a_table_and_json(sample: Sample, autoprune: Autoprune) -> None:
    with sample.store.write() as tx:
        models.save(tx, SAMPLE_ID, "key", WEIGHTS)
    sample.store.close()
    shown = autoprune("scan", SAMPLE_ID[:6])
    assert shown.returncode == 0, shown.stderr
    assert "level: the model where one layer alone has this sparsity, untrained (dense: 91.25)" in shown.stdout
    assert [line.split() for line in shown.stdout.splitlines()[-4:]] == [
        ["conv1", "72", "sparsity", "0.5", "0.69"],
        ["conv1", "value", "80", "-"],
        ["conv2", "1,152", "sparsity", "0.5", "0.7"],
        ["conv2", "value", "91", "85.25"],
    ]
    assert json.loads(autoprune("scan", "--json").stdout) == {
        "dense": WEIGHTS["dense"], "groups": WEIGHTS["groups"], "items": WEIGHTS["curves"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "said"), [(None, "no model of a task is known of it"), ({**WEIGHTS, "curves": []}, "were not scanned")]
)
def test_an_experiment_without_curves_is_usage(
    sample: Sample, autoprune: Autoprune, facts: dict[str, object] | None, said: str
) -> None:
    if facts is not None:
        with sample.store.write() as tx:
            models.save(tx, SAMPLE_ID, "key", facts)
    sample.store.close()
    result = autoprune("scan")
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stdout == ""
