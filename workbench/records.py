"""Every noun of the product, frozen; the whole of it can be read from here.

Units are in the names: ``seconds``, ``cpu_seconds``, ``joules``, ``tokens``. A quantity that was not measured is ``None``, never 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic_core import to_json

# ----------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of a corpus."""

    id: str
    title: str = ""
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Span(NamedTuple):
    """A place in a document: ``text[start:end]``, in characters."""

    document_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Documents with where they come from; ``digest`` changes when any identifier, title or text does."""

    name: str
    documents: tuple[Document, ...]
    title: str = ""
    licence: str = ""
    source: str = ""
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question with its accepted answers and the documents that hold them (``None``: not known).

    ``grades`` says how relevant each document of ``evidence`` is (empty: all the same); ``spans`` are the very places that
    hold the answer, where they are known, which judge chunks of any size alike.
    """

    id: str
    question: str
    answers: tuple[str, ...] = ()
    evidence: tuple[str, ...] | None = None
    grades: tuple[float, ...] = ()
    spans: tuple[Span, ...] = ()
    answerable: bool = True
    split: str = "dev"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSet:
    """Questions over one corpus."""

    name: str
    questions: tuple[Question, ...]
    corpus: str = ""
    title: str = ""
    licence: str = ""
    source: str = ""
    digest: str


def digest(*parts: str | bytes) -> str:
    """Content digest of the parts, in order, as 32 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


# -------------------------------------------------------------------------------------------------- configuration

DECODING_AXES = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "max_tokens", "stop")
"""The axes that change how an answer is written and not what the model is given to read."""

DEFAULT_AXES: dict[str, Any] = {
    "model": "none",
    "prompt": "terse",
    "examples": 0,
    "example_choice": "fixed",
    "temperature": 0,
    "top_k": 40,
    "top_p": 1.0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "max_tokens": 32,
    "stop": [],
    "retriever": "bm25",
    "min_score": None,
    "embedder": "embedded:minilm-l6",
    "dimensions": None,
    "precision": "float32",
    "index": "Flat",
    "chunker": "tokens",
    "chunk_tokens": 128,
    "chunk_overlap": 0,
    "passages": 3,
    "rerank": "none",
    "rerank_depth": 20,
    "deduplicate": False,
    "order": "best_first",
    "compress": "none",
    "context_tokens": 1024,
    "concurrency": 1,
}
"""Every axis of a configuration, in the order they are shown, with its default."""

AXIS_HELP: dict[str, str] = {
    "model": "who writes the answer; none takes the best sentence of the best passage",
    "prompt": "a template by name or path",
    "examples": "how many worked examples stand before the question, taken from the split dev",
    "example_choice": "fixed: the same for every question; nearest: those most like it",
    "temperature": "0 always takes the likeliest token",
    "top_k": "sample among so many tokens",
    "top_p": "sample among the likeliest tokens that hold so much probability",
    "min_p": "leave out tokens less likely than this share of the likeliest",
    "repeat_penalty": "1 is none",
    "max_tokens": "the longest answer, in tokens",
    "stop": "texts that end an answer",
    "retriever": "who finds passages; none is closed book",
    "min_score": "leave out passages that score lower, in the retriever's own scale",
    "embedder": "who turns texts into vectors",
    "dimensions": "keep only the first so many dimensions of a vector",
    "precision": "how vectors are kept: float32, int8 or binary",
    "index": "any FAISS factory string",
    "chunker": "how documents are cut",
    "chunk_tokens": "the longest chunk, in tokens of o200k",
    "chunk_overlap": "tokens that a chunk shares with the one before",
    "passages": "how many passages go into the prompt",
    "rerank": "who puts the ranking into a better order",
    "rerank_depth": "how much of the ranking the reranker sees",
    "deduplicate": "leave out passages that say nearly the same again",
    "order": "best_first or best_last in the prompt",
    "compress": "who shortens the passages to what matters",
    "context_tokens": "the budget the passages must fit in, in tokens of the model",
    "concurrency": "answers under way at once",
}
"""What each axis sets, in one line for people."""

ALL_PASSAGES = 0
"""The value of ``passages`` where a retriever's whole finding goes into the prompt."""

