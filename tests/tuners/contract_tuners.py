"""The user's classes that the contract is tried on, besides every tuner that has a name."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from autoprune.records import History, Proposal
from autoprune.search_space import sample
from autoprune.tuners import Tuner, TunerArgs


def draw(definition: Any) -> Any:
    """A value, drawn from the global generators that user code draws from."""
    kind, value = definition["_type"], definition["_value"]
    if kind == "choice":
        option = value[np.random.randint(len(value))]
        if not isinstance(option, dict):
            return option
        if "_type" in option:
            return draw(option)
        return {key: inner if key == "_name" else draw(inner) for key, inner in option.items()}
    if kind == "randint":
        return np.random.randint(*value)
    return median(kind, value) if kind != "uniform" else random.uniform(*value)


def median(kind: str, value: Any) -> float:
    return {
        "quniform": lambda: float(value[0]),
        "loguniform": lambda: float(value[0]),
        "qloguniform": lambda: float(value[0]),
        "normal": lambda: random.gauss(*value),
        "qnormal": lambda: 0.0,
        "lognormal": lambda: np.random.lognormal(*value),
        "qlognormal": lambda: value[2],
    }[kind]()


class NNIStyle:
    """Keeps what it has seen, and mostly repeats the best of it with one change."""

    def __init__(self, optimize_mode: str, repeat: float = 0.5) -> None:
        self.sign = 1 if optimize_mode == "maximize" else -1
        self.repeat = repeat
        self.seen: list[tuple[float, Any]] = []
        self.ended = 0

    def update_search_space(self, search_space: Any) -> None:
        self.space = search_space

    def generate_parameters(self, parameter_id: int, **kwargs: Any) -> dict[str, Any]:
        drawn = {key: draw(definition) for key, definition in self.space.items()}
        if self.seen and random.random() < self.repeat:
            kept = max(self.seen, key=lambda pair: pair[0])[1]
            key = sorted(drawn)[(len(self.seen) + self.ended) % len(drawn)]
            return {**kept, key: drawn[key]}
        return drawn

    def receive_trial_result(self, parameter_id: int, parameters: Any, value: float, **kwargs: Any) -> None:
        self.seen.append((self.sign * value + random.random() * 1e-9, parameters))

    def trial_end(self, parameter_id: int, success: bool, **kwargs: Any) -> None:
        self.ended += success

    def import_data(self, data: Any) -> None:
        self.seen += [(self.sign * item["value"], item["parameter"]) for item in data]


class Bare:
    """As little as NNI's users get away with."""

    def update_search_space(self, search_space: Any) -> None:
        self.space = search_space

    def generate_parameters(self, parameter_id: int) -> Any:
        return {key: draw(definition) for key, definition in self.space.items()}


class OwnArgs(TunerArgs):
    offset: int = 0


class Own(Tuner):
    """A subclass that was never registered."""

    name = "Own"
    Args = OwnArgs

    def ask(self, number: int, history: History) -> Proposal:
        return Proposal(sample(self.space, random.Random(self.seed_for(number) + self.args.offset)))  # type: ignore[attr-defined]
