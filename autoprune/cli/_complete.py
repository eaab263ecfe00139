"""What a shell offers for an argument: the experiments of the workspace, and the trials of one.

A workspace that is not there or cannot be read has nothing to offer: a shell that completes has no place for errors.
"""

from __future__ import annotations

from contextlib import suppress

import click
from click.shell_completion import CompletionItem


def experiments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids that begin so, the newest first, with their names."""
    from autoprune.cli._common import opened
    from autoprune.errors import AutopruneError
    from autoprune.store import experiments

    with suppress(AutopruneError, OSError), opened(ctx.params.get("workspace")) as (_, store), store.read() as tx:
        found = experiments.newest_first(tx)
        return [CompletionItem(one.id, help=one.name) for one in found if one.id.startswith(incomplete)]
    return []


def trials(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers that begin so, of the experiment given before or the newest, with the states of their trials."""
    from autoprune.cli._common import opened
    from autoprune.errors import AutopruneError
    from autoprune.store import experiments, trials

    with suppress(AutopruneError, OSError), opened(ctx.params.get("workspace")) as (_, store), store.read() as tx:
        found = trials.all(tx, experiments.resolve(tx, ctx.params.get("id")))
        return [
            CompletionItem(str(one.number), help=one.state) for one in found if str(one.number).startswith(incomplete)
        ]
    return []
