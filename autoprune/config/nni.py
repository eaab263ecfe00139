"""What NNI's files may say that autoprune does not do: the tables of what is passed over and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoprune.records import JSON

_ELSEWHERE = "it belongs to another platform"
_OWN_LOGS = "autoprune sets its own logs up"
_ALONE = "nothing has to reach the manager over a network"

IGNORED: Mapping[str, str] = {
    "authorName": "experiments have no author",
    "description": "experiments go by their name",
    "debug": _OWN_LOGS,
    "logLevel": _OWN_LOGS,
    "logCollection": _OWN_LOGS,
    "nniManagerIp": _ALONE,
    "versionCheck": "trials import the autoprune that is installed",
    "multiThread": "the tuner answers one request at a time",
    "tunerGpuIndices": "tuners run on the CPU",
    "tuner.gpuIndices": "tuners run on the CPU",
    "tuner.includeIntermediateResults": "tuners get the last result of a trial that was stopped early",
    "assessor.gpuIndices": "assessors run on the CPU",
    "trainingService.reuseMode": _ELSEWHERE,
    "trainingService.machineList": _ELSEWHERE,
    "machineList": _ELSEWHERE,
    "remoteConfig": _ELSEWHERE,
    "paiConfig": _ELSEWHERE,
    "paiYarnConfig": _ELSEWHERE,
    "kubeflowConfig": _ELSEWHERE,
    "frameworkcontrollerConfig": _ELSEWHERE,
    "amlConfig": _ELSEWHERE,
    "dltsConfig": _ELSEWHERE,
    "hybridConfig": _ELSEWHERE,
    "trial.cpuNum": _ELSEWHERE,
    "trial.memoryMB": _ELSEWHERE,
    "trial.image": _ELSEWHERE,
    "trial.virtualCluster": _ELSEWHERE,
}
"""Fields that are read, mentioned once, and change nothing; with the reason."""


@dataclass(frozen=True)
class Refusal:
    """A field that cannot be honoured unless it says one of `harmless`."""

    harmless: tuple[JSON, ...]
    expected: str
    remedy: str


_PLUG_IN = Refusal((), "the name of an assessor", "bring your own in the entry point group autoprune.assessors")

REFUSED: Mapping[str, Refusal] = {
    "useAnnotation": Refusal(
        (False,), "false", "write a search space, and read it in the trial with autoprune.get_parameters()"
    ),
    "multiPhase": Refusal((False,), "false", "a trial gets its parameters once"),
    "experimentType": Refusal(("hpo",), "hpo", "autoprune searches parameters, not architectures"),
    "trial.nasMode": Refusal((), "no nasMode", "autoprune searches parameters, not architectures"),
    "advisor": Refusal((), "no advisor", "use tuner TPE, with assessor Hyperband to stop trials early"),
    "sharedStorage": Refusal((), "no shared storage", "trials run on this machine and use its folders"),
    "assessor.className": _PLUG_IN,
    "assessor.classFileName": _PLUG_IN,
    "assessor.codeDirectory": _PLUG_IN,
    "assessor.codeDir": _PLUG_IN,
}

_CLUSTER = "autoprune has no such platform; use local"
PLATFORMS: Mapping[str, str] = {
    "remote": "machines beyond this one are reached with ray, which this version lacks; use local",
    "ray": "this version lacks ray; use local",
    **dict.fromkeys(
        ("pai", "paiyarn", "openpai", "kubeflow", "frameworkcontroller", "aml", "adl", "dlc", "dlts", "hybrid"),
        _CLUSTER,
    ),
}
"""Platforms of NNI, folded, with what to do instead."""

_TPE = "use TPE"
_TPE_STOPPED = "use TPE with assessor Medianstop"
TUNERS: Mapping[str, str] = {
    "bohb": "use TPE with assessor Hyperband",
    "pbt": _TPE_STOPPED,
    "pbttuner": _TPE_STOPPED,
    "hyperband": "use Random with assessor Hyperband",
    "smac": _TPE,
    "metis": _TPE,
    "metistuner": _TPE,
    "dngo": _TPE,
    "ppo": _TPE,
    "ppotuner": _TPE,
    "networkmorphism": "autoprune searches parameters, not architectures; use TPE",
}
"""Tuners of NNI that autoprune will not have, folded, with what to use instead."""
