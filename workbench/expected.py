"""A cheap guess of what an answer of each configuration costs, before anything ran: only the order is meant.

Nothing is loaded and nothing counted: prompts are guessed from the axes, work from a model's size, money from its price.
A search that races asks the cheap ones first by it; ``planning`` says what is to be paid, with ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench import registry, templates
from workbench.prices import price
from workbench.records import ALL_PASSAGES, Configuration, PluginChoice, plugin_name

_CHARACTERS_PER_TOKEN = 4  # of English text
_QUESTION_TOKENS = 20
_EXAMPLE_TOKENS = 40  # a question, its answer and what a template puts around them
_DOCUMENT_TOKENS = 1_000  # where documents are not cut
_WIDER = 4  # times chunk_tokens, that the chunker parent reads in a chunk's place
_PASSAGE_MARK = 4
_WRITTEN_SHARE = 0.5  # of max_tokens
_READ_PER_WRITTEN = 4.0  # an output token takes as much work as so many of the prompt; hosted models: 2.5 to 20
_REWRITE_TOKENS = 60  # of what a model is asked that rewrites a question

_BILLIONS_IN_NAME = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)\s?([bm])(?![a-z0-9])", re.IGNORECASE)
_BILLIONS_PER_DOLLAR = 10.0  # per dollar for a million output tokens: 10 dollars for a model of some hundred billion
_BILLIONS_UNKNOWN = 100.0  # a hosted model of which neither size nor price is known is taken to be large
_BILLIONS_HERE = 0.2  # models of other kinds, which do their work in this process
_EMBEDDER_BILLIONS = 0.023
_SEARCH = 0.01  # in billions of parameters × tokens: scoring an index takes next to nothing

# Joules for a billion parameters and a token of the prompt: here two vCPUs with a model of 135 million took 0.055 CPU-seconds,
# at two watts; elsewhere 2 operations per parameter × 1.6e-12 J × 1.57 (tables/hosted.csv).
_JOULES_HERE, _JOULES_ELSEWHERE = 0.11, 0.005
_SECONDS_HERE = 0.055
_SECONDS_ELSEWHERE, _SECONDS_PER_TOKEN_ELSEWHERE = 0.5, 0.0125  # of a request, and of a token it writes
_DOLLARS_PER_JOULE = 0.2 / 3.6e6  # electricity, so that models here are cheaper than any that is bought
_DOLLARS_UNKNOWN = 10.0  # for a million tokens of a hosted model that is not priced


class Call(NamedTuple):
    """A call of a language model as it is guessed: the prompt's tokens, those of them that a cached prefix holds, and tokens
    written. ``own``: the one that writes the answer; others rewrite questions or judge passages."""

    model: PluginChoice
    tokens_in: float
    tokens_cached: float
    tokens_out: float
    own: bool


def expected_costs(configurations: Sequence[Configuration], minimise: str) -> NDArray[np.float64]:
    """A guess of one answer's cost for each configuration, in what a goal minimises; shape (configurations,).

    ``tokens``: of prompt and answer. ``joules``, ``grams_co2e`` and ``seconds``: parameters × tokens read and written, here
    or elsewhere, with what embedding, reranking and rewriting add. ``dollars``: by price. Every figure is above 0.
    """
    models = _Models()
    costs = (_cost(each, models, minimise) for each in configurations)
    return np.fromiter(costs, dtype=np.float64, count=len(configurations))


class _Models:
    """Where the models that are named do their work, how large they are, and what they cost; each looked up once."""

    def __init__(self) -> None:
        self.runs_here = cache(lambda name: registry.resolve("models", name)[0] != "langchain")
        self.dollars = cache(_dollars_per_million)
        self._billions = cache(self._guessed)

    def billions(self, choice: PluginChoice) -> float:
        """A model's active parameters in billions."""
        stated = None if isinstance(choice, str) else choice.get("active_billion")
        return self._billions(plugin_name(choice)) if stated is None else float(stated)

    def _guessed(self, name: str) -> float:
        if name == "scripted":
            return 1e-3
        if found := _BILLIONS_IN_NAME.findall(re.sub(r"[_:/-]", " ", name)):
            size, unit = found[-1]
            return float(size) / (1e3 if unit in "mM" else 1.0)
        if self.runs_here(name):
            return _BILLIONS_HERE
        asked = self.dollars(name)
        return _BILLIONS_UNKNOWN if asked is None else max(asked[1], 0.1) * _BILLIONS_PER_DOLLAR


def passage_tokens(configuration: Configuration) -> float:
    """About how many tokens of passages reach the prompt."""
    if plugin_name(configuration["retriever"]) == "none":
        return 0.0
    budget = float(configuration["context_tokens"])
    if configuration["passages"] == ALL_PASSAGES:
        return budget
    return min(budget, configuration["passages"] * (_read_tokens(configuration) + _PASSAGE_MARK))


