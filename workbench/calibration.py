"""What work takes on this machine: a few answers of every model that runs here, a few texts embedded, a few searches.

Nothing of it is stored; what was loaded and indexed on the way lies in the cache as after a run.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.booking import BASE_STAGE
from workbench.contracts import Embedder, Meter
from workbench.errors import InputError
from workbench.ledger import add, scale, standalone
from workbench.pipeline import Pipeline, Task
from workbench.rates import FEWEST_ANSWERS, GENERATION, Rates, fit, generations, lacking
from workbench.records import Answer, Configuration, Question, Reading, plugin_name
from workbench.sampling import stand_in

_PER_PROMPT = 6  # answers for each prompt template, at least
_MOST_ANSWERS = 36  # of a model
_QUESTIONS = 12
_SEARCHES = 8  # kinds of retrieval that are timed
_TEXTS = 48  # that are embedded to see what a token takes
_ROUGHLY = 0.5  # of small things that are timed a few times, either way

_SEARCH_AXES = (
    "retriever",
    "min_score",
    "embedder",
    "dimensions",
    "precision",
    "index",
    "chunker",
    "chunk_tokens",
    "chunk_overlap",
    "context_tokens",
)

Array = NDArray[np.float64]
Prompted = tuple[str, bool]
"""A prompt template, and whether there are passages in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """CPU-seconds and seconds of some work, each low, central, high."""

    cpu_seconds: Array
    seconds: Array

    def times(self, factor: float) -> Took:
        """So many times the work."""
        return Took(cpu_seconds=self.cpu_seconds * factor, seconds=self.seconds * factor)

    def plus(self, other: Took) -> Took:
        """Both together."""
        return Took(cpu_seconds=self.cpu_seconds + other.cpu_seconds, seconds=self.seconds + other.seconds)


NOTHING = Took(cpu_seconds=np.zeros(3), seconds=np.zeros(3))
UNKNOWN = Took(cpu_seconds=np.full(3, np.nan), seconds=np.full(3, np.nan))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRates:
    """What a model's answers take here. Rates are ``None`` where ``lacking`` says why.

    ``written`` are the tokens of each answer by prompt, at the largest ``max_tokens``; ``cached`` those of the prompt's own
    static part by prompt and examples; ``packing`` what putting a prompt together takes, with passages and without.
    ``disturbed``: other processes were busy, so that seconds may be too many.
    """

    cpu_seconds: Rates | None
    seconds: Rates | None
    written: Mapping[Prompted, tuple[float, ...]]
    cached: Mapping[tuple[Any, ...], float]
    packing: Mapping[bool, Took]
    answers: int
    disturbed: bool
    lacking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderRates:
    """What embedding takes here: one question, and a token of many texts."""

    question: Took
    token: Took


def with_passages(configuration: Configuration) -> bool:
    """Whether passages can reach the prompt."""
    return plugin_name(configuration["retriever"]) != "none"


def static_key(configuration: Configuration) -> tuple[Any, ...]:
    """What the part of a prompt depends on that an engine keeps between answers."""
    fixed = configuration["examples"] if configuration["example_choice"] == "fixed" else 0
    return configuration["prompt"], fixed, with_passages(configuration)


def calibrate(
    candidates: Sequence[tuple[Configuration, float]],
    max_tokens: int,
    questions: Sequence[Question],
    pipeline: Pipeline,
    seed: int,
) -> ModelRates:
    """A model's rates from a few answers, with short prompts and long ones of every template.

    ``candidates`` are configurations of this one model that can run at once, with the tokens of their prompts.
    """
    answers: list[Answer] = []
    written: dict[Prompted, list[float]] = defaultdict(list)
    cached: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    packing: dict[bool, list[Reading]] = defaultdict(list)
    order = random.Random(seed).sample(list(questions), len(questions))  # noqa: S311 - a reproducible order, not a secret
    for configuration, count in _cells(candidates):
        run = Configuration({**configuration.axes, "max_tokens": max_tokens})
        pipeline.prepare(run)
        for question in order[:count]:
            answer = pipeline.answer(Task(configuration=run, question=question))
            if answer.failure is not None and answer.failure.kind == "infrastructure":
                continue
            answers.append(answer)
            generated = [cost for cost in answer.ledger.stages if cost.stage in GENERATION]
            tokens_out = [cost.reading.tokens_out for cost in generated if cost.reading.tokens_out is not None]
            written[run["prompt"], with_passages(run)] += [float(sum(tokens_out))] if tokens_out else []
            kept = [(cost.standalone or cost.reading).tokens_cached for cost in generated]
            cached[static_key(run)] += [float(each) for each in kept if each is not None]
            packing[with_passages(run)] += [cost.reading for cost in answer.ledger.stages if cost.stage == BASE_STAGE]
        order = order[count % len(order) :] + order[: count % len(order)]
    disturbed = len(generations(answers)) < FEWEST_ANSWERS
    used = [replace(answer, undisturbed=True) for answer in answers] if disturbed else answers
    return ModelRates(
        cpu_seconds=fit(generations(used)),
        seconds=fit(generations(used, "seconds")),
        written={key: tuple(values) for key, values in written.items() if values},
        cached={key: float(np.median(values)) for key, values in cached.items() if values},
        packing={key: took(readings) for key, readings in packing.items() if readings},
        answers=len(answers),
        disturbed=disturbed,
        lacking=lacking(generations(used)),
    )


