"""`autoprune doctor`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, json_option, print_json, workspace_option

if TYPE_CHECKING:
    from autoprune.cli._checks import Finding, Level

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(
    epilog=examples("autoprune doctor", "autoprune doctor --json | jq '.checks[] | select(.level != \"ok\")'")
)
@json_option
@workspace_option
def command(as_json: bool, workspace: Path | None) -> int:
    """Look at this machine, this installation and the workspace, and say what is not as it should be.

    Exits with 0 when there is no problem, else with 1; warnings are no problems.
    """
    from autoprune.cli._checks import Level, findings

    found = []
    for finding in findings(workspace):
        found.append(finding)
        if not as_json:
            _show(finding)
    counts = {level: sum(finding.level is level for finding in found) for level in Level}
    if as_json:
        print_json({"ok": not counts[Level.PROBLEM], "checks": [finding.to_json() for finding in found]})
    else:
        click.echo(f"\n{', '.join(_counted(counts[level], level) for level in (Level.PROBLEM, Level.WARNING))}")
    return 1 if counts[Level.PROBLEM] else 0


def _counted(count: int, level: Level) -> str:
    return f"{count} {level}{'' if count == 1 else 's'}"


def _show(finding: Finding) -> None:
    """Its level, in colour on a terminal; the check; what was found; and below that what to do."""
    colourful = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    level = click.style(f"{finding.level:<7}", fg=_COLOURS[finding.level] if colourful else None)
    click.echo(f"{level}  {finding.check:<12}  {finding.found}")
    if finding.remedy:
        click.echo(f"{'':<7}  {'':<12}  {finding.remedy}")
