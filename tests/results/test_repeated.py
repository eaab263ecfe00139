"""What results say of trials that ran again, of starting points, and of trials that break a constraint."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import optuna
import pytest
from sample_workspace import Sample

from autoprune import results as rooms
from autoprune.errors import ConfigError
from autoprune.results import NoBestError, Results, write_csv, write_json
from autoprune.results.import_ import read_results
from autoprune.results.optuna_export import write_optuna
from autoprune.search_space import space_from_plain
from autoprune.store import experiments, trials

LR = {"lr": {"_type": "uniform", "_value": [0, 1]}}


def results_of(sample: Sample) -> Results:
    return Results(sample.workspace, sample.store)


def test_the_best_has_the_best_mean_of_repeats(repeated: Sample) -> None:
    best = results_of(repeated).best()
    assert (best.number, best.value, best.mean, best.repeats) == (0, 0.8, pytest.approx(0.82), 2)
    assert best.noise == pytest.approx(math.sqrt((2 * 0.01**2 + 2 * 0.01**2) / 2))
    assert results_of(repeated).experiment().best == best
    assert [short.best for short in results_of(repeated).experiments().items] == [best]
    record = rooms.best(repeated.store, repeated.id)
    assert record is not None
    assert record.number == 0


def test_the_mode_counts_for_means_too(empty: Sample) -> None:
    empty.create(mode="minimize")
    for number, value in enumerate([0.2, 0.1]):
        empty.succeed(number, value)
    for number, (of, value) in enumerate([(0, 0.2), (1, 0.3)], start=2):
        empty.succeed(number, value, repeat_of=of)
    assert results_of(empty).best().number == 0


def test_the_first_few_are_repeated_ones_before_others(repeated: Sample) -> None:
    assert [trial.number for trial in results_of(repeated).top(count=9).items] == [0, 1, 2]
    assert [trial.number for trial in results_of(repeated).top(count=2).items] == [0, 1]
    assert [trial.mean for trial in results_of(repeated).top(count=9).items][2] is None


def test_without_repeats_the_best_has_neither_mean_nor_noise(sample: Sample) -> None:
    best = results_of(sample).best()
    assert (best.number, best.mean, best.repeats, best.noise) == (1, None, 0, None)
    assert [trial.number for trial in results_of(sample).top(count=2).items] == [1, 2]


def test_the_infeasible_and_repeats_are_on_no_front_and_in_no_course(repeated: Sample) -> None:
    assert [trial.number for trial in results_of(repeated).pareto().items] == [1]
    assert results_of(repeated).best_so_far() == [0.8, 0.95, 0.95]


def test_no_best_where_nothing_is_feasible(fresh: Sample) -> None:
    fresh.succeed(0, 0.9, feasible=False)
    with pytest.raises(NoBestError, match="no trial of digits-300131-abcd keeps to all constraints"):
        results_of(fresh).best()
    assert results_of(fresh).experiment().best is None


def test_repeats_do_not_count_as_trials(repeated: Sample) -> None:
    with repeated.store.read() as tx:
        assert trials.created(tx, repeated.id) == 4
        assert [trial.number for trial in trials.repeats(tx, repeated.id)] == [4, 5, 6, 7]


def test_csv_tells_where_trials_come_from(repeated: Sample) -> None:
    file = io.StringIO(newline="")
    write_csv(results_of(repeated), None, file)
    header, *rows = file.getvalue().splitlines()
    assert header.startswith("number,state,value,duration,origin,repeat_of,feasible,param.lr,metric.default")
    assert [row.split(",")[4:7] for row in rows] == [
        ["LAMP", "", ""],
        ["", "", ""],
        ["", "", ""],
        ["", "", "false"],
        ["LAMP", "0", ""],
        ["", "1", ""],
        ["LAMP", "0", ""],
        ["", "1", ""],
    ]


def test_what_export_wrote_comes_back(repeated: Sample) -> None:
    """Repeats by their place among those taken in; feasibility is a matter of the experiment that takes them in."""
    file = io.StringIO()
    write_json(results_of(repeated), None, file)
    data = json.loads(file.getvalue())
    assert [item["feasible"] for item in data["items"]] == [True, True, True, False, True, True, True, True]
    arrived = read_results(file.getvalue(), "file.json", space_from_plain(LR, "test")).trials
    assert [(one.get("origin"), one.get("repeat_of")) for one in arrived] == [
        ("LAMP", None),
        *[(None, None)] * 3,
        *[("LAMP", 0), (None, 1)] * 2,
    ]
    data["items"] = data["items"][1:]
    arrived = read_results(json.dumps(data), "file.json", space_from_plain(LR, "test")).trials
    assert [one.get("repeat_of") for one in arrived] == [None, None, None, None, 0, None, 0]


@pytest.mark.parametrize(("name", "given"), [("origin", 3), ("repeat_of", "1"), ("repeat_of", True)])
def test_what_no_export_wrote_is_refused(repeated: Sample, name: str, given: object) -> None:
    item = {**results_of(repeated).trials().model_dump(mode="json")["items"][0], name: given}
    with pytest.raises(ConfigError, match=f"items\\[0\\].{name}"):
        read_results(json.dumps([item]), "file.json", space_from_plain(LR, "test"))


def test_optuna_is_told_too(repeated: Sample, tmp_path: Path) -> None:
    with repeated.store.write() as tx:
        config = {**experiments.get(tx, repeated.id).config, "searchSpace": LR}
        experiments.set_config(tx, repeated.id, config)
    write_optuna(results_of(repeated), None, tmp_path / "study.db")
    study = optuna.load_study(study_name=repeated.id, storage=f"sqlite:///{tmp_path / 'study.db'}")
    told = [
        {name: trial.user_attrs.get(name) for name in ("origin", "repeat_of", "feasible")} for trial in study.trials
    ]
    assert told[0] == {"origin": "LAMP", "repeat_of": None, "feasible": None}
    assert told[3] == {"origin": None, "repeat_of": None, "feasible": False}
    assert told[4] == {"origin": "LAMP", "repeat_of": 0, "feasible": None}
    assert study.best_trial.number == 1, "not trial 3, whose .99 breaks a constraint"
