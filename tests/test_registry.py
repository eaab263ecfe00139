"""Plug-ins are found by their name: a file in the package, or an entry point of another distribution."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from autoprune.assessors import assessors
from autoprune.errors import NotFoundError, nearest
from autoprune.registry import Registry, fold
from autoprune.tuners import Tuner, tuners

OUTSIDE = """
from autoprune.records import History, Proposal
from autoprune.tuners import Tuner


class Constant(Tuner):
    name = "Constant"
    seeded = False

    def ask(self, number: int, history: History) -> Proposal:
        return Proposal({"x": 0.5})


def not_a_tuner() -> None: ...
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution that brings a tuner."""
    (tmp_path / "outside_tuner.py").write_text(OUTSIDE)
    info = tmp_path / "outside-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: outside\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[autoprune.tuners]\nConstant = outside_tuner:Constant\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return info


def package(folder: Path, name: str, source: str) -> Registry[Tuner]:
    """A registry over a package with one module `plug_in`."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    (folder / name / "plug_in.py").write_text(source)
    registry: Registry[Tuner] = Registry(name, Tuner, "tuner")  # type: ignore[type-abstract]
    return registry


def test_every_file_is_a_plug_in() -> None:
    assert {"TPE", "Random", "Anneal", "GridSearch"} <= set(tuners.names())
    assert "Medianstop" in assessors.names()


@pytest.mark.parametrize("name", ["GridSearch", "gridsearch", "grid_search", "GRID-SEARCH"])
def test_names_match_whatever_their_spelling(name: str) -> None:
    assert tuners.get(name).__dict__["name"] == "GridSearch"
    assert fold(name) == "gridsearch"


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no tuner is called 'Rendom' \(did you mean Random\?\)"):
        tuners.get("Rendom")
    with pytest.raises(NotFoundError, match="valid: Anneal"):
        tuners.get("zzz")


@pytest.mark.usefixtures("outside")
def test_another_distribution_brings_a_tuner() -> None:
    assert tuners.get("constant").__module__ == "outside_tuner"
    assert "Constant" in tuners.names()


def test_an_entry_point_that_is_no_tuner(outside: Path) -> None:
    (outside / "entry_points.txt").write_text("[autoprune.tuners]\nConstant = outside_tuner:not_a_tuner\n")
    assert [entry.name for entry in metadata.entry_points(group="autoprune.tuners")] == ["Constant"]
    with pytest.raises(NotFoundError, match="expected a subclass of Tuner with a `name`"):
        tuners.get("Constant")


def test_a_file_must_hold_one_plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert package(tmp_path, "with_one", OUTSIDE).get("plug_in").__name__ == "Constant"
    with pytest.raises(NotFoundError, match="exactly one subclass of Tuner with a `name`; it defines 0"):
        package(tmp_path, "with_none", "").get("plug_in")


def test_the_only_name_that_begins_so_is_near() -> None:
    assert nearest("grid", ["GridSearch", "Random", "TPE"]) == "GridSearch"
    assert nearest("c", ["CmaEs", "Curvefitting"]) is None
    assert nearest("", ["TPE"]) is None
