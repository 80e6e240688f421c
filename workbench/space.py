"""From a search space to distinct configurations: impossible points removed, equivalent ones merged, each with its reason."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench import registry, templates
from workbench.contracts import ModelFacts
from workbench.errors import InputError
from workbench.records import (
    ALL_PASSAGES,
    DECODING_AXES,
    DEFAULT_AXES,
    Configuration,
    PluginChoice,
    plugin_label,
    plugin_name,
)
from workbench.specification import KIND_OF_AXIS, Space

_MOST_POINTS = 100_000  # looking at that many takes seconds; more would look as if nothing happened
_SAMPLERS = ("top_k", "top_p", "min_p")
_CONTEXT = ("passages", "deduplicate", "order", "compress", "context_tokens")
_OF_MODEL = ("prompt", "examples", "example_choice", *DECODING_AXES, *_CONTEXT)
_CHUNKING = ("chunker", "chunk_tokens", "chunk_overlap")
_EMBEDDING = ("embedder", "dimensions")
_INDEX = ("precision", "index")
_OF_RETRIEVAL = ("min_score", *_EMBEDDING, *_INDEX, *_CHUNKING, "rerank", "rerank_depth", *_CONTEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The distinct configurations of a space, and why there are fewer than its product: reason → how many points."""

    configurations: tuple[Configuration, ...]
    product: int
    merged: dict[str, int]
    impossible: dict[str, int]


def points(space: Space) -> Points:
    """Every distinct configuration of a space, in the order of its axes' values.

    Raises ``InputError`` or ``MachineError`` when a model named there cannot be described on this machine.
    """
    axes = {axis: getattr(space, axis) for axis in DEFAULT_AXES}
    size = math.prod(map(len, axes.values()))
    if size > _MOST_POINTS:
        raise InputError(f"the space has {size:,} points; expected at most {_MOST_POINTS:,}: leave out values or axes")
    _check_parameters(axes)
    facts = {plugin_label(choice): model_facts(choice) for choice in axes["model"]}
    fingerprints = _Fingerprints(facts)
    found: dict[str, Configuration] = {}
    reasons: dict[str, Counter[str]] = {}
    impossible: Counter[str] = Counter()
    product = 0
    for values in itertools.product(*axes.values()):
        product += 1
        point = dict(zip(axes, values, strict=True))
        kept, dropped = canonical(point, facts[plugin_label(point["model"])])
        if why := _impossible(kept):
            impossible[why] += 1
            continue
        configuration = Configuration(kept, fingerprints.of(kept))
        found.setdefault(configuration.id, configuration)
        reasons.setdefault(configuration.id, Counter()).update([dropped])
    merged: Counter[str] = Counter()
    for counted in reasons.values():
        surplus = sum(counted.values()) - 1
        if surplus:
            why = max(
                (reason for reason in counted if reason),
                key=lambda reason: counted[reason],
                default="the same values twice",
            )
            merged[why] += surplus
    return Points(
        configurations=tuple(found.values()), product=product, merged=dict(merged), impossible=dict(impossible)
    )


def _check_parameters(axes: Mapping[str, Sequence[Any]]) -> None:
    problems: list[str] = []
    for axis, kind in KIND_OF_AXIS.items():
        for choice in axes[axis]:
            try:
                registry.check_values(kind, choice)
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)


def point_configuration(space: Space) -> Configuration:
    """The one configuration of a space with one value per axis; ``InputError`` when it is impossible."""
    found = points(space)
    if len(found.configurations) != 1:
        raise InputError(
            f"not one possible configuration: {'; '.join(found.impossible) or f'{len(found.configurations)} of them'}"
        )
    return found.configurations[0]


