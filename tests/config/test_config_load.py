"""Files in v1 and v2 spelling become the same configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from config_examples import SEED_SPACE, SEED_YAML, V2_YAML, Write

from autoprune.config import AssessorConfig, ExperimentConfig, TrainingServiceConfig, TunerConfig, load
from autoprune.config.nni import IGNORED, PLATFORMS, REFUSED, TUNERS
from autoprune.config.translate import leaves
from autoprune.document import parse, plain
from autoprune.errors import ConfigError
from autoprune.records import OptimizeMode
from autoprune.tuners import tuners

COMPLETE = """\
experimentName: complete
searchSpaceFile: search_space.json
trialCommand: python trial.py
trialCodeDirectory: code
trialConcurrency: 3
trialGpuNumber: 2
maxTrialNumber: 40
maxExperimentDuration: 2d
maxTrialDuration: 0.5h
maxTrialRetries: 1
tuner:
  name: random
  classArgs: {optimize_mode: minimize, seed: 7}
assessor:
  name: medianstop
trainingService:
  platform: debug
  useActiveGpu: yes
  maxTrialNumberPerGpu: 2
experimentWorkingDirectory: ../runs
tunerTimeout: 45
"""
COMPLETE_V1 = """\
experimentName: complete
searchSpacePath: search_space.json
trialConcurrency: 3
maxTrialNum: 40
maxExecDuration: 2d
maxTrialDuration: 30m
maxTrialRetries: 1
tuner:
  builtinTunerName: Random
  classArgs: {optimize_mode: minimize, seed: 7}
