"""What an experiment with a task is set to: its budget, and what is searched; and the bounds of any result."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from autoprune import latency
from autoprune.config.values import Flag, Section, Text, refuse
from autoprune.records import JSON

_UNITS: Mapping[str, float] = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
_AMOUNT = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?([kMG]?)B?")


def _amount(value: JSON) -> JSON:
    """A share of what the dense model has, or so many; as text with a unit, too."""
    if isinstance(value, str) and (match := _AMOUNT.fullmatch(value)):
        value = float(match[1]) * _UNITS[match[2]]
    return _ratio_or(value, "a share between 0 and 1, or an amount such as 250000, 250k or 1.5M")


def _time(value: JSON) -> JSON:
    """A share of what the dense model takes, or a time with its unit."""
    if isinstance(value, str) and latency.milliseconds(value) > 0:
        return value.replace(" ", "")
    expected = "a share between 0 and 1, or a time such as 5ms"
    if isinstance(value, str) or (isinstance(value, int | float) and value >= 1):
        raise refuse(expected)
    return _ratio_or(value, expected)


def _ratio_or(value: JSON, expected: str) -> float:
    given = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < given < math.inf or 1 <= given != int(given):
        raise refuse(expected)
    return given


_AMOUNT_SCHEMA = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": f"^({_AMOUNT.pattern})$"}]
}
_TIME_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "string", "pattern": f"^({latency.TIME.pattern})$"},
    ]
}
Amount = Annotated[float, BeforeValidator(_amount), WithJsonSchema(_AMOUNT_SCHEMA)]
TimeOrShare = Annotated[float | str, BeforeValidator(_time), WithJsonSchema(_TIME_SCHEMA)]


class BudgetConfig(Section):
    """Exactly one of these. Below 1, all but sparsity are shares of what the dense model has."""

    sparsity: float | None = Field(
        default=None, gt=0, lt=1, description="The share of the weights of the searched layers that goes."
    )
    parameters: Amount | None = Field(default=None, description="At most so many parameters that are not zero.")
    macs: Amount | None = Field(default=None, description="At most so many multiply-accumulates of one example.")
    size: Amount | None = Field(default=None, description="At most so many bytes of weights.")
    latency: TimeOrShare | None = Field(
        default=None, description="At most such a time of one example, measured, within 5 %."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(amount is not None for _, amount in self) != 1:
            raise refuse("exactly one of sparsity, parameters, macs, size and latency")
        return self

    @property
    def bounds(self) -> dict[str, Bounds]:
        """What the final result of a trial has to keep within, since a plan alone does not warrant it."""
        if self.latency is None:
            return {}
        reported, highest = latency.highest(self.latency)
        return {reported: Bounds(max=highest)}


class SearchConfig(Section):
    """What is searched of a task's model."""

    pruners: list[Text] | None = Field(
        default=None,
        min_length=1,
        description="Pruners to choose from, such as level, fisher, l1 or fpgm; if not given, gradual and level, or l1 "
        "for a budget that only filters change.",
    )
    granularity: Literal["layer", "block", "stage"] = Field(
        default="layer", description="What has a sparsity of its own: a layer, a block, or all blocks of a stage."
    )
    epochs: int = Field(default=1, ge=1, description="Epochs that each trial trains for after pruning.")
    final_epochs: int | None = Field(
        default=None,
        ge=0,
        description="Epochs that the best trial trains for at the end; by default as many as epochs.",
    )
    heuristics: Flag = Field(
        default=True,
        description="Whether the allocations of uniform, ERK, LAMP, global ranking and the scan run first.",
    )
    scan: Flag = Field(default=True, description="Whether the sensitivity of each layer is measured before the search.")
    leaders: int = Field(default=3, ge=1, description="So many of the best allocations run again, with fresh seeds.")
    repeats: int = Field(default=2, ge=0, description="How often each of the leaders runs again.")


class Bounds(BaseModel):
    """What a number of the final result must keep within."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    min: float | None = Field(default=None, description="At least this.")
    max: float | None = Field(default=None, description="At most this.")

    @model_validator(mode="after")
    def _some_and_in_order(self) -> Self:
        low, high = self.min, self.max
        if (low is None and high is None) or (low is not None and high is not None and low > high):
            raise refuse("min, max, or both, min not above max")
        return self