PluginChoice = str | dict[str, Any]
"""A plugin by name (``bm25``, ``embedded:smollm2-135m``), or ``{name: …, parameter: value}``."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the search space.

    ``axes`` holds what matters for this point (an axis without effect is left out); ``fingerprints`` what its meaning
    depends on beyond names: the prompt's text, the model's digest, the plugins' versions. ``id`` is a hash of both.
    """

    axes: Mapping[str, Any]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            shown = {name: value for name, value in self.axes.items() if value != DEFAULT_AXES.get(name)}
            canonical = json.dumps([shown, dict(self.fingerprints)], sort_keys=True, ensure_ascii=False)
            object.__setattr__(self, "id", digest(canonical)[:10])

    def __getitem__(self, axis: str) -> Any:
        return self.axes[axis] if axis in self.axes else DEFAULT_AXES[axis]

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and other.id == self.id

    def repeats(self, wanted: int) -> int:
        """How often a question is asked, if ``wanted`` times: repeats add nothing where decoding is deterministic."""
        return wanted if self["temperature"] > 0 else 1

    @property
    def is_bound(self) -> bool:
        """Whether it knows the gold: a bound for the others, shown beside them, that nobody can deploy."""
        return plugin_name(self["retriever"]) == "oracle"

    @property
    def label(self) -> str:
        """A short name for people: model, prompt, retrieval, and whatever else is not at its default."""
        model = plugin_label(self["model"])
        parts = ["no model"] if model == "none" else [model.removeprefix("embedded:"), str(self["prompt"])]
        retriever = plugin_label(self["retriever"])
        if retriever == "none":
            parts.append("closed book")
        else:
            counted = model != "none" and self["passages"] != ALL_PASSAGES
            parts.append(f"{retriever} {self['passages']}p" if counted else retriever)
        named = {"model", "prompt", "retriever", "passages"}
        parts += [
            f"{axis}={plugin_label(value)}"
            for axis, value in self.axes.items()
            if axis not in named and value != DEFAULT_AXES.get(axis)
        ]
        return " · ".join(parts)


def plugin_name(choice: PluginChoice) -> str:
    """The plugin's name in a choice."""
    return choice if isinstance(choice, str) else str(choice["name"])


def plugin_label(choice: Any) -> str:
    """A choice or value as one short text: ``hybrid(weight=0.5)``, ``judge(model=openai:gpt-4.1-nano)``."""
    if isinstance(choice, dict) and "name" in choice:
        parameters = ", ".join(f"{key}={plugin_label(value)}" for key, value in choice.items() if key != "name")
        return f"{choice['name']}({parameters})" if parameters else str(choice["name"])
    return str(choice)


# --------------------------------------------------------------------------------------------- retrieval and models


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a document: ``document.text[start:end] == text``, for the chunk and for its ``parent``.

    A ``parent`` is the wider piece that reaches the prompt in place of the chunk that was found (small to big).
    """

    id: str
    document_id: str
    start: int
    end: int
    text: str
    title: str = ""
    parent: Chunk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk that a retriever found, with its score and its rank from 1."""

    chunk: Chunk
    score: float
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is given: messages for chat models; for text models the messages' text and the cue it continues."""

    messages: tuple[Message, ...]
    cue: str = ""

    @property
    def text(self) -> str:
        """The prompt as raw text: turns separated by blank lines, each assistant turn after its cue, the open cue last."""
        parts = [
            f"{self.cue} {message.content}".strip() if message.role == "assistant" else message.content
            for message in self.messages
        ]
        return "\n\n".join([*parts, self.cue]) if self.cue else "\n\n".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How tokens are chosen; ``None`` leaves the model's own default. ``logprobs`` asks for so many candidates of the first token."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repeat_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    min_p: float | None = None
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model returned. Token counts come from the engine or provider, never from the text; unknown is ``None``.

    ``logprobs`` maps candidates for the first token to their natural logarithms of probability, where they were asked for.
    """

    text: str
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None
    seconds_to_first_token: float | None = None
    prefill_seconds: float | None = None
    decode_seconds: float | None = None
    finish_reason: str = ""
    logprobs: Mapping[str, float] | None = None


# ---------------------------------------------------------------------------------------------------------- ledger


IDLE = "-idle"
"""What ends the name of the part of a domain's joules that the machine draws with nothing to do: ``package-0-idle``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was observed over a window, in quantities and never in joules.

    ``seconds`` is wall time; ``cpu_seconds`` the share of this process's CPU clock; ``shared`` says that the window
    overlapped others and the clock was divided among them; ``foreign_load`` is the CPU that other processes used
    meanwhile, in busy vCPUs. ``counter_joules`` is what energy counters said by domain (``package-0``, ``dram-0``,
    ``gpu-0``), ``None`` without any; ``gpu_busy_seconds`` the utilisation of GPUs × time, where they have no counter;
    ``elsewhere`` the prompt, cached (of the prompt) and output tokens of models that run on other machines, by model.
    ``cpu_seconds`` is ``None`` where some of the work was seen by nobody: then nothing of the reading has a price.
    ``idle_vcpu_seconds`` are those that nobody used meanwhile, where the meter was told to charge them (``None``: it was not).
    """

    seconds: float
    cpu_seconds: float | None = None
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None
    foreign_load: float | None = None
    shared: bool = False
    counter_joules: Mapping[str, float] | None = None
    gpu_busy_seconds: float | None = None
    elsewhere: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    idle_vcpu_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules with their range and how they are known. ``shared``: allocated from a window that others used too."""

    low: float
    central: float
    high: float
    source: Literal["counter", "cpu_time", "utilisation", "modelled"]
    shared: bool = False
    includes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """One stage of one answer. ``standalone`` is set where the execution reused work, and is the reading without that reuse."""

    stage: str
    reading: Reading
    standalone: Reading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The stages of one answer, in the order they ran."""

    stages: tuple[StageCost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOff:
    """Work done once for many answers (loading a model, chunking, indexing): its own ledger, never silently amortised."""

    work: str
    what: str
    reading: Reading
    configurations: tuple[str, ...] = ()


HARNESS = "harness"
"""The one-off work that is the run loop's own: loop, scoring, storing; its seconds are the run's."""


Triple = tuple[float, float, float]
"""Low, central and high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedCoefficients:
    """What turns a hosted model's tokens into joules of its servers, each as low, central, high; cooling is not included.

    A token of the prompt costs ``joules_per_prompt_token``, one that the provider had cached
    ``joules_per_cached_token``. ``active_billion`` and ``total_billion`` are the parameters that were assumed.
    What EcoLogits says stands beside it as low and high: ``ecologits_joules_per_output_token`` at the same boundary,
    ``embodied_grams_per_output_token`` (CO2e of making the hardware), ``water_litres_per_output_token`` (of cooling
    and of the provider's usual grid); ``None`` where it does not know the model. ``libraries`` are the versions of what
    was asked, ``notes`` what a reader must know of this model.
    """

    model: str
    joules_per_prompt_token: Triple
    joules_per_cached_token: Triple
    joules_per_output_token: Triple
    active_billion: float
    total_billion: float
    ecologits_joules_per_output_token: tuple[float, float] | None = None
    embodied_grams_per_output_token: tuple[float, float] | None = None
    water_litres_per_output_token: tuple[float, float] | None = None
    source: str
    includes: str
    libraries: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """What turns readings into joules: watts per busy vCPU with range, the processor family, the source.

    ``watts_per_busy_gpu`` prices GPUs without a counter by their utilisation (``None``: not known here),
    ``watts_per_idle_vcpu`` vCPUs that nobody used, where a meter charges them; ``hosted`` the models that run on other
    machines, by the name that readings give them; ``not_estimated`` says of the others why not. ``digest`` changes when any
    figure does.
    """

    processor: str
    watts_per_busy_vcpu: Triple
    source: str
    includes: str
    watts_per_busy_gpu: Triple | None = None
    hosted: Mapping[str, HostedCoefficients] = field(default_factory=dict)
    not_estimated: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    watts_per_idle_vcpu: Triple | None = None


