"""How long the prompts of a space are: a few questions made ready as a run would do it, the rest told from those.

Prompts are alike for configurations that differ only in what happens after them, so each distinct kind is looked at once,
and of many kinds some, chosen so that every value of every axis is among them. What they have more or fewer tokens than
the guess of ``expected`` is told value by value of the axes, and applied to the others.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import registry, tokens
from workbench.contracts import Model
from workbench.errors import InputError
from workbench.expected import calls
from workbench.pipeline import Pipeline
from workbench.records import Configuration, PluginChoice, Prompt, Question, plugin_label, plugin_name
from workbench.space import model_facts

COUNTING = "python:workbench.sampling:counting"
"""A model, by its path, that counts like a hosted one and never answers."""

AXES = (
    "model",
    "prompt",
    "examples",
    "example_choice",
    "retriever",
    "min_score",
    "embedder",
    "dimensions",
    "precision",
    "index",
    "chunker",
    "chunk_tokens",
    "chunk_overlap",
    "passages",
    "rerank",
    "rerank_depth",
    "deduplicate",
    "compress",
    "context_tokens",
)
"""The axes on which a prompt's length may depend."""

KINDS = 48
"""The most kinds of prompts that are looked at."""

_RENDERS = 600
_QUESTIONS = (12, 60)  # of a kind: the fewest and the most, if there are so many
_FOUND_AT_ONCE = frozenset({"bm25", "oracle", "everything"})  # retrievers that need no model and next to no time
_FOR_VECTORS = ("embedder", "dimensions", "precision", "index")
_STOOD_IN = 0.05  # of the prompt's tokens, either way: other retrievers find other passages
_UNTOLD = 0.1  # of them, where a kind was not looked at and too few were to say how far off that is
_OTHER_VOCABULARY = 0.15  # of them, where a model's own tokenizer is not asked
_MESSAGE_TOKENS = 4  # that a provider's chat format puts around each message
_RIDGE = 0.1
_SIGMAS = 2.0

