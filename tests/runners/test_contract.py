"""What every runner does, whatever it runs trials on. A new runner is tested by being in the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from autoprune.protocol import ReportReader
from autoprune.records import Exit, TrialSpec
from autoprune.runners import Options, Runner, runners
from autoprune.runners.base import read_exit

Start = Callable[..., TrialSpec]


@pytest.fixture(params=[(name, warm) for name in runners.names() for warm in (True, False)], ids=str)
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    name, warm = request.param
    runner = runners.get(name)(2, Options(warm_start=warm))
    yield runner
    runner.close()


@pytest.fixture
def start(runner: Runner, tmp_path: Path) -> Start:
    def start(script: str, number: int = 0, arguments: str = "", **parameters: object) -> TrialSpec:
        code = tmp_path / "code"
        code.mkdir(exist_ok=True)
        (code / f"trial{number}.py").write_text(dedent(script))
        spec = TrialSpec(
            experiment="exp-1",
            number=number,
            attempt=0,
            command=f"python trial{number}.py {arguments}",
            code_directory=code,
            folder=tmp_path / "trials" / str(number) / "attempts" / "0",
            output=tmp_path / "trials" / str(number) / "output",
            parameters=parameters,
        )
        runner.prepare(spec.command, code, tmp_path / "server.log")
        runner.start(spec)
        return spec

    return start


def finish(runner: Runner, count: int = 1) -> dict[int, Exit]:
    """Wait until so many attempts have ended."""
    exits: dict[int, Exit] = {}
    deadline = runner.now() + 60
    while len(exits) < count:
        assert runner.now() < deadline, "the trials did not end"
        exits |= {ended.number: ended.exit for ended in runner.wait(1.0)}
    return exits


def test_reports_and_parameters_go_through(runner: Runner, start: Start) -> None:
    spec = start(
        """
        import autoprune
        parameters = autoprune.get_parameters()
        autoprune.report_intermediate_result(parameters["x"])
        autoprune.report_final_result({"default": parameters["x"] * 2, "who": autoprune.get_sequence_id()})
        """,
        number=3,
        x=0.25,
    )
    assert finish(runner) == {3: Exit(0)}
    intermediate, final = ReportReader(spec.folder, 0).read()
    assert (intermediate.value, intermediate.final, intermediate.seq) == (0.25, False, 0)
    assert (final.value, final.final, final.values) == (0.5, True, {"default": 0.5, "who": 3})
    assert read_exit(spec.folder) == Exit(0)


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("raise SystemExit(0)", 0),
        ("raise SystemExit('a sentence')", 1),
        ("raise ValueError('bad')", 1),
        ("sys.exit(300)", 300 % 256),
    ],
)
def test_exit_codes(runner: Runner, start: Start, ending: str, code: int) -> None:
    start(f"import sys\n{ending}\n")
    assert finish(runner) == {0: Exit(code)}


def test_output_argv_and_folder(runner: Runner, start: Start) -> None:
    spec = start(
        """
        import json, os, sys
        print(json.dumps({"argv": sys.argv, "name": __name__, "cwd": os.getcwd(), "path": sys.path[0]}))
        print("to stderr", file=sys.stderr)
        raise ValueError("what went wrong")
        """,
        arguments="--epochs 3 'two words'",
    )
    finish(runner)
    seen = json.loads((spec.folder / "stdout").read_text())
    assert seen["argv"] == ["trial0.py", "--epochs", "3", "two words"]
    assert seen["name"] == "__main__"
    assert Path(seen["cwd"]) == spec.code_directory
    assert Path(seen["path"]) == spec.code_directory
    errors = (spec.folder / "stderr").read_text()
    assert errors.startswith("to stderr\n")
    assert "Traceback (most recent call last)" in errors
    assert errors.endswith("ValueError: what went wrong\n")


def test_outputs_outlive_the_attempt(runner: Runner, start: Start) -> None:
    spec = start("import autoprune\n(autoprune.get_output_dir() / 'model.bin').write_bytes(b'weights')\n")
    finish(runner)
    assert (spec.output / "model.bin").read_bytes() == b"weights"


def test_two_run_side_by_side(runner: Runner, start: Start) -> None:
    script = """
        import time, autoprune
        for step in range(3):
            autoprune.report_intermediate_result(autoprune.get_parameters()["x"] + step)
            time.sleep(0.2)
        autoprune.report_final_result(autoprune.get_parameters()["x"])
        """
    specs = [start(script, number=number, x=number * 10) for number in range(2)]
    assert finish(runner, 2) == {0: Exit(0), 1: Exit(0)}
    for number, spec in enumerate(specs):
        values = [report.value for report in ReportReader(spec.folder, 0).read()]
        assert values == [number * 10, number * 10 + 1, number * 10 + 2, number * 10]


def test_a_report_ends_the_wait(runner: Runner, start: Start) -> None:
    spec = start("import time, autoprune\nautoprune.report_intermediate_result(1.0)\ntime.sleep(100)\n")
    reader = ReportReader(spec.folder, 0)
    for _ in range(100):
        assert runner.wait(60.0) == []
        if reader.read():
            break
    else:
        pytest.fail("the report did not come")


def test_kill(runner: Runner, start: Start) -> None:
    spec = start(
        """
        import time, autoprune
        autoprune.report_intermediate_result(1.0)
        time.sleep(1000)
        autoprune.report_final_result(2.0)
        """
    )
    reader = ReportReader(spec.folder, 0)
    while not reader.read():
        runner.wait(1.0)
    runner.kill(0)
    exit = finish(runner)[0]
    assert not exit.ok
    assert reader.read() == []
    runner.kill(0)


def test_close_ends_everything(runner: Runner, start: Start) -> None:
    spec = start("import time, autoprune\nautoprune.report_intermediate_result(1.0)\ntime.sleep(1000)\n")
    reader = ReportReader(spec.folder, 0)
    while not reader.read():
        runner.wait(1.0)
    runner.close()
    assert runner.wait(0.01) == []


def test_reclaiming_what_never_was_is_nothing(runner: Runner, tmp_path: Path) -> None:
    runner.reclaim(tmp_path / "nothing", None)


def test_names_are_file_names() -> None:
    for name in runners.names():
        assert runners.get(name).__module__ == f"autoprune.runners.{name}"


def test_environment_is_the_trials_own(runner: Runner, start: Start) -> None:
    script = """
        import os
        print(os.environ["AUTOPRUNE_SEQUENCE_ID"], os.environ["AUTOPRUNE_TRIAL_ID"])
        """
    specs = [start(script, number=number) for number in range(2)]
    finish(runner, 2)
    for number, spec in enumerate(specs):
        assert (spec.folder / "stdout").read_text() == f"{number} exp-1-{number}\n"
