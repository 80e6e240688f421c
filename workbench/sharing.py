"""Work done once: what one configuration's answer searched, read and wrote serves the others that would do just the same.

What is reused is booked twice: as nothing, which is what was spent, and as it was first done, which is what it costs alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar, cast

from workbench.booking import BASE_STAGE, name_of
from workbench.contracts import Model
from workbench.errors import GenerationError
from workbench.ledger import add, split_generation
from workbench.records import Completion, Decoding, Passage, Prompt, Reading, StageCost, digest

_QUESTIONS_KEPT = 1024  # more than a round asks; of each question the work of all configurations

_Work = TypeVar("_Work")


class Call(NamedTuple):
    """What a generation depends on; ``prompt`` by its ``prompt_key``."""

    engine: str
    concurrency: int
    prompt: str
    decoding: Decoding
    repeat: int

    @property
    def reading(self) -> tuple[str, int, str]:
        """What reading the prompt depends on."""
        return self[:3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A question's ranking as it was found, or the model's failure that prevented it, with what it took."""

    configuration: str
    ranking: Sequence[Passage] = ()
    costs: tuple[StageCost, ...]
    error: GenerationError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a model returned to a call, or its failure, with the window that took (``None``: not read, or not yet).

    ``after`` is the part of it after the first token where the model said when that was there; ``window`` ends then.
    """

    configuration: str
    call: Call
    completion: Completion | None = None
    window: Reading | None = None
    after: Reading | None = None
    error: GenerationError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """How a prompt was read when least of it was in the engine's cache."""

    configuration: str
    reading: Reading
    tokens_cached: int
    seconds_to_first_token: float | None

    def spared(self, completion: Completion | None) -> bool:
        """Whether the engine had more of the prompt cached than at this reading, and so had it from here."""
        return completion is not None and (completion.tokens_cached or 0) > self.tokens_cached


class Memory:
    """Work by question and by what it depends on; the questions that were not asked for the longest are forgotten."""

    def __init__(self, questions: int = _QUESTIONS_KEPT) -> None:
        self._questions = questions
        self._lock = threading.Lock()
        self._of_question: OrderedDict[str, dict[tuple[type, Hashable], object]] = OrderedDict()

    def recall(self, kind: type[_Work], question: str, key: Hashable) -> _Work | None:
        """The work of this kind that is kept for a question under a key."""
        with self._lock:
            known = self._of_question.get(question)
            if known is None:
                return None
            self._of_question.move_to_end(question)
            return cast("_Work | None", known.get((kind, key)))

    def keep(self, question: str, key: Hashable, work: object) -> None:
        """Keep work in place of what was there under this key."""
        with self._lock:
            self._of_question.setdefault(question, {})[type(work), key] = work
            self._of_question.move_to_end(question)
            if len(self._of_question) > self._questions:
                self._of_question.popitem(last=False)


