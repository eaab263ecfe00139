"""Malformed configurations and search spaces: each problem has its place and its remedy, and all fit one screen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from config_examples import SEED_SPACE, SEED_YAML, V2_YAML, Write

from autoprune.config import load
from autoprune.errors import ConfigError

SPACE = "search_space.json"
YAML = "config.yml"


def seed(old: str, new: str) -> str:
    assert old in SEED_YAML
    return SEED_YAML.replace(old, new)


def space(old: str, new: str) -> str:
    assert old in SEED_SPACE
    return SEED_SPACE.replace(old, new, 1)


CONFIGS = {
    "script that is not there": (V2_YAML.replace("trial.py", "trail.py"), f"{YAML}:3:15", "did you mean trial.py?"),
    "unknown key": (seed("maxTrialNum:", "maxTrialNumm:"), f"{YAML}:5:1", "did you mean maxTrialNumber?"),
    "unknown key in a section": (seed("  gpuNum:", "  gpuNumer:"), f"{YAML}:20:3", "did you mean trialGpuNumber?"),
    "key in the wrong table": (
        seed("  classArgs:\n", "  seed: 3\n  classArgs:\n"),
        f"{YAML}:14:3",
        "tuner.classArgs.seed",
    ),
    "duplicate key": (SEED_YAML + "maxTrialNum: 5\n", f"{YAML}:21:1", "first on line 5"),
    "two spellings": (SEED_YAML + "maxTrialNumber: 5\n", f"{YAML}:21:1", "maxTrialNum is on line 5"),
    "text for a number": (seed("Concurrency: 2", "Concurrency: '2'"), f"{YAML}:3:19", "without the quotes"),
    "number for text": (seed("Auto_Compression", "2024"), f"{YAML}:2:17", 'in quotes: "2024"'),
    "below the range": (seed("Concurrency: 2", "Concurrency: 0"), f"{YAML}:3:19", "a whole number of at least 1"),
    "fraction": (seed("gpuNum: 1", "gpuNum: 0.5"), f"{YAML}:20:11", "a whole number of at least 0"),
    "above the range": (
        seed("Concurrency: 2", "Concurrency: 1001"),
        f"{YAML}:3:19",
        "of at least 1 and of at most 1000",
    ),
    "more trials than can be counted": (seed("TrialNum: 500", f"TrialNum: {2**31}"), f"{YAML}:5:14", f"{2**31 - 1}"),
    "a duration too long": (seed("100h", "10000000h"), f"{YAML}:4:18", "300 years at most"),
    "duration": (seed("100h", "100 hours"), f"{YAML}:4:18", "a duration such as 100h, 30m, 45s"),
    "missing command": (seed("  command: bash run_prune.sh\n", ""), f"{YAML}:1:1", "trialCommand: given nothing"),
    "missing space": (
        seed("searchSpacePath: search_space.json\n", ""),
        f"{YAML}:1:1",
        "searchSpaceFile: search_space.json",
    ),
    "no such space file": (
        seed("search_space.json", "serch_space.json"),
        f"{YAML}:10:18",
        "did you mean search_space.json?",
    ),
    "no such folder": (seed("codeDir: .", "codeDir: cod"), f"{YAML}:19:12", "did you mean code?"),
    "both spaces": (SEED_YAML + "searchSpace: {x: {_type: choice, _value: [1]}}\n", f"{YAML}:21:1", "take one away"),
    "annotation": (seed("Annotation: False", "Annotation: True"), f"{YAML}:9:16", "autoprune.get_parameters()"),
    "platform": (seed("Platform: local", "Platform: remote"), f"{YAML}:7:26", "ray"),
    "another platform": (seed("Platform: local", "Platform: pai"), f"{YAML}:7:26", "use local"),
    "tuner we will not have": (seed("Name: TPE", "Name: BOHB"), f"{YAML}:13:21", "use TPE with assessor Hyperband"),
    "tuner misspelled": (seed("Name: TPE", "Name: Aneal"), f"{YAML}:13:21", "did you mean Anneal?"),
    "argument misspelled": (seed("optimize_mode", "optimise_mode"), f"{YAML}:16:5", "did you mean optimize_mode?"),
    "argument's value": (seed("mode: maximize", "mode: max"), f"{YAML}:16:20", "maximize or minimize"),
    "argument's range": (seed("mode: maximize", "mode: maximize\n    seed: -1"), f"{YAML}:17:11", "of at least 0"),
    "advisor": (SEED_YAML + "advisor: {builtinAdvisorName: BOHB}\n", f"{YAML}:21:10", "use tuner TPE"),
    "assessor misspelled": (SEED_YAML + "assessor: {name: Medianstp}\n", f"{YAML}:21:18", "did you mean Medianstop?"),
    "assessor unnamed": (SEED_YAML + "assessor: {classArgs: {}}\n", f"{YAML}:21:12", "one of"),
    "one word for a table": (seed("tuner:\n", "assessor: Medianstop\ntuner:\n"), f"{YAML}:11:11", "with name: below"),
    "a list for arguments": (seed("    optimize_mode: maximize", "    - maximize"), f"{YAML}:16:5", "a table"),
    "name and class": (V2_YAML + "tuner: {name: TPE, className: a.B}\n", f"{YAML}:4:31", "keep one of the two"),
    "class without module": (V2_YAML + "tuner: {className: Mine}\n", f"{YAML}:4:20", "module.Class"),
    "flag": (V2_YAML + "trainingService: {useActiveGpu: maybe}\n", f"{YAML}:4:33", "true or false"),
    "gpu list": (V2_YAML + "trainingService: {gpuIndices: [0, -1]}\n", f"{YAML}:4:35", "of at least 0"),
    "not YAML": ("a: [1\nb: 2\n", f"{YAML}:2:2", "expected YAML"),
    "not a table": ("- trialCommand\n", f"{YAML}:1:1", "a table of fields"),
}
SPACES = {
    "type misspelled": (space('"choice"', '"chioce"'), f"{SPACE}:3:14", "choice"),
    "type of a member": (space('"uniform"', '"unifrom"'), f"{SPACE}:8:20", "uniform"),
    "inverted bounds": (space("0.1,", "0.95,"), f"{SPACE}:9:21", "swap them"),
    "missing _name": (space('        "_name": "agp",\n', ""), f"{SPACE}:", "_name"),
    "repeated _name": (space('"level"', '"agp"'), f"{SPACE}:", "agp"),
    "name of no character": (space('"conv0_sparsity"', '""'), f"{SPACE}:7:9", "a name of one character or more"),
    "duplicate key": (space("conv1_sparsity", "conv0_sparsity"), f"{SPACE}:14:9", "first on line 7"),
    "not JSON": (
        space(
            "[",
            "",
        ),
        f"{SPACE}:",
        "expected JSON",
    ),
}


def report(path: Path) -> ConfigError:
    Path("code").mkdir()
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    return caught.value


def on_one_screen(error: ConfigError) -> bool:
    lines = str(error).splitlines()
    return len(lines) <= 24 and max(map(len, lines)) <= 200


@pytest.mark.parametrize("name", CONFIGS)
def test_malformed_configs(write: Write, name: str) -> None:
    text, place, remedy = CONFIGS[name]
    error = report(write(text))
    (problem,) = error.problems
    assert str(problem.mark) == place
    assert remedy in str(error)
    assert on_one_screen(error)


@pytest.mark.parametrize("name", SPACES)
def test_malformed_spaces(write: Write, name: str) -> None:
    text, place, remedy = SPACES[name]
    error = report(write(SEED_YAML, text))
    assert str(error.problems[0].mark).startswith(place)
    assert remedy in str(error)
    assert on_one_screen(error)


def test_a_space_file_is_looked_for_in_the_folder_of_the_configuration(write: Write) -> None:
    path = write(seed("search_space.json", "nope.yml"))
    assert f"(looked for {path.absolute().parent / 'nope.yml'})" in str(report(path))


def test_everything_at_once(write: Write) -> None:
    text = """\
