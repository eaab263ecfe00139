"""What may be asked of an experiment before its first trial and after its last: to stop, and nothing else."""

from __future__ import annotations

import pytest

from autoprune.manager.journal import Journal
from autoprune.manager.tasks import StoppedError, check_stop

from .conftest import Lab
from .test_loop import answer, send


def test_all_but_stop_is_refused_at_once(lab: Lab) -> None:
    experiment = lab.create()
    journal = Journal(lab.store, experiment.id, lambda: 0.0, lab.notices.append)
    check_stop(journal)
    asked = [send(lab, experiment.id, "update", maxTrialNumber=3), send(lab, experiment.id, "kill", trial=1)]
    check_stop(journal)
    assert journal.pending() == []
    for identity in asked:
        assert "the model is being prepared, or the result made; ask again later" in (answer(lab, identity) or "")
    stop = send(lab, experiment.id, "stop")
    with pytest.raises(StoppedError):
        check_stop(journal)
    assert answer(lab, stop) == ""