Array = NDArray[np.float64]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of the prompt: ``mean`` of shape (configurations, 3) as low, central, high of the mean over the questions, and
    ``longest`` of one; 0 without a model. ``seen`` maps each configuration looked at (by its place) to the one that was made
    ready, ``refused`` those that cannot run with this corpus to the reason."""

    mean: Array
    longest: Array
    seen: Mapping[int, Configuration]
    refused: Mapping[int, str]
    questions: int
    kinds: int
    notes: tuple[str, ...]


class Counting:
    """Counts with the table o200k; asked to answer, it has nothing to say."""

    runs_here = False
    digest = "counting"

    def __init__(self, model: PluginChoice) -> None:
        facts = model_facts(model)
        self.accepts = facts.accepts if facts else frozenset()
        self.style = facts.style if facts else "chat"

    def count_tokens(self, text: str) -> int:
        """Tokens of o200k."""
        return tokens.count(text)

    def count_prompt(self, prompt: Prompt) -> int:
        """Tokens of a whole prompt, with what a chat format adds to its messages."""
        if self.style == "text":
            return tokens.count(prompt.text)
        return sum(tokens.count(message.content) + _MESSAGE_TOKENS for message in prompt.messages)

    def close(self) -> None:
        """Nothing to free."""


def counting(*, model: PluginChoice) -> Counting:
    """A model that only counts, in place of one that is not to be loaded or asked."""
    return Counting(model)


def lengths(
    configurations: Sequence[Configuration],
    questions: Sequence[Question],
    pipeline: Pipeline,
    *,
    tokenizer: Callable[[PluginChoice], Model | None],
    ready: Callable[[Configuration], bool],
    seed: int,
) -> Lengths:
    """The lengths of every configuration's prompts, from some of them made ready for some questions.

    ``tokenizer`` gives a model that is loaded here to count with (``None``: o200k is taken in its place); ``ready`` says
    whether a configuration's index needs no work worth speaking of, so that it is searched; else bm25 stands in for it.
    """
    kinds: dict[Key, list[int]] = defaultdict(list)
    for row, configuration in enumerate(configurations):
        if plugin_name(configuration["model"]) != "none":
            kinds[_key(configuration)].append(row)
    mean, longest = np.zeros((len(configurations), 3)), np.zeros(len(configurations))
    if not kinds:
        return Lengths(mean=mean, longest=longest, seen={}, refused={}, questions=0, kinds=0, notes=())
    made = {key: stand_in(configurations[rows[0]], ready) for key, rows in kinds.items()}
    by_made: dict[Key, list[Key]] = defaultdict(list)
    for key, (configuration, _) in made.items():
        by_made[_key(configuration)].append(key)
    looked_at = _covering(list(by_made), KINDS, seed)
    asked = _sample(questions, len(looked_at), seed)
    seen: dict[int, Configuration] = {}
    refused: dict[int, str] = {}
    counted: dict[Key, tuple[float, float, float]] = {}
    for key in sorted(looked_at, key=str):  # by model and prompt, so that an engine is warmed up as seldom as may be
        configuration = made[by_made[key][0]][0]
        try:
            counted[key] = _count(configuration, asked, len(questions), pipeline, tokenizer)
        except InputError as error:  # what this kind asks for does not go with this corpus; the run leaves it out, too
            refused.update((row, str(error)) for each in by_made.pop(key) for row in kinds[each])
            continue
        seen[kinds[by_made[key][0]][0]] = configuration
    guesses = {key: _guess(made[keys[0]][0]) for key, keys in by_made.items()}
    told = _told(counted, guesses) if counted else {}
    notes: Counter[str] = Counter()
    for key, (central, width, most) in told.items():
        for each in by_made[key]:
            configuration, why = made[each]
            notes.update(dict.fromkeys(why, len(kinds[each])))
            off = width + (_STOOD_IN if why else 0.0)
            if tokenizer(configuration["model"]) is None and _loads_here(configuration["model"]):
                off += _OTHER_VOCABULARY
                notes[f"{plugin_label(configuration['model'])} was not loaded: its tokens are counted by o200k"] += 1
            mean[kinds[each]] = central * np.array([1 - min(off, 0.9), 1.0, 1 + off])
            longest[kinds[each]] = most
    if len(counted) < len(told):
        notes[f"{len(counted)} of {len(told):,} kinds of prompts were looked at, the others told from those"] += 1
    return Lengths(
        mean=mean,
        longest=longest,
        seen=seen,
        refused=refused,
        questions=len(asked),
        kinds=len(by_made),
        notes=tuple(notes),
    )


def stand_in(
    configuration: Configuration, ready: Callable[[Configuration], bool]
) -> tuple[Configuration, tuple[str, ...]]:
    """A configuration whose prompts can be made at once and are about as long, and what differs from the one given.

    Reranking is left out: it changes which passages there are, not how long they are.
    """
    axes = dict(configuration.axes)
    why: list[str] = []
    retriever = plugin_name(configuration["retriever"])
    if plugin_name(axes.pop("rerank", "none")) != "none":
        why.append("rerankers were left out")
    axes.pop("rerank_depth", None)
    if retriever != "none":
        chosen = configuration["retriever"]
        if registry.needs("retrievers", chosen) >= {"model"} or not (
            retriever in _FOUND_AT_ONCE or ready(configuration)
        ):
            axes["retriever"] = "bm25"
            axes.pop("min_score", None)
            why.append(f"bm25 stood in for {plugin_label(chosen)}")
        compress = configuration["compress"]
        if "embedder" in registry.needs("compressors", compress) and not ready(configuration):
            own = {"name": compress} if isinstance(compress, str) else compress
            axes["compress"] = {**own, "by": "words"} if plugin_name(compress) == "sentences" else "none"
            why.append(f"{plugin_label(compress)} was done by words")
        if not _embeds(axes):
            axes = {axis: value for axis, value in axes.items() if axis not in _FOR_VECTORS}
    return Configuration(axes), tuple(why)


def _embeds(axes: Mapping[str, Any]) -> bool:
    return "embedder" in registry.needs("retrievers", axes.get("retriever", "bm25")) or "embedder" in registry.needs(
        "compressors", axes.get("compress", "none")
    )


def _loads_here(choice: PluginChoice) -> bool:
    return registry.resolve("models", choice)[0] != "langchain"


def _key(configuration: Configuration) -> Key:
    """What a prompt's length depends on; axes that are left out stand at their default."""
    return tuple(_plain(configuration[axis]) for axis in AXES)


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _covering(keys: Sequence[Key], most: int, seed: int) -> list[Key]:
    """Some of the kinds: first those that show a value of an axis not seen yet, then any, in a seeded order."""
    if len(keys) <= most:
        return list(keys)
    order = list(keys)
    random.Random(seed).shuffle(order)  # noqa: S311 - a reproducible order, not a secret
    known: set[tuple[int, Any]] = set()
    first: list[Key] = []
    rest: list[Key] = []
    for key in order:
        values = set(enumerate(key))
        (rest if values <= known else first).append(key)
        known |= values
    return [*first, *rest][:most]


