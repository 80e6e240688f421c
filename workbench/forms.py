"""Forms: an experiment as plain descriptions of its fields, and what was entered as the content of an experiment file.

Every axis takes values to try. Where a value is a plugin, its parameters come from the plugin's own file, and each may have
several values, too: ``weight`` 0.3 and 0.5 of ``hybrid`` are two retrievers. What is left empty stays at its default.
"""

from __future__ import annotations

import ast
import itertools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import yaml

from workbench import registry, templates
from workbench.errors import InputError
from workbench.geography import regions
from workbench.library import available
from workbench.readers import folder
from workbench.records import AXIS_HELP, DEFAULT_AXES, PluginChoice, plugin_name
from workbench.specification import KIND_OF_AXIS, Budget, Goal, Space
from workbench.weights import catalogue

FieldKind = Literal["values", "choice", "number", "integer"]

UPLOAD_MEGABYTES = 200
UPLOAD_TYPES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", *folder.KINDS)
"""The endings of files that can be uploaded: those that the readers know."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Model and prompt": ("model", "prompt", "max_tokens", "examples", "example_choice"),
    "Finding passages": ("retriever", "passages", "context_tokens", "rerank", "rerank_depth", "compress"),
    "Documents and index": ("chunker", "chunk_tokens", "chunk_overlap", "embedder", "index", "precision", "dimensions"),
    "Sampling": ("temperature", "top_k", "top_p", "min_p", "repeat_penalty"),
    "Details": ("deduplicate", "order", "min_score", "concurrency"),
}
"""The axes that a form shows, under headings; ``stop``, a list of texts for each value, is written in the file."""

_USUAL: dict[str, tuple[Any, ...]] = {
    "max_tokens": (16, 32, 64, 128),
    "examples": (0, 2, 4),
    "temperature": (0, 0.3, 0.7, 1.0),
    "top_k": (1, 20, 40),
    "top_p": (0.9, 1.0),
    "min_p": (0.0, 0.05, 0.1),
    "repeat_penalty": (1.0, 1.1),
    "passages": (1, 2, 3, 5, 8),
    "context_tokens": (256, 512, 1024, 2048),
    "rerank_depth": (10, 20, 50),
    "chunk_tokens": (64, 128, 256, 512),
    "chunk_overlap": (0, 16, 32),
    "index": ("Flat", "HNSW32", "IVF16,Flat"),
    "precision": ("float32", "int8", "binary"),
    "deduplicate": (False, True),
    "order": ("best_first", "best_last"),
    "example_choice": ("fixed", "nearest"),
    "concurrency": (1, 2, 4),
}
_NOT_SHOWN = ("metrics", "confirm", "meter", "timeout_seconds", "retries")
_DEFAULT = "default"
_LEVELS = ("screen", "every", "reference")
_NOT_OFFERED = ("scripted", "langchain", "embedded", "sentence_transformers", "cross_encoder", "oracle")
_SHARES: dict[str, tuple[float, float | None, float]] = {  # low, high, step
    "margin": (0.0, 1.0, 0.01),
    "floor": (0.0, 1.0, 0.05),
    "confidence": (0.5, 0.999, 0.01),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing to enter. ``options`` are what is offered, ``free`` whether anything else may be written; ``default`` is what
    holds where nothing is entered, in words."""

    key: str
    kind: FieldKind
    label: str
    help: str = ""
    options: tuple[str, ...] = ()
    default: str = ""
    free: bool = False
    low: float | None = None
    high: float | None = None
    step: float | None = None


# ------------------------------------------------------------------------------------------------------------- fields


def axis_fields() -> dict[str, list[Field]]:
    """The axes of a space by heading, each a list of values to try."""
    return {heading: [_axis_field(axis) for axis in axes] for heading, axes in GROUPS.items()}


def parameter_fields(axis: str, choice: str) -> list[Field]:
    """The parameters of a plugin that was chosen on an axis, as its own file describes them; none for one without.

    Parameters that are no plain values (another plugin, a mapping) are written in the file. Raises ``InputError`` for
    a plugin that there is not.
    """
    kind = KIND_OF_AXIS.get(axis)
    if kind is None:
        return []
    return _parameters(kind, choice)


def strategy_fields(strategy: str) -> list[Field]:
    """The parameters of a strategy; the race's level is one of three."""
    return [
        replace(field, options=_LEVELS, free=False) if field.key == "level" else field
        for field in _parameters("strategies", strategy)
    ]