def canonical(point: dict[str, Any], facts: ModelFacts | None) -> tuple[dict[str, Any], str]:
    """The axes that matter at a point, and one sentence on those that do not (empty when all matter)."""
    kept = dict(point)
    reasons: list[str] = []

    def drop(axes: tuple[str, ...], reason: str) -> None:
        gone = [axis for axis in axes if axis in kept and kept.pop(axis) != DEFAULT_AXES[axis]]
        if gone:
            reasons.append(reason)

    if facts is None:
        drop(_OF_MODEL, "without a model, prompt, decoding and context settings do not matter")
    else:
        for axis in DECODING_AXES:
            if axis not in facts.accepts:
                drop((axis,), f"{plugin_label(point['model'])} does not accept {axis}")
        if kept.get("top_k") == 1 and "temperature" in kept:
            kept["temperature"] = 0
        if kept.get("temperature") == 0:
            drop(_SAMPLERS, "at temperature 0, or top_k 1, the other samplers do not matter")
        if kept["examples"] == 0:
            drop(("example_choice",), "without examples it does not matter how they are chosen")
    retriever = plugin_name(point["retriever"])
    if retriever == "none":
        drop(_OF_RETRIEVAL, "closed book, retrieval settings do not matter")
        return kept, "; ".join(reasons)
    needs = registry.needs("retrievers", point["retriever"])
    searched = needs
    helpers = [("rerankers", point["rerank"])] + ([("compressors", point["compress"])] if facts is not None else [])
    for kind, choice in helpers:
        needs |= registry.needs(kind, choice)
    if "embedder" not in needs:
        drop((*_EMBEDDING, *_INDEX), f"{retriever} embeds nothing, so embedder and index do not matter")
    elif "index" not in searched:
        drop(_INDEX, f"{retriever} searches no vectors, so index and precision do not matter")
    if "chunks" not in searched:
        drop(_CHUNKING, f"{retriever} takes whole documents, so chunking does not matter")
    if "passages" not in searched and "passages" in kept:
        drop(("passages",), f"{retriever} gives all it finds, so the number of passages does not matter")
        kept["passages"] = ALL_PASSAGES
    if plugin_name(point["rerank"]) == "none":
        drop(("rerank_depth",), "without a reranker its depth does not matter")
    if "chunker" in kept:
        accepted = {parameter.name for parameter in chunker_parameters(point["chunker"])}
        uncut = tuple(axis for axis in ("chunk_tokens", "chunk_overlap") if axis not in accepted)
        if len(uncut) == 2:
            drop(uncut, "whole documents are not cut, so chunk sizes do not matter")
        drop(uncut, f"the chunker {plugin_name(point['chunker'])} has no {' and no '.join(uncut)}")
    return kept, "; ".join(reasons)


def chunker_parameters(choice: PluginChoice) -> tuple[registry.Parameter, ...]:
    """What a chunker's ``build`` takes, as far as its file tells; one of the user's is taken to use both chunking axes."""
    file, _ = registry.resolve("chunkers", choice)
    if file == "python":
        return tuple(
            registry.Parameter(name=axis, type="int", default=None) for axis in ("chunk_tokens", "chunk_overlap")
        )
    return registry.describe("chunkers", file).parameters


def _impossible(kept: dict[str, Any]) -> str:
    """Why a point cannot be run; empty where it can."""
    model, retriever = plugin_name(kept["model"]), plugin_name(kept["retriever"])
    if model == "none" and retriever == "none":
        return "neither a model nor a retriever: nothing could answer"
    if kept.get("chunk_overlap", 0) >= kept.get("chunk_tokens", math.inf):
        return "chunk_overlap is not smaller than chunk_tokens"
    if kept.get("precision", "float32") != "float32" and kept["index"] != "Flat":
        return f"precision {kept['precision']} goes with index Flat only; other indexes name theirs, such as IVF64,SQ8"
    if model == "none":
        for axis, kind in (("retriever", "retrievers"), ("rerank", "rerankers")):
            choice = kept.get(axis, "none")
            if "model" in registry.needs(kind, choice) and not (isinstance(choice, dict) and choice.get("model")):
                return f"{plugin_name(choice)} asks a model, and there is none; give it one with its parameter model"
    return ""


def model_facts(choice: PluginChoice) -> ModelFacts | None:
    """What a model's file tells before it is loaded; ``None`` for no model. A file without ``facts`` is built and asked."""
    if plugin_name(choice) == "none":
        return None
    module, rest = registry.load("models", choice)
    parameters = {} if isinstance(choice, str) else {key: value for key, value in choice.items() if key != "name"}
    if hasattr(module, "facts"):
        facts: ModelFacts = module.facts(*([] if rest is None else [rest]), **parameters)
        return facts
    model = registry.build("models", choice)
    try:
        return ModelFacts(accepts=model.accepts, style=model.style, runs_here=model.runs_here, digest=model.digest)
    finally:
        model.close()


def fingerprints(axes: Mapping[str, Any]) -> dict[str, str]:
    """What a configuration of these axes depends on beyond names, as this machine has it."""
    return _Fingerprints({plugin_label(axes["model"]): model_facts(axes["model"])}).of(dict(axes))


class _Fingerprints:
    """What a configuration's meaning depends on beyond names, looked up once per plugin and template."""

    def __init__(self, facts: dict[str, ModelFacts | None]) -> None:
        self._facts = facts
        self._prompts: dict[str, str] = {}

    def of(self, axes: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        facts = self._facts[plugin_label(axes["model"])]
        if facts is not None:
            found["model"] = facts.digest
            name = axes["prompt"]
            if name not in self._prompts:
                self._prompts[name] = templates.load(name).digest
            found["prompt"] = self._prompts[name]
        for axis, kind in KIND_OF_AXIS.items():
            if axis != "model" and axis in axes and (version := registry.version(kind, axes[axis])):
                found[axis] = version
        return found
