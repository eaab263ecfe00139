"""The JSON Schema and the reference page say what the loader does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from config_examples import SEED_SPACE, V2_YAML, Write
from jsonschema import Draft202012Validator

from autoprune.config import load, schema
from autoprune.config.model import ConfigFile
from autoprune.config.nni import IGNORED, PLATFORMS, REFUSED
from autoprune.config.translate import leaves
from autoprune.document import parse, plain
from autoprune.errors import ConfigError
from autoprune.tuners import tuners

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
GOOD = {
    "inline": V2_YAML,
    "own class": V2_YAML + "tuner: {className: optuna.samplers.GPSampler, classArgs: {anything: 1}}\n",
    "durations": V2_YAML + "maxExperimentDuration: 0.5h\nmaxTrialDuration: 90\n",
    "complete": """\
experimentName: digits
searchSpaceFile: search_space.json
trialCommand: python trial.py
trialCodeDirectory: .
trialConcurrency: 2
trialGpuNumber: 0
maxTrialNumber: 30
maxExperimentDuration: 1h
maxTrialRetries: 1
tuner:
  name: TPE
  classArgs: {optimize_mode: maximize, seed: 1}
assessor:
  name: Medianstop
trainingService:
  platform: local
debug: false
useAnnotation: false
""",
}
BAD = {
    "no command": "searchSpaceFile: search_space.json\n",
    "two spaces": V2_YAML + "searchSpaceFile: search_space.json\n",
    "unknown field": V2_YAML + "trialConcurency: 2\n",
    "range": V2_YAML + "trialConcurrency: 0\n",
    "duration": V2_YAML + "maxTrialDuration: soon\n",
    "tuner": V2_YAML + "tuner: {name: BOHB}\n",
    "argument": V2_YAML + "tuner: {name: TPE, classArgs: {sed: 1}}\n",
    "default tuner's argument": V2_YAML + "tuner: {classArgs: {sed: 1}}\n",
    "name and class": V2_YAML + "tuner: {name: TPE, className: a.B}\n",
    "platform": V2_YAML + "trainingService: {platform: pai}\n",
    "annotation": V2_YAML + "useAnnotation: true\n",
}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    made = schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def data(text: str) -> Any:
    return plain(parse(text, "config.yml")[0])


@pytest.mark.parametrize("name", GOOD)
def test_what_loads_is_valid(write: Write, validator: Draft202012Validator, name: str) -> None:
    load(write(GOOD[name]))
    assert list(validator.iter_errors(data(GOOD[name]))) == []


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_load_is_invalid(write: Write, validator: Draft202012Validator, name: str) -> None:
    path = write(BAD[name])
    with pytest.raises(ConfigError):
        load(path)
    assert not validator.is_valid(data(BAD[name]))


def test_it_describes_every_field_and_tuner(validator: Draft202012Validator) -> None:
    made = schema()
    for field in ConfigFile.model_fields.values():
        described = made["properties"][field.alias]
        reference = described.get("$ref", "").rpartition("/")[2]
        assert described.get("description") or made["$defs"][reference]["description"]
    assert made["$defs"]["TunerConfig"]["properties"]["name"]["enum"] == tuners.names()


def test_the_page_names_every_field() -> None:
    fields = PAGE.partition("## Fields")[2].partition("\n## ")[0]
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `([\w.]+)` \|.*$", fields, re.MULTILINE)}
    known = dict(leaves())
    assert rows.keys() == known.keys()
    for path, old in known.items():
        assert f"| `{old}` |" in rows[path] if old else rows[path].endswith("| |"), path


def test_the_page_names_what_is_not_used_and_not_supported() -> None:
    for name in (*IGNORED, *REFUSED, *PLATFORMS):
        assert name.rpartition(".")[2].casefold() in PAGE.casefold()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_page_s_examples_load(write: Write, block: str) -> None:
    path = write(block, SEED_SPACE)
    for file in ("trial.py", "task.py", "my_tuner.py", "run_prune.sh"):
        Path(file).touch()
    load(path)


def test_the_page_s_report_is_real(write: Write) -> None:
    text, expected = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[:2]
    with pytest.raises(ConfigError) as caught:
        load(write(text))
    assert f"{caught.value}\n" == expected