def _cells(candidates: Sequence[tuple[Configuration, float]]) -> list[tuple[Configuration, int]]:
    """Configurations to answer with and how many questions each: of every prompt closed book, the shortest and the longest."""
    by_prompt: dict[str, list[tuple[Configuration, float]]] = defaultdict(list)
    for configuration, tokens in candidates:
        by_prompt[configuration["prompt"]].append((configuration, tokens))
    chosen: dict[str, list[Configuration]] = {}
    for prompt, found in by_prompt.items():
        found.sort(key=lambda pair: pair[1])
        closed = [configuration for configuration, _ in found if not with_passages(configuration)]
        others = [configuration for configuration, _ in found if with_passages(configuration)]
        chosen[prompt] = list(dict.fromkeys([*closed[:1], *others[:1], *others[len(others) // 2 :][:1], *others[-1:]]))
    wanted = min(max(FEWEST_ANSWERS, _PER_PROMPT * len(chosen)), _MOST_ANSWERS)
    counts: dict[Configuration, int] = defaultdict(int)
    turns = [iter(cycle(each)) for each in chosen.values()]
    for turn in islice(cycle(turns), max(wanted, len(chosen))):
        counts[next(turn)] += 1
    return [
        (configuration, counts[configuration])
        for each in chosen.values()
        for configuration in each
        if counts[configuration]
    ]


def searches(
    configurations: Sequence[Configuration],
    questions: Sequence[Question],
    pipeline: Pipeline,
    ready: Callable[[Configuration], bool],
) -> Callable[[Configuration], Took]:
    """What finding passages takes without any model, by configuration: some kinds are timed, others take their mean."""
    kinds: dict[str, Configuration] = {}
    for configuration in configurations:
        if with_passages(configuration):
            kinds.setdefault(_search_key(configuration), configuration)
    timed: dict[str, Took] = {}
    made_by: dict[str, str] = {}
    for key, configuration in kinds.items():
        kept = {axis: configuration[axis] for axis in _SEARCH_AXES}
        plain, _ = stand_in(Configuration({**kept, "model": "none"}), ready)
        made_by[key] = plain.id
        if plain.id not in timed and len(timed) < _SEARCHES:
            try:
                pipeline.prepare(plain)
            except InputError:  # it does not go with this corpus; the run leaves it out, too
                continue
            answers = [pipeline.answer(Task(configuration=plain, question=each)) for each in questions[:_QUESTIONS]]
            timed[plain.id] = took([standalone(answer.ledger) for answer in answers])
    mean = sum_of(list(timed.values())).times(1 / max(len(timed), 1))

    def search(configuration: Configuration) -> Took:
        return timed.get(made_by[_search_key(configuration)], mean) if with_passages(configuration) else NOTHING

    return search


def _search_key(configuration: Configuration) -> str:
    return repr([configuration[axis] for axis in _SEARCH_AXES])


def embedding(
    embedder: Embedder, questions: Sequence[str], texts: Sequence[str], count: Callable[[str], int], meter: Meter
) -> EmbedderRates:
    """What an embedder takes for a question and for a token of many texts; the first call, which loads, is not timed."""
    embedder.embed(list(questions[:1]))
    asked = [_timed(meter, partial(embedder.embed, [text])) for text in questions[:_QUESTIONS]]
    sample = list(texts[:: max(len(texts) // _TEXTS, 1)][:_TEXTS])
    read = _timed(meter, partial(embedder.embed, sample))
    return EmbedderRates(question=took(asked), token=took([read]).times(1 / max(sum(map(count, sample)), 1)))


def _timed(meter: Meter, work: Callable[[], Any]) -> Reading:
    started, mark = time.perf_counter(), meter.start()
    work()
    return meter.stop(mark) or Reading(seconds=time.perf_counter() - started)


def took(readings: Sequence[Reading]) -> Took:
    """The mean of readings, roughly; nothing where there are none, and no CPU-seconds (NaN) where nobody saw them."""
    if not readings:
        return NOTHING
    mean = scale(add(readings), 1 / len(readings))
    roughly = np.array([1 - _ROUGHLY, 1.0, 1 + _ROUGHLY])
    return Took(
        cpu_seconds=roughly * (np.nan if mean.cpu_seconds is None else mean.cpu_seconds), seconds=roughly * mean.seconds
    )


def sum_of(parts: Sequence[Took]) -> Took:
    """All of them together."""
    found = NOTHING
    for part in parts:
        found = found.plus(part)
    return found
