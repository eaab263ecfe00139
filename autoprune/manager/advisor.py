"""The tuner and the assessor with what they know: the inside of the advisor process.

Messages are JSON objects. `start` comes first; `created`, `reported` and `finished` say what happened, in order, and
have no answer; `ask` and `judge` have an `id`, and are answered under it. Nothing here is remembered that the store
does not have, so a new process that is told the same history gives the same answers.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autoprune.assessors import Assessor, Curve, assessors
from autoprune.config import ExperimentConfig
from autoprune.config.model import DEFAULT_TUNER
from autoprune.manager.constraints import Penalty
from autoprune.records import JSON, History, Trial, TrialState
from autoprune.tuners import Tuner, make_tuner, tuners
from autoprune.tuners._custom import load_custom

Message = dict[str, Any]


class Advisor:
    """Answers messages; see the module's docstring for them."""

    def __init__(self, start: Message) -> None:
        config = ExperimentConfig.from_json(start["config"])
        self._tuner = _tuner(config, start["seed"])
        self._assessor = _assessor(config)
        self._penalty = Penalty(config)
        self._finished: list[Trial] = []
        self._running: dict[int, Trial] = {}
        self._curves: dict[int, list[float]] = {}
        self._completed: set[int] = set()

    def handle(self, message: Message) -> Message | None:
        """The answer, where the message has one."""
        match message["do"]:
            case "created":
                trial = trial_from_json(message["trial"])
                self._running[trial.number] = trial
            case "reported":
                self._reported(message["number"], message["values"], restart=message["restart"])
            case "finished":
                self._finish(trial_from_json(message["trial"]))
            case "ask":
                return {"id": message["id"], "proposal": self._ask(message["number"])}
            case "judge":
                return {"id": message["id"], **self._judge(message["number"])}
        return None

    def _reported(self, number: int, values: list[float], *, restart: bool) -> None:
        """More of a trial's curve; a new attempt begins it again."""
        if restart:
            self._curves[number] = []
        self._curves.setdefault(number, []).extend(values)

    def _finish(self, trial: Trial) -> None:
        self._running.pop(trial.number, None)
        self._finished.append(self._penalty.heard(trial))
        if trial.state is TrialState.SUCCEEDED:
            self._completed.add(trial.number)

    def _ask(self, number: int) -> JSON:
        history = History(self._finished, [self._running[key] for key in sorted(self._running)])
        proposal = self._tuner.ask(number, history)
        return None if proposal is None else asdict(proposal)

    def _judge(self, number: int) -> Message:
        if self._assessor is None:
            return {"stop": False, "reason": ""}
        others = [self._curve(other) for other in sorted(self._curves) if other != number]
        return asdict(self._assessor.judge(self._curve(number), others))

    def _curve(self, number: int) -> Curve:
        return Curve(number, tuple(self._curves.get(number, ())), number in self._completed)


def trial_from_json(fields: JSON) -> Trial:
    return Trial(**{**fields, "state": TrialState(fields["state"])})


def _tuner(config: ExperimentConfig, seed: int) -> Tuner:
    tuner = config.tuner
    if tuner.class_name is not None:
        return load_custom(
            tuner.class_name,
            tuner.code_directory,
            tuner.class_args,
            config.space,
            config.search_space,
            config.optimize_mode,
            seed,
        )
    plugin = tuners.get(tuner.name or DEFAULT_TUNER)
    known = {"scaled": True} if config.budget and "scaled" in plugin.Args.model_fields else {}
    return make_tuner(plugin, config.space, plugin.Args.model_validate({**known, **tuner.class_args}), seed)


def _assessor(config: ExperimentConfig) -> Assessor | None:
    if config.assessor is None:
        return None
    plugin = assessors.get(config.assessor.name)
    return plugin(plugin.Args.model_validate(config.assessor.class_args))