def _sample(questions: Sequence[Question], kinds: int, seed: int) -> list[Question]:
    fewest, most = _QUESTIONS
    count = min(max(fewest, min(most, _RENDERS // kinds)), len(questions))
    return random.Random(seed).sample(list(questions), count)  # noqa: S311 - as above


def _count(
    configuration: Configuration,
    asked: Sequence[Question],
    population: int,
    pipeline: Pipeline,
    tokenizer: Callable[[PluginChoice], Model | None],
) -> tuple[float, float, float]:
    """Mean tokens of the prompts, how far off relative to all questions', and the longest."""
    model = tokenizer(configuration["model"])
    counter: Any = model or Counting(configuration["model"])
    if model is None:  # nothing is loaded: what packs counts as what counts
        configuration = Configuration(
            {**configuration.axes, "model": {"name": COUNTING, "model": configuration["model"]}}
        )
    pipeline.prepare(configuration)
    found = []
    for question in asked:
        prompt = pipeline.render(configuration, question).prompt
        if prompt is not None:
            found.append(float(count_prompt(counter, prompt)))
    mean = float(np.mean(found))
    spread = float(np.std(found, ddof=1)) if len(found) > 1 else _UNTOLD * mean
    unseen = max(1 - len(found) / population, 0.0)
    return mean, _SIGMAS * spread * sqrt(unseen / len(found)) / mean, max(found)


def count_prompt(model: Any, prompt: Prompt) -> int:
    """Tokens of a whole prompt as a model counts it; one that cannot say has its texts counted."""
    if hasattr(model, "count_prompt"):
        return int(model.count_prompt(prompt))
    texts = [prompt.text] if model.style == "text" else [message.content for message in prompt.messages]
    return sum(model.count_tokens(text) for text in texts)


def _guess(configuration: Configuration) -> float:
    *_, own = calls(configuration)
    return max(own.tokens_in, 1.0)


def _told(
    counted: Mapping[Key, tuple[float, float, float]], guesses: Mapping[Key, float]
) -> dict[Key, tuple[float, float, float]]:
    """Mean, relative width and longest of every kind: as counted, else the guess times what its axes' values told.

    The logarithm of counted over guessed is fitted by an effect of every value of every axis, drawn towards none; a number
    that was not seen lies between those that were.
    """
    others = [key for key in guesses if key not in counted]
    if not others:
        return dict(counted)
    seen = list(counted)
    values = sorted({pair for key in seen for pair in enumerate(key)}, key=str)
    place = {pair: column for column, pair in enumerate(values)}
    design = np.zeros((len(seen), len(values)))
    for row, key in enumerate(seen):
        design[row, [place[pair] for pair in enumerate(key)]] = 1.0
    ratios = np.array([log(counted[key][0] / guesses[key]) for key in seen])
    middle = float(ratios.mean())
    # Ridge regression: (X'X + r I)⁻¹ X'y, which exists for any X.
    effects = np.linalg.solve(design.T @ design + _RIDGE * np.eye(len(values)), design.T @ (ratios - middle))
    off = ratios - middle - design @ effects
    sampled = max((width for _, width, _ in counted.values()), default=0.0)
    width = sampled + max(_SIGMAS * float(np.sqrt(np.mean(off**2))), _UNTOLD)
    stretch = max(most / mean for mean, _, most in counted.values())
    effect = _effects(values, effects.tolist())
    found = dict(counted)
    for key in others:
        central = guesses[key] * float(np.exp(middle + sum(effect(axis, value) for axis, value in enumerate(key))))
        found[key] = (central, width, central * stretch)
    return found


def _effects(values: Sequence[tuple[int, Any]], effects: Sequence[float]) -> Callable[[int, Any], float]:
    """The effect of a value of an axis: as told, for numbers between two that were told in proportion, else none."""
    known = dict(zip(values, effects, strict=True))
    numbers: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for (axis, value), told in known.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers[axis].append((float(value), told))
    lines = {axis: np.array(sorted(pairs)).T for axis, pairs in numbers.items()}

    def effect(axis: int, value: Any) -> float:
        if (axis, value) in known:
            return known[axis, value]
        if axis in lines and isinstance(value, int | float):
            return float(np.interp(float(value), lines[axis][0], lines[axis][1]))
        return 0.0

    return effect
