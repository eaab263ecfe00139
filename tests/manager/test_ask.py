"""Asking a manager: what is sent, what is answered, and what becomes of a question whose manager has died."""

from __future__ import annotations

import threading
import time

import pytest
from sample_workspace import Sample

from autoprune.errors import UsageError
from autoprune.manager import ask
from autoprune.manager.journal import Journal
from autoprune.records import timestamp
from autoprune.store import commands


def journal(sample: Sample) -> Journal:
    return Journal(sample.store, sample.id, time.time, lambda notice: None)


def answer_of(sample: Sample, id: int) -> str | None:
    with sample.store.read() as tx:
        return commands.get(tx, id).answer


@pytest.mark.parametrize("refusal", ["", "the trial is not running"])
def test_the_answer_is_waited_for(fresh: Sample, refusal: str) -> None:
    answered = threading.Event()

    def manage() -> None:
        while not (pending := journal(fresh).pending()):
            time.sleep(0.01)
        assert (pending[0].kind, pending[0].data) == ("kill", {"trial": 3})
        answered.set()
        journal(fresh).answered(pending[0], refusal)

    manager = threading.Thread(target=manage)
    manager.start()
    with fresh.workspace.lock(fresh.id):
        if refusal:
            with pytest.raises(UsageError, match=refusal):
                ask.ask_manager(fresh.workspace, fresh.store, fresh.id, "kill", {"trial": 3})
        else:
            ask.ask_manager(fresh.workspace, fresh.store, fresh.id, "kill", {"trial": 3})
    assert answered.is_set()
    manager.join()


def test_a_manager_that_ends_first(fresh: Sample) -> None:
    with pytest.raises(UsageError, match="ended before it could kill"):
        ask.ask_manager(fresh.workspace, fresh.store, fresh.id, "kill", {"trial": 3})


def test_a_new_manager_refuses_what_the_one_before_was_asked(fresh: Sample) -> None:
    old = ask.send(fresh.store, fresh.id, "stop", {})
    journal(fresh).refuse_commands_before(timestamp(time.time() + 1))
    assert answer_of(fresh, old) == "the manager it was sent to is gone"


def test_a_new_manager_hears_what_it_is_asked_while_it_begins(fresh: Sample) -> None:
    locked = timestamp(time.time())
    new = ask.send(fresh.store, fresh.id, "stop", {})
    journal(fresh).refuse_commands_before(locked)
    assert answer_of(fresh, new) is None
    assert [command.id for command in journal(fresh).pending()] == [new]


def test_a_manager_that_ends_right_after_it_answered(fresh: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is free when one looks, and the answer was not there yet a moment before."""

    def end(_: str) -> bool:
        for command in journal(fresh).pending():
            journal(fresh).answered(command)
        return False

    monkeypatch.setattr(type(fresh.workspace), "locked", lambda workspace, id: end(id))
    ask.ask_manager(fresh.workspace, fresh.store, fresh.id, "import", {})
