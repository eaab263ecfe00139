"""`--set key=value`: over the file, before it is checked."""

from __future__ import annotations

from typing import Any

import pytest
from config_examples import SEED_YAML, V2_YAML, Write

from autoprune.config import load
from autoprune.errors import ConfigError


def failure(write: Write, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(text), overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("trialGpuNumber=0", "trialGpuNumber", 0),
        ("trial_gpu_number=3", "trialGpuNumber", 3),
        ("trial.gpuNum=3", "trialGpuNumber", 3),
        ("maxTrialNumber=5", "maxTrialNumber", 5),
        ("maxTrialNumber=", "maxTrialNumber", None),
        ("maxTrialNumber=null", "maxTrialNumber", None),
        ("maxExperimentDuration=90s", "maxExperimentDuration", 90.0),
        ("experimentName='5'", "experimentName", "5"),
        ("trialCommand=python t.py --a: b # c", "trialCommand", "python t.py --a: b # c"),
        ("trialCommand=- x", "trialCommand", "- x"),
        ("trialCommand=@x", "trialCommand", "@x"),
        ("trialCommand=a=b", "trialCommand", "a=b"),
        ("tuner.classArgs.seed=3", "tuner.classArgs", {"optimize_mode": "maximize", "seed": 3}),
        ("tuner.classArgs.optimizeMode=minimize", "tuner.classArgs", {"optimize_mode": "minimize"}),
        ("tuner.classArgs={seed: 4}", "tuner.classArgs", {"seed": 4}),
        ("tuner={name: Random}", "tuner.name", "Random"),
        ("tuner.name=random", "tuner.name", "Random"),
        ("trainingService.gpuIndices=[]", "trainingService.gpuIndices", []),
    ],
)
def test_over_the_seed(write: Write, assignment: str, path: str, value: Any) -> None:
    overrides = [assignment] if "Gpu" in assignment else ["trialGpuNumber=0", assignment]
    data: Any = load(write(SEED_YAML), ["trialGpuNumber=0", *overrides]).config.to_json()
    for step in path.split("."):
        data = data[step]
    assert data == value


def test_they_mend_a_file(write: Write) -> None:
    text = SEED_YAML.replace("local\n", "remote\n").replace("useAnnotation: False", "useAnnotation: True")
    loaded = load(
        write(text), ["trainingService.platform=local", "useAnnotation=false", "searchSpaceFile=search_space.json"]
    )
    assert loaded.config.training_service.platform == "local"


def test_the_space_can_be_reached_into_and_replaced(write: Write) -> None:
    path = write(V2_YAML)
    assert load(path, ["searchSpace.lr._value=[0.5, 1]"]).config.search_space["lr"]["_value"] == [0.5, 1]
    config = load(path, ["searchSpace=null", "searchSpaceFile=search_space.json"]).config
    assert config.search_space.keys() == {"prune_method"}


def test_the_last_wins(write: Write) -> None:
    assert load(write(V2_YAML), ["maxTrialNumber=1", "maxTrialNumber=2"]).config.max_trial_number == 2


def test_a_section_can_be_taken_away(write: Write) -> None:
    text = V2_YAML + "tuner: {name: nothing}\nassessor: {name: nothing}\n"
    config = load(write(text), ["assessor=null", "tuner="]).config
    assert (config.assessor, config.tuner.name) == (None, "TPE")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trialGpuNumbr=0", "--set trialGpuNumbr: trialGpuNumbr: given an unknown field; expected a field"),
        ("trialGpuNumbr=0", "(did you mean trialGpuNumber?)"),
        ("maxTrialNum=0", "--set maxTrialNum: maxTrialNumber: given 0; expected a whole number of at least 1"),
        ("tuner.classArgs.sed=3", "(did you mean seed?)"),
        ("tuner.classArgs.seed=x", "--set tuner.classArgs.seed: tuner.classArgs.seed: given 'x'; expected a whole"),
        ("tuner.seed=3", "(did you mean tuner.classArgs.seed?)"),
        ("tuner=Random", "--set tuner: tuner: given 'Random'; expected a table (write it as a table with name: below)"),
        ("searchSpace.lr._value=[1, 0]", "--set searchSpace.lr._value"),
        ("maxTrialNumber=[1", "--set maxTrialNumber: "),
        ("maxTrialNumber", "--set: given 'maxTrialNumber'; expected key=value"),
        ("=3", "--set: given '=3'; expected key=value"),
        ("tuner..name=3", "expected key=value"),
        ("tuner.classArgs={seed: 1, seed: 2}", "--set tuner.classArgs: seed: given the same key twice"),
    ],
)
def test_problems_point_at_the_override(write: Write, assignment: str, message: str) -> None:
    assert message in failure(write, V2_YAML, assignment)
