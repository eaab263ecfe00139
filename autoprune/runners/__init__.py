"""Runners: each file here is one way to start trials, to learn how they ended, and to kill them."""

from autoprune.registry import Registry
from autoprune.runners._command import missing_script
from autoprune.runners.base import Ended, Options, Runner

runners: Registry[Runner] = Registry("autoprune.runners", Runner, "training service")  # type: ignore[type-abstract]

__all__ = ["Ended", "Options", "Runner", "missing_script", "runners"]