def without_frames(error: GenerationError) -> GenerationError:
    """An error that is kept for long, without the calls it came through and all that they held."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def prompt_key(prompt: Prompt) -> str:
    """What tells prompts apart: all their turns and the cue."""
    return digest(prompt.cue, *(part for message in prompt.messages for part in (message.role, message.content)))


# --------------------------------------------------------------------------------------------------------- the books


class Booked(NamedTuple):
    """Stages for an answer's ledger, what people are told of those that it reused, and the first token's time alone."""

    costs: tuple[StageCost, ...] = ()
    notes: tuple[str, ...] = ()
    seconds_to_first_token: float | None = None


def book_search(search: Search, asking: str) -> Booked:
    """A search in the books of the configuration that asks."""
    if search.configuration == asking:
        return Booked(search.costs)
    return _reused(search.costs, search.configuration, "same retriever and question")


def book_call(
    memory: Memory,
    question: str,
    asking: str,
    generation: Generation,
    model: Model,
    static_tokens: int | None,
    *,
    here: bool,
    keep: bool,
) -> Booked:
    """A call of the model in the books of the configuration that asks; ``keep`` it for others where it was done anew.

    ``here`` says whether the meter's clocks have the model's work.
    """
    known = memory.recall(Prefill, question, generation.call.reading)
    first = known if known is not None and known.spared(generation.completion) else None
    booked = _book_generation(generation, asking, model, static_tokens, first, here=here)
    if generation.configuration == asking:
        if keep:
            memory.keep(question, generation.call, generation)
        read = _read_by(generation, booked.costs)
        if read is not None and (known is None or read.tokens_cached < known.tokens_cached):
            memory.keep(question, generation.call.reading, read)
    return booked


def _book_generation(
    generation: Generation, asking: str, model: Model, static_tokens: int | None, first: Prefill | None, *, here: bool
) -> Booked:
    """``static_tokens`` of the prompt are its static prefix; ``first`` is the reading of it that the engine's cache held."""
    window, completion = generation.window, generation.completion
    first_token = None if completion is None else (first or completion).seconds_to_first_token
    if window is None:
        return Booked(seconds_to_first_token=first_token)
    costs: tuple[StageCost, ...] = (failed_call(window, generation.after, here=here),)
    if completion is not None:
        costs = split_generation(
            window,
            completion,
            runs_here=here,
            static_tokens=static_tokens,
            model=name_of(model),
            first=None if first is None else first.reading,
            after=generation.after,
        )
    if generation.configuration != asking:
        reused = _reused(costs, generation.configuration, "same prompt and decoding")
        return reused._replace(seconds_to_first_token=first_token)
    return Booked(costs, tuple(_cached(cost, first) for cost in costs if cost.standalone is not None), first_token)


def failed_call(window: Reading, after: Reading | None, *, here: bool) -> StageCost:
    """The stage of a call that failed; what it took elsewhere nobody knows."""
    window = window if after is None else add((window, after))
    return StageCost(stage="generate", reading=window if here else replace(window, cpu_seconds=None))


def _read_by(generation: Generation, costs: Iterable[StageCost]) -> Prefill | None:
    """How a generation's prompt was read, where its engine says how much of it was cached."""
    completion = generation.completion
    reading = next((cost.reading for cost in costs if cost.stage == "prefill"), None)
    if completion is None or completion.tokens_cached is None or reading is None:
        return None
    return Prefill(
        configuration=generation.configuration,
        reading=reading,
        tokens_cached=completion.tokens_cached,
        seconds_to_first_token=completion.seconds_to_first_token,
    )


def merged(costs: Iterable[StageCost]) -> tuple[StageCost, ...]:
    """Costs of the same stage added up, in the order the stages were first met."""
    parts: dict[str, list[StageCost]] = {}
    for cost in costs:
        parts.setdefault(cost.stage, []).append(cost)
    return tuple(same[0] if len(same) == 1 else _sum(same) for same in parts.values())


def _sum(costs: Sequence[StageCost]) -> StageCost:
    alone = None
    if any(cost.standalone is not None for cost in costs):
        alone = add(cost.standalone or cost.reading for cost in costs)
    return StageCost(stage=costs[0].stage, reading=add(cost.reading for cost in costs), standalone=alone)


def _cached(cost: StageCost, first: Prefill | None) -> str:
    said = f"{cost.stage}: {cost.reading.tokens_cached} cached prompt tokens"
    if first is not None:
        return f"{said}, alone as for {first.configuration}, same prompt"
    return f"{said}, {0 if cost.standalone is None else cost.standalone.tokens_cached} of them its own prefix"


def _reused(costs: Sequence[StageCost], configuration: str, same: str) -> Booked:
    """Stages that are not run again: nothing spent, and alone what they took; the time between stages needs no word."""
    found = []
    for cost in costs:
        alone = cost.standalone or cost.reading
        found.append(StageCost(stage=cost.stage, reading=_nothing_of(alone), standalone=alone))
    notes = (f"{cost.stage}: as for {configuration}, {same}" for cost in costs if cost.stage != BASE_STAGE)
    return Booked(tuple(found), tuple(notes))


def _nothing_of(reading: Reading) -> Reading:
    """No time and no energy, and no tokens of those that the reading counts."""
    return Reading(
        seconds=0.0,
        cpu_seconds=0.0,
        tokens_in=None if reading.tokens_in is None else 0,
        tokens_cached=None if reading.tokens_cached is None else 0,
        tokens_out=None if reading.tokens_out is None else 0,
    )
