"""Failures of the user's own code: shown with their traceback, as running the file would show them."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch

from autoprune.compression.core.errors import shown
from autoprune.errors import AutopruneError

_OTHERS = (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent), "<frozen importlib")


class Failure(AutopruneError):
    """The user's code raised something; `__cause__` is what."""


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """What is raised inside is the user's, but for errors that say themselves what to do."""
    try:
        yield
    except AutopruneError:
        raise
    except SystemExit as error:
        raise Failure(f"{what} ended the program (exit code {shown(error.code)}); expected it to return") from None
    except Exception as error:
        raise Failure(f"{what} failed ({said(error)})") from error


def said(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def show(error: BaseException) -> None:
    """The traceback of what was raised, from the user's first line on."""
    cause = error.__cause__ if isinstance(error, Failure) else error
    if cause is not None:
        whole = None if isinstance(cause, SyntaxError) else cause.__traceback__
        trace = _from_users(cause.__traceback__) or whole
        print("".join(traceback.format_exception(type(cause), cause, trace)), end="", file=sys.stderr, flush=True)


def _from_users(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OTHERS):
        trace = trace.tb_next
    return trace