def goal_fields() -> list[Field]:
    """What decides, and what must hold."""
    goal = Goal()
    offered = [each for each in registry.names("metrics") if not registry.unit(each)]
    metrics = tuple(f"{each}@5" if each in ("recall", "precision") else each for each in offered)
    metrics = tuple(f"{each}@10" if each in ("map", "mrr", "ndcg") else each for each in metrics)
    numbers = {
        "margin": "how much worse than the best is acceptable",
        "confidence": "how sure the choice must be",
        "floor": "the least mean score that is acceptable; empty: no bar",
    }
    costs = typing.get_args(Goal.model_fields["minimise"].annotation)
    return [
        Field(
            key="metric",
            kind="choice",
            label="Metric that decides",
            options=metrics,
            default=goal.metric,
            free=True,
            help="A metric from 0 to 1.",
        ),
        Field(key="minimise", kind="choice", label="Fewest", options=costs, default=goal.minimise, help="Per answer."),
        *(
            Field(
                key=key,
                kind="number",
                label=key.capitalize(),
                help=f"{said[0].upper()}{said[1:]}.",
                default="" if getattr(goal, key) is None else f"{getattr(goal, key):g}",
                low=_SHARES[key][0],
                high=_SHARES[key][1],
                step=_SHARES[key][2],
            )
            for key, said in numbers.items()
        ),
        *(
            Field(
                key=f"limits.{share}_seconds",
                kind="number",
                label=f"{share} at most (s)",
                help=f"Setups of which {said} of the answers take longer are out; empty: no limit.",
                low=0.0,
                step=0.5,
            )
            for share, said in (("p50", "half"), ("p95", "5 %"))
        ),
    ]


def budget_fields() -> list[Field]:
    """Where a run stops by itself, to be continued; empty is no bound."""
    whole = {"tokens": 10_000.0, "calls": 100.0}
    return [
        Field(
            key=unit,
            kind="integer" if unit in whole else "number",
            label=unit.replace("_", "-").capitalize(),
            help="The run stops cleanly there, and can be continued; empty: no bound.",
            low=0.0,
            step=whole.get(unit, 1.0),
        )
        for unit in Budget.model_fields
    ]


def region_names() -> list[str]:
    """Regions that can be named, the world first."""
    return ["WOR", *(each.name for each in regions() if each.name != "WOR")]


def corpora() -> list[str]:
    """Corpora that can be named: the project folder's and those that ship."""
    return available("corpora")


def evalsets() -> list[str]:
    """Evaluation sets that can be named: the project folder's and those that ship."""
    return available("evals")


def _axis_field(axis: str) -> Field:
    kind = KIND_OF_AXIS.get(axis)
    default = DEFAULT_AXES[axis]
    offered = _plugins(kind) if kind else templates.available() if axis == "prompt" else _USUAL.get(axis, ())
    options = tuple(dict.fromkeys(map(_said, (*offered, *(() if default is None else (default,))))))
    fixed = axis in ("precision", "deduplicate", "order", "example_choice")
    return Field(
        key=axis,
        kind="values",
        label=axis.replace("_", " ").capitalize(),
        help=f"{AXIS_HELP[axis][0].upper()}{AXIS_HELP[axis][1:]}.",
        options=options,
        default="" if default is None else _said(default),
        free=not fixed,
    )


def _plugins(kind: str) -> list[str]:
    """What can be named without more: plugins that stand for themselves, and the embedded models."""
    weights = {"models": "generator", "embedders": "embedder"}.get(kind)
    plain = [name for name in registry.names(kind) if name not in _NOT_OFFERED]
    return [*plain, *(f"embedded:{each.name}" for each in catalogue() if each.kind == weights)]


def _parameters(kind: str, choice: str) -> list[Field]:
    file, _ = registry.resolve(kind, choice)
    if file == "python":
        return []
    found = []
    for parameter in registry.describe(kind, file).parameters:
        # The axes chunk_tokens and chunk_overlap give a chunker these.
        if kind == "chunkers" and parameter.name in ("chunk_tokens", "chunk_overlap"):
            continue
        plain = parameter.type.removesuffix(" | None") in ("int", "float", "str")
        if not (plain or parameter.type == "bool" or parameter.options):
            continue
        options = ("True", "False") if parameter.type == "bool" else tuple(map(_said, parameter.options))
        default = _literal(parameter.default)
        found.append(
            Field(
                key=parameter.name,
                kind="values",
                label=parameter.name.replace("_", " ").capitalize(),
                help=f"Empty: {_said(default)}." if default not in (None, "") else "Empty: the plugin's own.",
                options=options or (() if default in (None, "") else (_said(default),)),
                default="" if default is None else _said(default),
                free=plain,
            )
        )
    return found


def _literal(text: str | None) -> Any:
    """A default as its file writes it; ``None`` for what is no plain value."""
    try:
        return None if text is None else ast.literal_eval(text)
    except ValueError:
        return None


def _said(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}" if type(value) is float else str(value)


# ------------------------------------------------------------------------------------------------------------ entries


