"""What an extender implements: one file in the matching folder offering ``build(...)``.

The keyword-only signature of ``build`` is the plugin's parameter schema; the first line of its docstring is its description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workbench.records import (
    Answer,
    Chunk,
    Completion,
    Configuration,
    Corpus,
    Decoding,
    Document,
    IndexFacts,
    OneOff,
    Passage,
    PluginChoice,
    Prompt,
    Question,
    Reading,
    Score,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workbench.specification import Goal


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a model's file tells before the model is loaded, by an optional ``facts(...)`` beside ``build(...)``."""

    accepts: frozenset[str]
    style: Literal["chat", "text"]
    runs_here: bool
    digest: str


class Model(Protocol):
    """Turns a prompt into a completion; raises ``ModelFailure`` or ``InfrastructureFailure``, nothing else.

    One that runs elsewhere may have a ``name``, under which its tokens are booked and priced; without one its digest serves.
    """

    accepts: frozenset[str]
    """The decoding settings that reach it, by the field names of ``Decoding``."""
    style: Literal["chat", "text"]
    """``chat`` models take messages, ``text`` models (base models) continue raw text."""
    runs_here: bool
    """Whether its work is done by this process, so that the process's CPU clock sees it."""
    digest: str
    """Identifies weights and engine build; answers of different digests are never mixed."""

    def generate(self, prompt: Prompt, decoding: Decoding) -> Completion: ...
    def stream(self, prompt: Prompt, decoding: Decoding) -> Iterator[str | Completion]: ...
    def count_tokens(self, text: str) -> int: ...
    def close(self) -> None: ...


class Chunker(Protocol):
    """Cuts a document into chunks with exact offsets: ``document.text[start:end] == chunk.text``."""

    def split(self, document: Document) -> Sequence[Chunk]: ...


class Embedder(Protocol):
    """Turns texts into an array of shape (texts, dimensions), float32, each row of unit length."""

    digest: str

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class EmbedderOf(Protocol):
    """An embedder by name, built once and shared; without a name the configuration's own (its axis ``embedder``)."""

    def __call__(self, choice: PluginChoice | None = None) -> Embedder: ...


class ModelOf(Protocol):
    """A model by name, built once and shared; without a name the configuration's own (its axis ``model``)."""

    def __call__(self, choice: PluginChoice | None = None) -> Model: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What rerankers and compressors are built from, ``build(tools, *, parameters)``: other plugins, on demand."""

    embedder: EmbedderOf
    model: ModelOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources(Tools):
    """What a retriever is built from: ``build(sources, *, parameters)``.

    ``folder`` is an empty folder for this index or one that the same plugin filled before (look for its own files);
    ``None`` keeps the index in memory. ``retriever`` builds another one on demand, shared with whoever else asks.
    ``question`` looks a question of the evaluation set up by its text, for bounds that know the gold.
    """

    corpus: Corpus
    chunks: Sequence[Chunk]
    index: str
    precision: str
    context_tokens: int
    folder: Path | None
    retriever: Callable[[PluginChoice], Retriever]
    question: Callable[[str], Question | None]


class Retriever(Protocol):
    """Ranks passages for a question, best first, at most ``depth`` of them."""

    def search(self, question: str) -> Sequence[Passage]: ...


class Reranker(Protocol):
    """Puts passages into a better order for a question; the pipeline hands it the first ``rerank_depth`` of the ranking."""

    def rerank(self, question: str, passages: Sequence[Passage]) -> Sequence[Passage]: ...


class Compressor(Protocol):
    """Shortens passages to what matters for a question, within a budget of tokens; a passage may vanish."""

    def compress(
        self, question: str, passages: Sequence[Passage], budget: int, count_tokens: Callable[[str], int]
    ) -> Sequence[Passage]: ...


class Metric(Protocol):
    """Scores one answer from 0 to 1; ``None`` with a reason where the metric does not apply."""

    name: str
    judges: Literal["answer", "retrieval"]
    """What it looks at: a model's failure scores 0 in metrics of answers and changes nothing in metrics of retrieval.

    A metric whose values are a count instead of 0 to 1 says so with ``unit`` (``words``); it cannot decide a choice.
    """

    def score(self, question: Question, answer: Answer) -> Score: ...


class Meter(Protocol):
    """Observes a window of work. ``stop`` returns ``None`` where nothing could be observed."""

    name: str

    def start(self) -> Any: ...
    def stop(self, mark: Any) -> Reading | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """What a strategy decides on: arrays of shape (configurations, questions), questions in the order they are asked.

    ``answered`` is true where an answer of any kind is stored; ``scores`` (of the deciding metric), ``costs`` (standalone,
    in what the goal minimises) and ``seconds`` (of undisturbed answers) are NaN where nothing is known.
    ``expected_costs`` is one guess per configuration from before anything ran, of which only the order means anything;
    ``closed`` marks configurations that cannot be asked any further, ``incomplete`` those with answers that were lost to
    infrastructure failures: out of any choice until they are mended.
    """

    configurations: Sequence[Configuration]
    answered: NDArray[np.bool_]
    scores: NDArray[np.float64]
    costs: NDArray[np.float64]
    seconds: NDArray[np.float64]
    expected_costs: NDArray[np.float64]
    closed: NDArray[np.bool_]
    incomplete: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a strategy wants next: cells (configuration, question) as a set, which the run puts into a sensible order.

    ``out`` are configurations that are out for good, each with its reason; ``said`` is one line on where the search stands.
    """

    cells: Sequence[tuple[int, int]]
    out: Mapping[int, str] = field(default_factory=dict)
    said: str = ""


