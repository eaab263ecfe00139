"""The best trials as commands show them: the first few, a front, their course, and a database for Optuna."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import optuna
from sample_workspace import Sample, clock

from autoprune.records import TrialState
from autoprune.store import experiments

from .test_read import output, output_json, process, run


def test_the_best_few(sample: Sample) -> None:
    assert output(sample, "best", "--top", "2") == (
        "number  value  parameters\n"
        "     1   0.95  prune_method=agp conv0_sparsity=0.1\n"
        "     2   0.95  prune_method=agp conv0_sparsity=0.2\n"
    )
    page = output_json(sample, "best", "--top", "9")
    assert [item["number"] for item in page["items"]] == [1, 2, 0]
    assert page["next"] is None
    sample.create("least", clock(1), mode="minimize")
    least = Sample(sample.workspace, sample.store, "least")
    for number, value in enumerate([0.5, 0.25, 0.75]):
        least.succeed(number, value)
    assert [item["number"] for item in output_json(least, "best", "least", "--top", "2")["items"]] == [1, 0]


def test_the_front_of_several_objectives(fresh: Sample) -> None:
    with fresh.store.write() as tx:
        stored = experiments.get(tx, fresh.id)
        tuner = {"name": "NSGA2", "classArgs": {"objectives": {"macs": "minimize"}}}
        experiments.set_config(tx, fresh.id, {**stored.config, "tuner": tuner})
    assert output(fresh, "best").split() == ["number", "default", "parameters"]
    assert output_json(fresh, "best") == {"items": [], "next": None}
    for number, (value, macs) in enumerate([(0.5, 10), (0.5, 20), (0.9, 30)]):
        fresh.add(number, {"x": number})
        fresh.start(number)
        fresh.finish(number, TrialState.SUCCEEDED, value, values={"default": value, "macs": macs})
    assert output(fresh, "best") == (
        "number  default  macs  parameters\n     2      0.9    30  x=2\n     0      0.5    10  x=0\n"
    )
    page = output_json(fresh, "best")
    assert [item["objectives"] for item in page["items"]] == [
        {"default": 0.9, "macs": 30.0},
        {"default": 0.5, "macs": 10.0},
    ]
    refused = run(fresh, "best", "--top", "2")
    assert refused.exit_code == 2
    assert "several" in refused.stderr


def test_status_draws_the_course_of_the_best(sample: Sample) -> None:
    assert "so far      ▁██\n" in output(sample, "status")
    command = process(sample, "status")
    plain = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    assert b"so far" not in plain.stdout


def test_export_to_optuna(sample: Sample, tmp_path: Path) -> None:
    with sample.store.write() as tx:
        config = {
            **experiments.get(tx, sample.id).config,
            "searchSpace": {"lr": {"_type": "uniform", "_value": [0, 1]}},
        }
        experiments.set_config(tx, sample.id, config)
    file = tmp_path / "study.db"
    file.write_text("an older one")
    result = run(sample, "export", "--format", "optuna", "--out", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote {file}" in result.stderr
    study = optuna.load_study(study_name=sample.id, storage=f"sqlite:///{file}")
    assert len(study.trials) == 9
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    for arguments, why in [([], "give --output FILE"), (["-o", str(tmp_path / "nowhere" / "a.db")], "cannot write")]:
        refused = run(sample, "export", "--format", "optuna", *arguments)
        assert refused.exit_code == 2
        assert why in refused.stderr