def value_of(text: str) -> Any:
    """What was written as a value: a number, true or false, else the text itself."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            found = kind(text)
        except ValueError:
            continue
        if found == found and abs(found) != float("inf"):  # no numbers of an experiment
            return found
    return text


def variants(axis: str, choice: str, parameters: Mapping[str, Sequence[str]]) -> list[PluginChoice]:
    """A plugin with every combination of the values entered for its parameters; those at their default are left out."""
    given = {key: values for key, values in parameters.items() if values}
    if not given:
        return [choice]
    defaults = {field.key: field.default for field in parameter_fields(axis, choice)}
    found: list[PluginChoice] = []
    for chosen in itertools.product(*given.values()):
        told = {
            key: value_of(text)
            for key, text in zip(given, chosen, strict=True)
            if text not in (_DEFAULT, defaults.get(key))
        }
        found.append({"name": choice, **told} if told else choice)
    return found


def compose(
    *,
    corpus: str,
    evalset: str,
    split: str = "dev",
    limit: int | None = None,
    axes: Mapping[str, Sequence[str]],
    parameters: Mapping[tuple[str, str], Mapping[str, Sequence[str]]] | None = None,
    goal: Mapping[str, Any],
    strategy: str = "race",
    strategy_parameters: Mapping[str, str] | None = None,
    budget: Mapping[str, float | None] | None = None,
    region: str = "WOR",
    repeats: int = 1,
    seed: int = 7,
    base: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What was entered as the content of an experiment file: what is left empty, or at its default, is left out.

    ``axes`` holds the values as they were written, ``parameters`` those of the plugins by axis and plugin. Of ``base``,
    the content that the form began with, what the form does not show stays. Nothing is checked here: ``read_experiment``
    says everything that is wrong with it.
    """
    content: dict[str, Any] = {key: value for key, value in (base or {}).items() if key in _NOT_SHOWN}
    content |= {"corpus": corpus, "evalset": evalset, "questions": {"split": split}}
    if limit:
        content["questions"]["limit"] = int(limit)
    limits = {key.removeprefix("limits."): value for key, value in goal.items() if key.startswith("limits.") and value}
    own = {key: value for key, value in goal.items() if not key.startswith("limits.") and value is not None}
    if "reference" in (base or {}).get("goal", {}):
        own["reference"] = (base or {})["goal"]["reference"]
    content["goal"] = {**own, "limits": limits} if limits else own
    told = {key: value_of(text) for key, text in (strategy_parameters or {}).items() if text}
    content["strategy"] = {"name": strategy, **told} if told else strategy
    bounds = {unit: value for unit, value in (budget or {}).items() if value}
    if bounds:
        content["budget"] = bounds
    if repeats != 1:
        content["repeats"] = repeats
    space = _space(axes, parameters or {})
    if "stop" in (base or {}).get("space", {}):
        space["stop"] = (base or {})["space"]["stop"]
    return {**content, "region": region, "seed": seed, "space": space}


def _space(
    axes: Mapping[str, Sequence[str]], parameters: Mapping[tuple[str, str], Mapping[str, Sequence[str]]]
) -> dict[str, list[Any]]:
    space: dict[str, list[Any]] = {}
    for axis in Space.model_fields:
        entered = list(axes.get(axis, ()))
        if not entered:
            continue
        values: list[Any] = []
        for text in entered:
            if axis in KIND_OF_AXIS:
                values += variants(axis, text, parameters.get((axis, text), {}))
            else:
                absent = DEFAULT_AXES[axis] is None and text.strip().lower() == "none"
                values.append(text if axis in ("prompt", "index") else None if absent else value_of(text))
        if values != [DEFAULT_AXES[axis]] or axis in ("model", "retriever"):
            space[axis] = values
    return space


def entries(content: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[tuple[str, str], dict[str, list[str]]]]:
    """A space as a form would have it entered: values by axis, and parameters by axis and plugin.

    Of plugins that stand there several times with different parameters, every combination is entered; one that lacks a
    parameter which another has is at its default there.
    """
    axes: dict[str, list[str]] = {}
    parameters: dict[tuple[str, str], dict[str, list[str]]] = {}
    for axis, values in content.items():
        if axis not in AXIS_HELP or axis == "stop":
            continue
        texts = [plugin_name(value) if axis in KIND_OF_AXIS else _said(value) for value in values]
        axes[axis] = list(dict.fromkeys(texts))
        for name in axes[axis] if axis in KIND_OF_AXIS else ():
            told = [value if isinstance(value, dict) else {} for value in values if plugin_name(value) == name]
            keys = dict.fromkeys(key for value in told for key in value if key != "name")
            if keys:
                parameters[axis, name] = {
                    key: list(dict.fromkeys(_said(value[key]) if key in value else _DEFAULT for value in told))
                    for key in keys
                }
    return axes, parameters


def experiment_text(content: Mapping[str, Any]) -> str:
    """The content of an experiment file as it is written."""
    text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return text


def columns_of(text: str) -> dict[str, str]:
    """Columns written as ``text=body, question=ask``."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not field.strip() or not column.strip() for field, _, column in pairs):
        raise InputError(f"columns are {text[:100]!r}; expected our field and the file's column, such as text=body")
    return {field.strip(): column.strip() for field, _, column in pairs}
