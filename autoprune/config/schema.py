"""The JSON Schema of a configuration file in v2 spelling, for editors; every field in it is declared in `model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from autoprune.assessors import assessors
from autoprune.config.model import DEFAULT_TUNER, AssessorConfig, ConfigFile, TrainingServiceConfig, TunerConfig
from autoprune.config.nni import IGNORED, REFUSED
from autoprune.config.search import BudgetConfig, SearchConfig
from autoprune.records import JSON
from autoprune.tuners import tuners

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Untitled(GenerateJsonSchema):
    """A field's key is title enough."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


_SECTIONS: Mapping[str, type[BaseModel]] = {
    "": ConfigFile,
    "tuner": TunerConfig,
    "assessor": AssessorConfig,
    "trainingService": TrainingServiceConfig,
    "budget": BudgetConfig,
    "search": SearchConfig,
}


def schema() -> dict[str, JSON]:
    """A JSON Schema (draft 2020-12), with the arguments of every tuner and assessor."""
    tuner_args = {name: plugin.Args for name, plugin in tuners.all().items()}
    assessor_args = {name: plugin.Args for name, plugin in assessors.all().items()}
    definitions, names = _definitions([*_SECTIONS.values(), *tuner_args.values(), *assessor_args.values()])
    sections = {path: definitions[names[model]] for path, model in _SECTIONS.items()}
    _offer(sections["tuner"], {name: _reference(names[args]) for name, args in tuner_args.items()})
    _offer(sections["assessor"], {name: _reference(names[args]) for name, args in assessor_args.items()})
    _allow_no_name(sections["tuner"], _reference(names[tuner_args[DEFAULT_TUNER]]))
    for path, about in _passed_over().items():
        section, _, name = path.rpartition(".")
        if section in sections:
            sections[section]["properties"].setdefault(name, about)
    root = definitions.pop(names[ConfigFile])
    root["required"] = [name for name in root["required"] if name not in ("experimentName", "searchSpace")]
    own = [{"required": ["trialCommand", "searchSpace"]}, {"required": ["trialCommand", "searchSpaceFile"]}]
    root["oneOf"] = [*own, {"required": ["task"]}]
    for name in ("tuner", "trainingService", "search"):
        root["properties"][name].pop("default")
    root |= {"title": "autoprune experiment", "description": "Settings of an autoprune experiment."}
    return {"$schema": DIALECT, **root, "$defs": definitions}


def _definitions(models: Sequence[type[BaseModel]]) -> tuple[dict[str, dict[str, Any]], dict[type[BaseModel], str]]:
    """The schemas of models by name, and the name of each model."""
    mode: JsonSchemaMode = "validation"
    pairs = [(model, mode) for model in dict.fromkeys(models)]
    references, shared = models_json_schema(pairs, by_alias=True, schema_generator=_Untitled)
    names = {model: str(references[model, mode]["$ref"]).rpartition("/")[2] for model in models}
    return shared["$defs"], names


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _offer(section: dict[str, Any], arguments: Mapping[str, JSON]) -> None:
    """Names what may be chosen, and what arguments each choice takes."""
    about = section["properties"]["name"]["description"]
    section["properties"]["name"] = {"enum": sorted(arguments), "description": about}
    section["allOf"] = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"properties": {"classArgs": reference}},
        }
        for name, reference in sorted(arguments.items())
    ]


def _allow_no_name(tuner: dict[str, Any], default: JSON) -> None:
    """A tuner without a name is a class of one's own, or the default tuner."""
    unnamed = {"not": {"anyOf": [{"required": ["name"]}, {"required": ["className"]}]}}
    tuner["allOf"].append({"if": unnamed, "then": {"properties": {"classArgs": default}}})
    tuner["not"] = {"required": ["name", "className"]}


def _passed_over() -> dict[str, JSON]:
    """The fields of NNI that may stand in a file and change nothing."""
    ignored = {
        path: {"deprecated": True, "description": f"Accepted and not used: {reason}."}
        for path, reason in IGNORED.items()
    }
    harmless = {
        path: {"deprecated": True, "description": f"Not supported: {refusal.remedy}.", "enum": list(refusal.harmless)}
        for path, refusal in REFUSED.items()
        if refusal.harmless
    }
    return ignored | harmless