# --------------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no proper answer: ``model`` failures score 0, ``infrastructure`` failures leave the trial incomplete."""

    kind: Literal["model", "infrastructure"]
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question through one configuration.

    ``passages`` are those that reached the prompt; ``retrieved`` the ranking they were taken from, as places in documents,
    best first (``None``: closed book, nothing was searched);
    ``prompt`` what was sent, as text; ``completion`` what the model returned, where ``text`` was only read out of it.
    ``reused`` names work taken from an earlier answer. ``undisturbed`` is false where another process kept the processors
    busy meanwhile; ``attempts`` counts retries of infrastructure failures, whose time is not in the ledger.
    """

    configuration: str
    question: str
    repeat: int = 0
    text: str = ""
    completion: str = ""
    citations: tuple[int, ...] = ()
    passages: tuple[Passage, ...] = ()
    retrieved: tuple[Span, ...] | None = None
    prompt: str = ""
    finish_reason: str = ""
    seconds: float = 0.0
    seconds_to_first_token: float | None = None
    ledger: Ledger = Ledger()
    reused: tuple[str, ...] = ()
    undisturbed: bool = True
    attempts: int = 1
    failure: Failure | None = None


def ranked_documents(answer: Answer) -> tuple[str, ...]:
    """The distinct documents of an answer's ranking, best first; empty for closed book."""
    return tuple(dict.fromkeys(place.document_id for place in answer.retrieved or ()))


CORRECT_FROM = 0.5
"""An answer counts as correct from this value of the deciding metric on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A metric's value (in 0..1 unless the metric says that it is a count), or ``None`` with the reason it does not apply."""

    metric: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """An answer with its scores: what a run stores. ``loss`` says where a wrong answer was lost, by its name in ``losses``."""

    answer: Answer
    scores: tuple[Score, ...]
    loss: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFacts:
    """What is known of the index a configuration searches.

    ``build`` is what cutting, embedding and indexing would take from nothing, whether or not it was shared or cached;
    ``recall`` the share of the exact ten nearest passages that an approximate index finds (``None``: nothing approximate).
    """

    chunks: int
    bytes: int | None = None
    recall: float | None = None
    build: Reading | None = None


TrialState = Literal["racing", "finished", "incomplete", "eliminated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A configuration within a run: how far it got, why it stopped if it did, and what it was expected to cost.

    Of expected costs only the order means anything.
    """

    configuration: Configuration
    state: TrialState = "racing"
    reason: str = ""
    index: IndexFacts | None = None
    expected_cost: float = 0.0


def as_json(record: Any) -> str:
    """A record, or any mapping or list of records, as compact JSON."""
    return to_json(record).decode()
