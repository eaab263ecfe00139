"""benchmarks/search.py: its parts by hand, and the whole on what costs nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """The modules that need no network."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from searching import memo, methods, problems, summary, svg

        yield SimpleNamespace(memo=memo, methods=methods, problems=problems, summary=summary, svg=svg)
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_nothing_is_computed_twice(parts: SimpleNamespace, tmp_path: Path) -> None:
    """Neither by the one that knows, nor by another that opens the file, nor by one that has it open already."""
    calls: list[int] = []

    def find() -> int:
        calls.append(1)
        return 7

    first, second = parts.memo.Memo(tmp_path / "new" / "known.jsonl"), parts.memo.Memo(tmp_path / "new" / "known.jsonl")
    assert [one.answer({"a": 1, "b": 2}, find) for one in (first, first, second)] == [7, 7, 7]
    assert parts.memo.Memo(tmp_path / "new" / "known.jsonl").answer({"b": 2, "a": 1}, find) == 7
    assert len(calls) == 1
    second.answer({"a": 2}, find)
    assert first.answer({"a": 2}, find) == 7
    assert len(calls) == 2


def test_a_line_that_is_still_being_written_is_left_alone(parts: SimpleNamespace, tmp_path: Path) -> None:
    file = tmp_path / "known.jsonl"
    line = json.dumps({"question": {"a": 1}, "answer": "whole"}) + "\n"
    file.write_text(line[:20])
    memo = parts.memo.Memo(file)
    memo._catch_up()
    file.write_text(line)
    assert memo.answer({"a": 1}, lambda: "found again") == "whole"


def outcome(parts: SimpleNamespace, method: str, seed: int, *tests: float, values: list[float] | None = None) -> object:
    refits = [parts.problems.Refit(value - 1, value, 0.05) for value in tests]
    return parts.summary.Outcome(method, seed, refits, values)


def test_a_lead_is_that_of_pairs(parts: SimpleNamespace) -> None:
    """Seeds differ by ten points, the methods by one under each: the lead is sure, although both means are not."""
    ours = [outcome(parts, "ours", seed, 10.0 * seed + 1 + 0.01 * seed) for seed in range(5)]
    theirs = [outcome(parts, "theirs", seed, 10.0 * seed) for seed in reversed(range(5))]
    assert parts.summary.lead(ours, theirs) == ("+1.02 ± 0.01", "no, ahead")
    assert parts.summary.lead(theirs, ours) == ("-1.02 ± 0.01", "no, behind")
    mixed = [outcome(parts, "theirs", seed, 10.0 * seed + 1 + (-1) ** seed) for seed in range(5)]
    assert parts.summary.lead(ours, mixed)[1] == "yes"


def test_the_noise_is_that_within_the_refits(parts: SimpleNamespace) -> None:
    found = {"a": [outcome(parts, "a", 0, 1, 3), outcome(parts, "a", 1, 50, 52, 54)]}
    assert parts.summary.noise(found) == pytest.approx(math.sqrt((1 + 1 + 4 + 0 + 4) / 3))


def test_when_ours_is_there(parts: SimpleNamespace) -> None:
    """At the first trial that is as good as the other's last; where the other has nothing, at the first of all."""
    ours = [outcome(parts, "ours", 0, 1.0, values=[70.0, 75.0, 80.0])]
    assert parts.summary.reached(ours, [outcome(parts, "a", 0, 1.0, values=[60.0, 75.0, 75.0])]) == "2"
    assert parts.summary.reached(ours, [outcome(parts, "a", 0, 1.0, values=[60.0, 75.0, 81.0])]) == "not reached"
    assert parts.summary.reached(ours, [outcome(parts, "a", 0, 1.0, values=[None, None, None])]) == "1"
    assert parts.summary.reached(ours, [outcome(parts, "a", 0, 1.0)]) == ""


def test_the_chart_is_svg_with_every_name(parts: SimpleNamespace) -> None:
    curves = {"a < b & c": [None, 70.0, 75.0], "flat": [72.0, 72.0, 72.0]}
    root = ElementTree.fromstring(parts.svg.chart("<title>", curves, {"rule": 74.0, "far below": 10.0}, "trials"))
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {"<title>", "trials", "a < b & c", "flat", "rule"} <= texts
    assert "far below" not in texts
    assert len(list(root.iter(f"{SVG}path"))) == 2


@pytest.mark.parametrize(("name", "counts"), [("Random+penalty", {20}), ("Random+scaling+starts+repeats", {18, 20})])
def test_a_search_has_its_trials_and_its_result_meets_the_budget(
    parts: SimpleNamespace, name: str, counts: set[int]
) -> None:
    """Of 20 trials, two for each of three leaders are repeats, and two for the starting point where it is no leader."""
    problem = parts.problems.Function(3)
    found = parts.methods.search(problem, parts.methods.Search.of(name), 20)
    assert len(found.values) in counts
    known = [value for value in found.values if value is not None]
    assert known == sorted(known)
    assert found.met == bool(known)
    refit = problem.refit(found.parameters, 5)
    assert refit.used == pytest.approx(problem.limit, abs=1e-5)
    assert refit.test <= problem.optimum() + 1e-6


@pytest.mark.parametrize("name", ["Nothing+scaling", "TPE+starts", "TPE+scaling+penalty"])
def test_a_method_that_is_none_is_refused(parts: SimpleNamespace, name: str) -> None:
    with pytest.raises(SystemExit, match=r"expected one of .*TPE"):
        parts.methods.Search.of(name)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "search.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_is_repeated_trains_nothing_and_says_the_same(tmp_path: Path) -> None:
    out = tmp_path / "known.jsonl"
    arguments = (
        *("--out", out, "--plots", tmp_path / "plots", "--networks", "lenet300", "allocation", "--data", "digits"),
        *("--prepare-epochs", "1", "--seeds", "1", "--trials", "4", "--refits", "2"),
        *("--methods", "auto", "Random+penalty", "uniform"),
    )
    first = run(*arguments)
    assert first.returncode == 0, first.stderr
    rows = [line for line in first.stdout.splitlines() if line.startswith("|") and "---" not in line]
    assert len(rows) == 2 * (1 + 3)
    known = out.read_bytes()
    again = run(*arguments)
    assert (again.stdout, out.read_bytes()) == (first.stdout, known)
    for name in ("lenet300", "allocation"):
        ElementTree.parse(tmp_path / "plots" / f"{name}.svg")


@pytest.mark.slow
def test_a_method_that_there_is_not_is_refused(tmp_path: Path) -> None:
    result = run("--out", tmp_path / "known.jsonl", "--methods", "lampe")
    assert result.returncode == 2
    assert "lamp" in result.stderr
    assert list(tmp_path.iterdir()) == []
