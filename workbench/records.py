"""Every noun of the product, frozen; the whole of it can be read from here.

Units are in the names: ``seconds``, ``cpu_seconds``, ``joules``, ``tokens``. A quantity that was not measured is ``None``, never 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import to_json

# ----------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of a corpus."""

    id: str
    title: str = ""
    text: str


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
    """One question with its accepted answers and the documents that hold them (``None``: not known)."""

    id: str
    question: str
    answers: tuple[str, ...] = ()
    evidence: tuple[str, ...] | None = None
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

DEFAULT_AXES: dict[str, Any] = {
    "model": "none",
    "prompt": "terse",
    "temperature": 0,
    "top_k": 40,
    "top_p": 1.0,
    "repeat_penalty": 1.0,
    "max_tokens": 32,
    "stop": [],
    "retriever": "bm25",
    "embedder": "embedded:minilm-l6",
    "index": "Flat",
    "chunker": "tokens",
    "chunk_tokens": 128,
    "chunk_overlap": 0,
    "passages": 3,
    "rerank": "none",
    "context_tokens": 1024,
    "concurrency": 1,
}
"""Every axis of a configuration, in the order they are shown, with its default."""

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

    @property
    def label(self) -> str:
        """A short name for people: model, prompt, retrieval, and whatever else is not at its default."""
        model = plugin_label(self["model"])
        parts = ["no model"] if model == "none" else [model.removeprefix("embedded:"), str(self["prompt"])]
        retriever = plugin_label(self["retriever"])
        if retriever == "none":
            parts.append("closed book")
        else:
            parts.append(retriever if model == "none" else f"{retriever} {self['passages']}p")
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
    """A choice or value as one short text: ``hybrid(weight=0.5)``."""
    if isinstance(choice, dict):
        parameters = ", ".join(f"{key}={value}" for key, value in choice.items() if key != "name")
        return f"{choice['name']}({parameters})" if parameters else str(choice["name"])
    return str(choice)


# --------------------------------------------------------------------------------------------- retrieval and models


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a document: ``document.text[start:end] == text``."""

    id: str
    document_id: str
    start: int
    end: int
    text: str
    title: str = ""


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
    """How tokens are chosen; ``None`` leaves the model's own default."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repeat_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model returned. Token counts come from the engine or provider, never from the text; unknown is ``None``."""

    text: str
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None
    seconds_to_first_token: float | None = None
    prefill_seconds: float | None = None
    decode_seconds: float | None = None
    finish_reason: str = ""


# ---------------------------------------------------------------------------------------------------------- ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was observed over a window, in quantities and never in joules.

    ``seconds`` is wall time; ``cpu_seconds`` the share of this process's CPU clock; ``shared`` says that the window
    overlapped others and the clock was divided among them; ``foreign_load`` is the CPU that other processes used
    meanwhile, in busy vCPUs.
    """

    seconds: float
    cpu_seconds: float | None = None
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None
    foreign_load: float | None = None
    shared: bool = False


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """What turns readings into joules on one machine: watts per busy vCPU with range, the processor family, the source."""

    processor: str
    watts_per_busy_vcpu: tuple[float, float, float]
    source: str
    includes: str


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

    ``passages`` are those that reached the prompt; ``retrieved`` the ranking of distinct document ids behind them
    (``None``: closed book, nothing was searched);
    ``prompt`` what was sent, as text. ``reused`` names work taken from an earlier answer. ``undisturbed`` is false
    where another process kept the processors busy meanwhile; ``attempts`` counts retries of infrastructure failures, whose
    time is not in the ledger.
    """

    configuration: str
    question: str
    repeat: int = 0
    text: str = ""
    citations: tuple[int, ...] = ()
    passages: tuple[Passage, ...] = ()
    retrieved: tuple[str, ...] | None = None
    prompt: str = ""
    finish_reason: str = ""
    seconds: float = 0.0
    seconds_to_first_token: float | None = None
    ledger: Ledger = Ledger()
    reused: tuple[str, ...] = ()
    undisturbed: bool = True
    attempts: int = 1
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A metric's value in 0..1, or ``None`` with the reason it does not apply."""

    metric: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """An answer with its scores: what a run stores."""

    answer: Answer
    scores: tuple[Score, ...]


TrialState = Literal["racing", "finished", "incomplete", "eliminated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A configuration within a run: how far it got, and why it stopped if it did."""

    configuration: Configuration
    state: TrialState = "racing"
    reason: str = ""


def as_json(record: Any) -> str:
    """A record, or any mapping or list of records, as compact JSON."""
    return to_json(record).decode()