assessor: {builtinAssessorName: Medianstop}
trainingServicePlatform: debug
localConfig: {useActiveGpu: true, maxTrialNumPerGpu: 2}
trial: {command: python trial.py, codeDir: ./code, gpuNum: 2}
logDir: ../runs
tunerTimeout: 45s
"""


def failure(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_seed_as_printed(write: Write) -> None:
    loaded = load(write(SEED_YAML))
    config = loaded.config
    assert config == ExperimentConfig(
        experiment_name="Auto_Compression",
        search_space=plain(parse(SEED_SPACE, "", json=True)[0]),
        trial_command="bash run_prune.sh",
        trial_code_directory=Path.cwd(),
        trial_concurrency=2,
        trial_gpu_number=1,
        max_trial_number=500,
        max_experiment_duration=360_000.0,
        tuner=TunerConfig(name="TPE", class_args={"optimize_mode": "maximize"}),
    )
    assert next(path for path, _ in config.space.dimensions()) == "prune_method"
    assert loaded.source == "config.yml"
    assert loaded.notes == ("config.yml:1:1: authorName is not used: experiments have no author",)


@pytest.mark.parametrize("text", [COMPLETE, COMPLETE_V1])
def test_every_field_in_both_spellings(write: Write, text: str) -> None:
    path = write(text)
    Path("code").mkdir()
    Path("trial.py").rename("code/trial.py")
    config = load(path).config
    assert config == ExperimentConfig(
        experiment_name="complete",
        search_space=plain(parse(SEED_SPACE, "", json=True)[0]),
        trial_command="python trial.py",
        trial_code_directory=Path.cwd() / "code",
        trial_concurrency=3,
        trial_gpu_number=2,
        max_trial_number=40,
        max_experiment_duration=172_800.0,
        max_trial_duration=1_800.0,
        max_trial_retries=1,
        tuner=TunerConfig(name="Random", class_args={"optimize_mode": "minimize", "seed": 7}),
        assessor=AssessorConfig(name="Medianstop", class_args={"optimize_mode": "minimize"}),
        training_service=TrainingServiceConfig(platform="debug", use_active_gpu=True, max_trial_number_per_gpu=2),
        experiment_working_directory=Path.cwd().parent / "runs",
        tuner_timeout=45.0,
    )
    assert config.optimize_mode is OptimizeMode.MINIMIZE
    assert config.seed == 7


def test_a_small_file_gets_the_defaults(write: Write) -> None:
    config = load(write(V2_YAML)).config
    assert config.experiment_name == "study"
    assert config.tuner == TunerConfig(name="TPE")
    assert (config.trial_concurrency, config.trial_gpu_number, config.max_trial_retries) == (1, 0, 0)
    assert (config.max_trial_number, config.max_experiment_duration, config.assessor) == (None, None, None)
    assert config.tuner_timeout == 120
    assert config.trial_code_directory == Path.cwd()
    assert config.optimize_mode is OptimizeMode.MAXIMIZE
    assert config.seed is None
    assert plain(parse("{lr: {_type: loguniform, _value: [1e-4, 1e-1]}}", "")[0]) == config.search_space


def test_keys_ignore_case_and_underscores_and_null_is_unset(write: Write) -> None:
    text = V2_YAML.replace("trialCommand", "trial_command") + "MAXTRIALNUMBER: 4\ntuner: null\nassessor:\nlogDir: ~\n"
    config = load(write(text)).config
    assert config.trial_command == "python trial.py"
    assert config.max_trial_number == 4
    assert config.tuner.name == "TPE"
    assert config.experiment_working_directory is None


def test_spellings_may_be_mixed_but_not_doubled(write: Write) -> None:
    assert load(write(V2_YAML + "maxTrialNum: 4\n")).config.max_trial_number == 4
    message = failure(write(V2_YAML + "maxTrialNum: 4\nmax_trial_number: 5\n"))
    assert message.startswith("config.yml:5:1: max_trial_number: given it and maxTrialNum")
    assert "line 4" in message


def test_paths_start_from_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(SEED_YAML)
    monkeypatch.chdir(tmp_path)
    config = load("study/config.yml").config
    assert config.trial_code_directory == tmp_path / "study"
    Path("study/search_space.json").write_text('{"x": {"_type": "unifrom", "_value": [0, 1]}}', encoding="utf-8")
    assert failure(Path("study/config.yml")).startswith("study/search_space.json:1:17: ")


def test_home_is_expanded(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load(write(V2_YAML + "trialCodeDirectory: ~/study\nexperimentWorkingDirectory: ~/runs\n")).config
    assert config.trial_code_directory == tmp_path / "study"
    assert config.experiment_working_directory == tmp_path / "runs"


def test_a_space_in_yaml(write: Write) -> None:
    path = write("searchSpaceFile: space.yml\ntrialCommand: x\n", space=None)
    Path("space.yml").write_text("x: {_type: uniform, _value: [0, 1]}\n", encoding="utf-8")
    assert load(path).config.search_space == {"x": {"_type": "uniform", "_value": [0, 1]}}


def test_json_round_trip(write: Write) -> None:
    path = write(COMPLETE)
    Path("code").mkdir()
    Path("trial.py").rename("code/trial.py")
    config = load(path).config
    data = config.to_json()
    assert data["tuner"]["classArgs"] == {"optimize_mode": "minimize", "seed": 7}
    assert data["maxExperimentDuration"] == 172_800.0
    Path("code").rename("elsewhere")
    again = ExperimentConfig.from_json(data)
    assert again == config
    assert again.space.members.keys() == {"prune_method"}


def test_a_stored_configuration_that_does_not_fit(write: Write) -> None:
    data = load(write(V2_YAML)).config.to_json() | {"trialConcurrency": 0, "trialConcurency": 1}
    with pytest.raises(ConfigError, match="stored configuration: trialConcurrency: given 0; expected a whole number"):
        ExperimentConfig.from_json(data)


def test_a_configuration_is_frozen(write: Write) -> None:
    config = load(write(V2_YAML)).config
    with pytest.raises(ValueError, match="frozen"):
        setattr(config, "trial_concurrency", 2)  # noqa: B010
    assert config.space is config.space


OWN = V2_YAML + "tuner:\n  className: mine.Mine\n  codeDirectory: .\n  classArgs: {any: [1], seed: 3}\n"
OWN_V1 = (
    V2_YAML + "tuner:\n  className: Mine\n  classFileName: mine.py\n  codeDir: .\n  classArgs: {any: [1], seed: 3}\n"
)


@pytest.mark.parametrize("text", [OWN, OWN_V1])
def test_a_tuner_of_ones_own(write: Write, text: str) -> None:
    path = write(text)
    assert "mine.py in codeDirectory" in failure(path)
    Path("mine.py").touch()
    tuner = load(path).config.tuner
    expected = TunerConfig(class_name="mine.Mine", code_directory=Path.cwd(), class_args={"any": [1], "seed": 3})
    assert tuner == expected
    assert tuner.seed == 3


def test_an_installed_class_needs_no_folder(write: Write) -> None:
    config = load(write(V2_YAML + "tuner: {className: optuna.samplers.GPSampler}\n")).config
    assert config.tuner.class_name == "optuna.samplers.GPSampler"
    assert config.tuner.code_directory is None


def test_a_tuner_says_which_spaces_it_cannot_search(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuners.get("Random"), "check", classmethod(lambda cls, space, args: "it will not"))
    message = failure(write(V2_YAML + "tuner: {name: Random}\n"))
    assert message.startswith("config.yml:4:15: tuner.name: given 'Random'")
    assert "it will not" in message


@pytest.mark.parametrize(
    ("name", "value"), [("no", False), ("Off", False), ("false", False), ("yes", True), ("on", True)]
)
def test_words_for_flags(write: Write, name: str, value: bool) -> None:
    text = V2_YAML + f"trainingService: {{useActiveGpu: {name}}}\n"
    assert load(write(text)).config.training_service.use_active_gpu is value


@pytest.mark.parametrize(("text", "indices"), [("3", (3,)), ("[0, 1]", (0, 1)), ("'0, 2'", (0, 2))])
def test_gpu_indices(write: Write, text: str, indices: tuple[int, ...]) -> None:
    path = write(V2_YAML + f"trainingService: {{gpuIndices: {text}}}\n")
    loaded = load(path)
    assert loaded.config.training_service.gpu_indices == indices
    assert loaded.notes == ("config.yml:4:19: trainingService.gpuIndices is not used: trials ask for no GPU",)
    assert load(path, ["trialGpuNumber=1"]).notes == ()


@pytest.mark.parametrize(("gpus", "noted"), [("", True), ("trialGpuNumber: 0\n", True), ("trialGpuNumber: 1\n", False)])
@pytest.mark.parametrize("field", ["useActiveGpu: true", "maxTrialNumberPerGpu: 2", "gpuIndices: 0"])
def test_gpu_fields_without_gpus_are_mentioned(write: Write, field: str, gpus: str, noted: bool) -> None:
    notes = load(write(V2_YAML + gpus + f"trainingService: {{{field}}}\n")).notes
    assert [note.endswith("is not used: trials ask for no GPU") for note in notes] == [True] * noted


def _nested(path: str, value: Any) -> str:
    *sections, name = path.split(".")
    head = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    return f"{V2_YAML}{head}{'  ' * len(sections)}{name}: {value}\n"


@pytest.mark.parametrize("path", IGNORED)
def test_what_is_not_used_is_mentioned_once(write: Write, path: str) -> None:
    notes = load(write(_nested(path, "anything"))).notes
    assert len(notes) == 1
    assert f" {path} is not used: {IGNORED[path]}" in notes[0]


@pytest.mark.parametrize("path", REFUSED)
def test_what_cannot_be_honoured_is_refused(write: Write, path: str) -> None:
    refusal = REFUSED[path]
    message = failure(write(_nested(path, "anything")))
    assert f"{path}: given 'anything'; expected {refusal.expected} ({refusal.remedy})" in message
    for harmless in refusal.harmless:
        assert load(write(_nested(path, harmless))).notes == ()


@pytest.mark.parametrize("name", TUNERS)
def test_tuners_that_will_not_come_name_another(write: Write, name: str) -> None:
    message = failure(write(V2_YAML + f"tuner: {{name: {name.upper()}}}\n"))
    assert f"({TUNERS[name]})" in message
    used = TUNERS[name].partition("use ")[2].split()[0]
    assert tuners.get(used).name == used


@pytest.mark.parametrize("name", PLATFORMS)
def test_platforms_name_what_to_do(write: Write, name: str) -> None:
    message = failure(write(V2_YAML + f"trainingServicePlatform: {name}\n"))
    assert message.endswith(f"given {name!r}; expected one of debug, local ({PLATFORMS[name]})")
    assert "ray" in PLATFORMS["remote"]


def test_every_v1_spelling_is_read(write: Write) -> None:
    spelled = {old for _, old in leaves() if old}
    for old in spelled:
        assert "unknown" not in str(_errors(write(_nested(old, "anything"))))


def _errors(path: Path) -> ConfigError | None:
    try:
        load(path)
    except ConfigError as error:
        return error
    return None


def test_importing_is_quick_and_light() -> None:
    heavy = "{'torch', 'optuna', 'hyperopt', 'numpy', 'sqlalchemy'}"
    code = f"import sys, autoprune.config; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("section", "given", "name"),
    [("tuner", "GPTuner", "GP"), ("tuner", "tpe_tuner", "TPE"), ("assessor", "Threshold_Assessor", "Threshold")],
)
def test_the_word_at_the_end_of_a_name_is_optional(write: Write, section: str, given: str, name: str) -> None:
    arguments = {"tuner": "{}", "assessor": "{lower: 0.1}"}[section]
    text = (
        f"searchSpaceFile: search_space.json\ntrialCommand: x\n{section}: {{name: {given}, classArgs: {arguments}}}\n"
    )
    assert getattr(load(write(text)).config, section).name == name


def test_the_seed_is_one_that_the_store_can_hold(write: Write) -> None:
    text = "searchSpaceFile: search_space.json\ntrialCommand: x\ntuner: {name: Random, classArgs: {seed: %d}}\n"
    assert load(write(text % (2**63 - 1))).config.seed == 2**63 - 1
    with pytest.raises(ConfigError, match=r"config.yml:3:.*seed"):
        load(write(text % 2**63))
