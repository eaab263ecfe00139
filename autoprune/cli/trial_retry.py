"""`autoprune trial retry`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._change import change
from autoprune.cli._common import examples, experiment_option, number_argument, opened, workspace_option


@click.command(epilog=examples("autoprune trial retry 3", "autoprune trial retry 3 -e digits-261121-k3fq"))
@number_argument
@experiment_option
@workspace_option
def command(number: int, id: str | None, workspace: Path | None) -> int:
    """Run trial NUMBER once more, with the same parameters, as its next attempt.

    It must have ended without success: FAILED, INVALID, EARLY_STOPPED or USER_CANCELED. It counts against neither
    maxTrialNumber nor maxTrialRetries. Where the experiment does not run, `autoprune resume ID` runs the trial.
    """
    with opened(workspace) as (place, store):
        change(place, store, id, "retry", {"trial": number}, lambda id, _: f"trial {number} of {id} runs again")
    return 0
