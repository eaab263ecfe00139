"""Starting points, repeats and constraints, as commands show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sample_workspace import Sample

from autoprune.cli._progress import line_of
from autoprune.results import Results

from .conftest import Autoprune
from .test_live import ended, live, shown, started
from .test_read import output, output_json, run

OVER = """
    import autoprune
    autoprune.report_final_result({"default": autoprune.get_parameters()["x"], "macs": 120})
    """


def test_trials_say_where_they_come_from_where_any_has_something_to_say(repeated: Sample) -> None:
    lines = output(repeated, "trials").splitlines()
    assert lines[0] == "number  state      value  seconds  from         feasible  parameters"
    assert lines[1] == "     0  SUCCEEDED    0.8        4  LAMP                   lr=0"
    assert lines[4] == "     3  SUCCEEDED   0.99        4               no        lr=0.3"
    assert lines[5] == "     4  SUCCEEDED   0.81        4  repeat of 0            lr=0"
    shown = [{name: trial[name] for name in ("origin", "repeat_of", "feasible")} for trial in items(repeated)]
    assert shown[0] == {"origin": "LAMP", "repeat_of": None, "feasible": True}
    assert shown[3] == {"origin": "", "repeat_of": None, "feasible": False}
    assert shown[4] == {"origin": "LAMP", "repeat_of": 0, "feasible": True}


def items(sample: Sample) -> list[dict[str, object]]:
    return list(output_json(sample, "trials")["items"])


def test_a_trial_says_so_too(repeated: Sample) -> None:
    assert "from     repeat of 1\n" in output(repeated, "trial", "show", "5")
    assert "feasible  no\n" in output(repeated, "trial", "show", "3")


def test_the_best_with_the_mean_of_its_repeats(repeated: Sample) -> None:
    said = "0.82, the mean of 2 repeats; one result has a standard deviation of 0.0141421\n"
    assert output(repeated, "best").startswith(f"trial     0\nstate     SUCCEEDED\nvalue     0.8\nrepeated  {said}")
    text = output(repeated, "status")
    assert "best        trial 0: 0.8\n" in text
    assert f"repeated    {said}" in text
    best = output_json(repeated, "best")
    assert best == Results(repeated.workspace, repeated.store).best().model_dump(mode="json")
    assert (best["repeats"], round(best["mean"], 6), round(best["noise"], 6)) == (2, 0.82, 0.014142)
    assert output_json(repeated, "status")["best"] == best


def test_the_best_few_by_their_means(repeated: Sample) -> None:
    assert output(repeated, "best", "--top", "9") == (
        "number  value  mean  repeats  parameters\n"
        "     0    0.8  0.82        2  lr=0\n"
        "     1   0.95  0.71        2  lr=0.1\n"
        "     2    0.9     -        0  lr=0.2\n"
    )


def test_no_best_where_nothing_is_feasible(fresh: Sample) -> None:
    fresh.succeed(0, 0.9, feasible=False)
    result = run(fresh, "best", "--json")
    assert (result.exit_code, result.stdout) == (0, "null\n")
    assert "no trial of digits-300131-abcd keeps to all constraints" in result.stderr


def test_exit_code_3_where_no_trial_is_feasible(config: Callable[..., Path], autoprune: Autoprune) -> None:
    result = autoprune("run", str(config(OVER, constraints={"macs": {"max": 100}})), "--no-server", "--quiet")
    assert result.returncode == 3, result.stderr
    assert "no trial is feasible; the nearest is trial 0: macs is 120, above 100 by 20" in result.stdout
    assert "\nno trial is feasible\n" in result.stdout
    assert autoprune("best").returncode == autoprune("status").returncode == 0


def test_starting_points_in_a_run(config: Callable[..., Path], autoprune: Autoprune) -> None:
    result = autoprune("run", str(config(startingPoints=[{"x": 0.25}, {"x": 0.5}])), "--no-server")
    assert result.returncode == 0, result.stderr
    assert "trial 0 started, start 0: x=0.25\n" in result.stderr
    trials = json.loads(autoprune("trials", "--json").stdout)["items"]
    assert [(trial["origin"], trial["parameters"]["x"]) for trial in trials[:2]] == [
        ("start 0", 0.25),
        ("start 1", 0.5),
    ]
    assert trials[2]["origin"] == ""


def test_a_line_for_each() -> None:
    repeat = {**started(41, 0.5), "repeat_of": 7}
    assert line_of(repeat) == "trial 41 started, a repeat of trial 7: x=0.5"
    assert line_of({**started(1, 0.5), "attempt": 1, "origin": "ERK"}) == "trial 1 started (attempt 1), ERK: x=0.5"


def test_the_live_view_counts_repeats_apart_and_they_never_lead() -> None:
    view = live()
    for number in range(4):
        view.hear(started(number, 0.5))
        view.hear(ended(number, "SUCCEEDED", 0.5 + number / 10))
    assert "4/4 trials " in shown(view)
    again = {"repeat_of": 3}
    view.hear({**started(4, 0.5), **again})
    assert "4/4 trials, then 1 repeat " in shown(view)
    view.hear({**ended(4, "SUCCEEDED", 0.95), **again})
    view.hear({**started(5, 0.5), **again})
    assert "4/4 trials, then 2 repeats " in shown(view)
    assert view.best[0].trial == 3
    view.hear({**ended(5, "FAILED", None), **again})
    view.hear({"event": "trial_retried", "time": "t", "trial": 5, "state": "FAILED", **again})
    assert "4/4 trials, then 1 repeat " in shown(view)


def test_in_the_live_view_an_infeasible_trial_never_leads() -> None:
    view = live()
    for number, feasible in enumerate([True, False]):
        view.hear(started(number, 0.5))
        view.hear({**ended(number, "SUCCEEDED", 0.5 + number / 10), "feasible": feasible})
    assert [success.trial for success in view.best] == [0]
    assert view.finished() == 2
