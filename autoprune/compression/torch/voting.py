"""How a pruner's masks come to a model: what it chose and what follows in other layers, all of it or nothing.

What follows is part of the vote, so it is kept, copied and given back with it. The next choice goes by what was chosen
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from autoprune.compression.torch import masking
from autoprune.compression.torch.layers import holders
from autoprune.compression.torch.masking import Masked, Request, Vote

Keeps: TypeAlias = dict[int, Tensor]
"""What is kept of parameters, by their identity."""


@dataclass(frozen=True)
class Extended(Vote):
    """A vote with what follows from others: `chosen` is what the pruner chose to keep itself, if it chose here."""

    chosen: Tensor | None = None


def chosen(held: Masked, owner: str) -> Tensor | None:
    """What `owner` chose to keep, without what follows from other layers; None where it chose nothing."""
    vote = held.votes.get(owner)
    keep = vote.chosen if isinstance(vote, Extended) else None if vote is None else vote.keep
    return None if keep is None else keep.to(held.parameter.device)


def extended(
    model: nn.Module, owner: str, votes: Mapping[int, Vote], complete: Callable[[Keeps], Keeps], request: Request
) -> dict[int, Vote]:
    """These votes with all that follows from them; what followed before still does where no choice was taken back."""
    before = _of(model, owner)
    choices = {number: keep for number, held in before.items() if (keep := chosen(held, owner)) is not None}
    asked = {number: before[number].votes[owner].request for number in choices}
    asked |= {number: vote.request for number, vote in votes.items()}
    now = choices | {number: vote.keep for number, vote in votes.items()}
    keeps = complete(now)
    if not any(bool((now[number] & ~keep).any()) for number, keep in choices.items()):
        for number, held in before.items():
            earlier = held.votes[owner].keep.to(held.parameter.device)
            keeps[number] = keeps[number] & earlier if number in keeps else earlier
    grows = any(vote.grows for vote in votes.values())
    return {
        number: Extended(keep, asked.get(number, request), grows, _by_filter(now.get(number)))
        for number, keep in keeps.items()
    }


def _by_filter(keep: Tensor | None) -> Tensor | None:
    """The same in little memory where whole filters are kept or not."""
    if keep is None or keep.dim() < 2 or not keep.numel():
        return keep
    first = keep.flatten(1)[:, 0].clone().view(-1, *[1] * (keep.dim() - 1)).expand_as(keep)
    return first if torch.equal(first, keep) else keep


def cast(model: nn.Module, owner: str, votes: Mapping[int, Vote]) -> None:
    """Give all these votes, or none of them; what only followed from earlier ones is withdrawn."""
    sharing = holders(model)
    before: list[tuple[Masked, Vote | None]] = []
    try:
        for number, vote in votes.items():
            held, *_ = [masking.attach(module, name) for module, name in sharing[number]]
            before.append((held, held.votes.get(owner)))
            held.set_vote(owner, vote)
        for number, held in _of(model, owner).items():
            if number not in votes and chosen(held, owner) is None:
                before.append((held, held.votes[owner]))
                held.drop_vote(owner, keep_zeros=False)
    except BaseException:
        for held, earlier in reversed(before):
            with suppress(RuntimeError):
                held.put_back(owner, earlier)
        masking.tidy(model)
        raise
    masking.tidy(model)


@contextmanager
def all_or_nothing(model: nn.Module, owner: str) -> Iterator[None]:
    """After an error inside, however often votes were cast there, this pruner's are what they were."""
    before = [
        (module, name, held.votes[owner]) for module, name, held in masking.all_masked(model) if owner in held.votes
    ]
    try:
        yield
    except BaseException:
        earlier = {id(module.get_parameter(name)) for module, name, _ in before}
        for number, held in _of(model, owner).items():
            if number not in earlier:
                held.drop_vote(owner, keep_zeros=False)
        for module, name, vote in before:
            held = masking.attach(module, name)
            if held.votes.get(owner) is not vote:
                held.set_vote(owner, vote)
        masking.tidy(model)
        raise


def _of(model: nn.Module, owner: str) -> dict[int, Masked]:
    """What this pruner masks, by the identity of the parameter."""
    return {id(held.parameter): held for _, _, held in masking.all_masked(model) if owner in held.votes}