class Strategy(Protocol):
    """Chooses what to ask next from what is stored: same answers, same decision.

    ``None`` means that there is nothing more to ask. What a strategy keeps between two calls may only be a cache of what
    it would decide anew.
    """

    def propose(self, standings: Standings, goal: Goal, seed: int) -> Round | None: ...


class Worker(Protocol):
    """Answers tasks with models and indexes of its own; a ``Pipeline`` is one.

    ``prepare`` comes before the first task of a configuration, and when no task is under way.
    """

    def prepare(self, configuration: Configuration) -> None: ...
    def index_facts(self, configuration: Configuration) -> IndexFacts | None: ...
    def answer(self, task: Any) -> Answer: ...
    def close(self) -> None: ...


class WorkerFactory(Protocol):
    """Makes a worker in whatever process calls it; holds plain records only, so that it can be sent to another machine.

    ``meter`` names the meter that a process of the executor's own is to build. ``record`` is given every piece of one-off
    work with its reading, ``report`` hears what long work is about.
    """

    @property
    def meter(self) -> PluginChoice: ...
    def __call__(self, meter: Meter, record: Callable[[OneOff], None], report: Callable[[str], None]) -> Worker: ...


class Workers(Protocol):
    """Workers that are up. ``run`` yields the answers to tasks of the configuration prepared last, as they come.

    Each worker has at most ``concurrency`` tasks under way. ``record`` and ``report`` are called in the caller's thread
    only, by ``close`` at the latest.
    """

    runs_here: bool
    """Whether their work is done by this process, so that its CPU clock sees it."""

    @property
    def hosts(self) -> Sequence[Mapping[str, Any]]: ...
    def prepare(self, configuration: Configuration) -> None: ...
    def index_facts(self, configuration: Configuration) -> IndexFacts | None: ...
    def run(self, tasks: Iterable[Any], concurrency: int) -> Iterator[Answer]: ...
    def close(self) -> None: ...


class Executor(Protocol):
    """Says where tasks run: ``start`` makes workers there. ``meter`` is the one of this process."""

    def start(
        self,
        make: WorkerFactory,
        *,
        meter: Meter,
        record: Callable[[OneOff], None],
        report: Callable[[str], None],
    ) -> Workers: ...