experimentNam: mnist
trialConcurrency: '2'
maxTrialNum: 0
maxExecDuration: 100 hours
trainingServicePlatform: remote
useAnnotation: yes
searchSpacePath: search_space.json
tuner:
  builtinTunerName: BOHB
  classArgs:
    optimize_mode: maximize
assessor:
  name: Medianstop
  classArgs: {optimize_mod: minimize}
trial:
  command: bash run_prune.sh
  codeDir: nowhere
  gpuNum: -1
  gpu: 1
localConfig: 5
"""
    error = report(write(text, space('"uniform"', '"unifrom"')))
    places = [str(problem.mark).removeprefix(f"{YAML}:") for problem in error.problems]
    expected = ["1:1", "2:19", "3:14", "4:18", "5:26", "6:16", "9:21", "14:15", "17:12", "18:11", "19:3", "20:14"]
    assert places == [*expected, f"{SPACE}:8:20"]
    assert str(error).startswith("13 problems:\n")
    assert on_one_screen(error)


def test_a_missing_file(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"given nowhere\.yml; expected a file that can be read"):
        load("nowhere.yml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n"])
def test_an_empty_file_lacks_two_things(write: Write, text: str) -> None:
    problems = report(write(text)).problems
    assert {problem.path for problem in problems} == {"searchSpace", "trialCommand"}


def test_a_space_file_that_is_not_text(write: Write) -> None:
    path = write(SEED_YAML)
    Path(SPACE).write_bytes(b'{"\xff": 1}')
    assert "UTF-8" in str(report(path))


@pytest.mark.parametrize("value", ["5", "[a]", "{a: 1}"])
def test_a_path_that_is_none(write: Write, value: str) -> None:
    (problem,) = report(write(f"trialCommand: x\nsearchSpaceFile: {value}\n")).problems
    assert str(problem.mark) == f"{YAML}:2:18"
    assert problem.expected == "the path of a file"


@pytest.mark.parametrize("field", ["trialCodeDirectory", "experimentWorkingDirectory"])
def test_a_file_is_no_folder(write: Write, field: str) -> None:
    message = str(report(write(V2_YAML + f"{field}: config.yml\n")))
    assert message.startswith(f"config.yml:4:{len(field) + 3}: {field}: given 'config.yml'; expected a folder")
    assert "is a file" in message


def test_class_file_needs_a_class(write: Write) -> None:
    message = str(report(write(V2_YAML + "tuner: {classFileName: mine.py}\n")))
    assert "config.yml:4:9: tuner.classFileName: given 'mine.py'; expected className beside it" in message
    text = V2_YAML + "tuner: {classFileName: mine, className: Mine}\n"
    Path("code").rmdir()
    assert "the name of a Python file" in str(report(write(text)))


def test_arguments_of_ones_own_tuner_are_its_own_but_for_two(write: Write) -> None:
    text = V2_YAML + "tuner: {className: a.B, classArgs: {other: [1], optimize_mode: up, seed: x}}\n"
    places = [str(problem.mark) for problem in report(write(text)).problems]
    assert places == ["config.yml:4:64", "config.yml:4:74"]


def test_an_argument_in_two_spellings(write: Write) -> None:
    text = V2_YAML + "tuner: {classArgs: {seed: 1, SEED: 2}}\n"
    assert "given seed and SEED, which mean the same; expected seed once" in str(report(write(text)))


def test_a_named_tuner_needs_no_folder(write: Write) -> None:
    message = str(report(write(V2_YAML + "tuner: {name: TPE, codeDir: .}\n")))
    assert "tuner.codeDirectory: given '.'; expected className beside it" in message


@pytest.mark.parametrize("command", [
    "python nope.py", "python3 -u nope.py --lr 0.1", "LR=1 python3.11 ./nope.py", "/usr/bin/python nope.py",
    "python deeper/trial.py",
])  # fmt: skip
def test_a_script_that_is_not_there(write: Write, command: str) -> None:
    """Before five trials fail of it. It is looked for where the command runs."""
    (problem,) = report(write(f"trialCommand: {command}\nsearchSpaceFile: search_space.json\n")).problems
    assert str(problem).startswith(f"config.yml:1:15: trialCommand: given '{command}'; expected a script that exists (")


@pytest.mark.parametrize("command", [
    "python trial.py", f"{sys.executable} -u trial.py --lr 0.1", "python -m nope", "python -c 'pass' nope.py",
    "python -O nope.py", "python nope", "./nope.py", "bash nope.sh", "nope nope.py", "env A=1 python nope.py",
    "cd deeper && python nope.py", "cp trial.py nope.py; python nope.py", "python $HERE/nope.py", "python no'pe.py",
    "cat trial.py | python", "python ~/nope.py", "python",
])  # fmt: skip
def test_a_command_of_which_nobody_can_tell_is_taken_as_it_is(write: Write, command: str) -> None:
    given = json.dumps({"trialCommand": command, "searchSpaceFile": "search_space.json"})
    assert load(write(given)).config.trial_command == command


def test_a_script_is_looked_for_where_the_command_runs(write: Write) -> None:
    path = write("trialCommand: python trail.py\ntrialCodeDirectory: code\nsearchSpaceFile: search_space.json\n")
    (problem,) = report(path).problems
    assert problem.remedy == f"looked for {Path.cwd() / 'code' / 'trail.py'}"
    Path("trial.py").rename("code/trail.py")
    assert load(path).config.trial_code_directory == Path.cwd() / "code"
