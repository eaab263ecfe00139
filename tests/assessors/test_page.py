"""The page on assessors names every assessor with its arguments, as they are."""

from __future__ import annotations

import re
from pathlib import Path

from autoprune.assessors import AssessorArgs, assessors

PAGE = (Path(__file__).parents[2] / "docs" / "assessors.md").read_text(encoding="utf-8")
OWN = {name: plugin for name, plugin in assessors.all().items() if plugin.__module__.startswith("autoprune.")}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_argument_has_its_default() -> None:
    listed: dict[str, dict[str, str]] = {}
    owner = ""
    for name, argument, default in re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \| (.*?) \|", section("Arguments"), re.M):
        owner = name or owner
        listed.setdefault(owner, {})[argument] = default
    words = {"required": True, "none": None, "no limit": None}
    for name, plugin in OWN.items():
        fields = {key: field for key, field in plugin.Args.model_fields.items() if key not in AssessorArgs.model_fields}
        assert listed[name].keys() == fields.keys()
        for key, field in fields.items():
            said = listed[name][key]
            assert (said == "required") == field.is_required()
            assert field.is_required() or field.default == (words[said] if said in words else float(said)), key


def test_every_assessor_is_to_be_chosen_from() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", section("Which to take"), re.M)) >= OWN.keys()
