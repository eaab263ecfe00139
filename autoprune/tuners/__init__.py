"""Tuners: each file here proposes the parameters of the next trial from the results of the earlier ones."""

from autoprune.registry import Registry
from autoprune.tuners._flat import check_space, make_tuner
from autoprune.tuners.base import Tuner, TunerArgs

tuners: Registry[Tuner] = Registry("autoprune.tuners", Tuner, "tuner")  # type: ignore[type-abstract]

__all__ = ["Tuner", "TunerArgs", "check_space", "make_tuner", "tuners"]