def _cost(configuration: Configuration, models: _Models, minimise: str) -> float:
    asked = list(calls(configuration))
    if minimise == "tokens":
        return sum(call.tokens_in + call.tokens_out for call in asked) + _SEARCH
    return _search_cost(configuration, minimise) + sum(_call_cost(models, minimise, call) for call in asked)


def calls(configuration: Configuration) -> Iterator[Call]:
    """Every call of a language model that an answer takes; its own is the last."""
    own: PluginChoice | None = None if plugin_name(configuration["model"]) == "none" else configuration["model"]
    for kind, axis in (("retrievers", "retriever"), ("rerankers", "rerank")):
        choice = configuration[axis]
        if "model" not in registry.needs(kind, choice):
            continue
        given = choice if isinstance(choice, dict) else {}
        asked = given.get("model") or own
        if asked is None:  # an impossible point
            continue
        if kind == "rerankers":
            depth = configuration["rerank_depth"]
            yield Call(asked, depth * (_REWRITE_TOKENS + chunk_tokens(configuration)), 0.0, depth, own=False)
        else:
            yield Call(asked, _REWRITE_TOKENS + _QUESTION_TOKENS, 0.0, given.get("max_tokens", 64), own=False)
    if own is not None:
        fixed = _template_tokens(configuration["prompt"])
        examples = configuration["examples"] * _EXAMPLE_TOKENS
        cached = fixed + (examples if configuration["example_choice"] == "fixed" else 0)
        read = fixed + examples + _QUESTION_TOKENS + passage_tokens(configuration)
        yield Call(own, read, cached, _WRITTEN_SHARE * configuration["max_tokens"], own=True)


def _search_cost(configuration: Configuration, minimise: str) -> float:
    """What finding passages takes beside language models: it is done here, as far as the axes tell."""
    work = _SEARCH
    for kind, axis, tokens in (
        ("retrievers", "retriever", _QUESTION_TOKENS),
        ("rerankers", "rerank", configuration["rerank_depth"] * chunk_tokens(configuration)),
        ("compressors", "compress", passage_tokens(configuration)),
    ):
        choice = configuration[axis]
        embeds = "embedder" in registry.needs(kind, choice) or plugin_name(choice).startswith("cross_encoder")
        work += _EMBEDDER_BILLIONS * tokens if embeds else 0.0
    return work * _per_work_here(minimise)


def _per_work_here(minimise: str) -> float:
    if minimise == "seconds":
        return _SECONDS_HERE
    return _JOULES_HERE * (_DOLLARS_PER_JOULE if minimise == "dollars" else 1.0)


def _call_cost(models: _Models, minimise: str, call: Call) -> float:
    name = plugin_name(call.model)
    if models.runs_here(name):
        work = call.tokens_in - call.tokens_cached + _READ_PER_WRITTEN * call.tokens_out
        return models.billions(call.model) * work * _per_work_here(minimise)
    if minimise == "dollars":
        per_read, per_written = models.dollars(name) or (_DOLLARS_UNKNOWN, _DOLLARS_UNKNOWN)
        return (call.tokens_in * per_read + call.tokens_out * per_written) / 1e6
    if minimise == "seconds":
        return _SECONDS_ELSEWHERE + _SECONDS_PER_TOKEN_ELSEWHERE * call.tokens_out
    return models.billions(call.model) * (call.tokens_in + _READ_PER_WRITTEN * call.tokens_out) * _JOULES_ELSEWHERE


def _dollars_per_million(name: str) -> tuple[float, float] | None:
    """Dollars for a million tokens of the prompt, and of the output."""
    found = price(name)
    return None if found is None else (found.dollars_per_million_in, found.dollars_per_million_out)


@lru_cache(maxsize=128)
def _template_tokens(name: str) -> float:
    """About how many tokens of a template are the same for every question."""
    template = templates.load(name)
    fixed = "".join(message.content for message in template.static)
    return (len(fixed) + len(template.user) + len(template.context) + len(template.cue)) / _CHARACTERS_PER_TOKEN


def chunk_tokens(configuration: Configuration) -> float:
    """About how many tokens a chunk has."""
    chunker = configuration["chunker"]
    if plugin_name(chunker) == "document":
        return _DOCUMENT_TOKENS
    own: Mapping[str, Any] = chunker if isinstance(chunker, dict) else {}
    return float(own.get("chunk_tokens", configuration["chunk_tokens"]))


def _read_tokens(configuration: Configuration) -> float:
    """About how many tokens a passage has that goes into the prompt."""
    chunker, chunk = configuration["chunker"], chunk_tokens(configuration)
    if plugin_name(chunker) != "parent":
        return chunk
    wide = chunker.get("parent_tokens") if isinstance(chunker, dict) else None
    return float(wide or _WIDER * chunk)
