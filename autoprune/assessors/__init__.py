"""Assessors: each file here decides, from intermediate results, which running trials to stop early."""

from autoprune.assessors.base import Assessor, AssessorArgs, Curve
from autoprune.registry import Registry

assessors: Registry[Assessor] = Registry("autoprune.assessors", Assessor, "assessor")  # type: ignore[type-abstract]

__all__ = ["Assessor", "AssessorArgs", "Curve", "assessors"]
