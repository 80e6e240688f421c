"""One question through one configuration: retrieve → pack → render → generate → Answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from workbench import registry, templates
from workbench.booking import Recorder, sees, stage
from workbench.contracts import Compressor, Meter, Model, ModelOf, Reranker, Retriever
from workbench.cutoff import DEEPEST
from workbench.engines import Engines
from workbench.errors import GenerationError, InfrastructureFailure, ModelFailure
from workbench.examples import Examples
from workbench.index import Indexes
from workbench.packing import best_sentence, distinct, pack
from workbench.records import (
    ALL_PASSAGES,
    Answer,
    Completion,
    Configuration,
    Corpus,
    Decoding,
    Failure,
    IndexFacts,
    Ledger,
    OneOff,
    Passage,
    PluginChoice,
    Prompt,
    Question,
    Reading,
    Span,
    StageCost,
    digest,
    plugin_name,
)
from workbench.retrievers._ranking import Ranking
from workbench.sharing import (
    Booked,
    Call,
    Generation,
    Memory,
    Search,
    book_call,
    book_search,
    failed_call,
    merged,
    prompt_key,
    without_frames,
)
from workbench.templates import Example, Template

_DEEPEST_BACKOFF = 30.0  # seconds
_LONGEST_MESSAGE = (
    600  # characters of a failure's message that are kept; cut after secrets are blanked, never through one
)
_BUSY_NEIGHBOUR = 0.1 * (os.cpu_count() or 1)  # busy vCPUs: windows with more foreign load are flagged
_TEXT_STOP = ("\n\n",)  # turns of a text prompt are separated by blank lines; a base model would go on with the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One answer to be made."""

    configuration: Configuration
    question: Question
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class _Parts:
    """What answers one configuration's questions."""

    retriever: Retriever | None
    reranker: Reranker | None
    compressor: Compressor | None
    model: Model | None
    template: Template | None
    engine: str = ""
    static_tokens: int | None = None
    prefix_lost: bool = False
    """Other calls come between those of the answers, so that of a prompt nothing is cached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A question made ready: its prompt (``None`` without a model), the passages in it, and the ranking they were taken
    from, as places in documents (``None``: closed book)."""

    prompt: Prompt | None
    passages: tuple[Passage, ...]
    ranking: tuple[Span, ...] | None


class Pipeline:
    """Answers tasks; models and indexes are built once each and shared by the configurations that name them.

    ``prepare`` must be called, from one thread, before the first task of a configuration and whenever another
    configuration has used the same engine since. ``record`` receives every piece of one-off work; ``questions`` are those of
    the evaluation set: what bounds that know the gold look up, and, of its split ``dev``, what worked examples are taken from.
    An answer keeps the first ``ranking_depth`` places of its ranking. ``report`` hears what long work is about.
    ``hear`` is given a model's text in pieces while it is made; then nothing that another configuration did is reused.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        meter: Meter,
        record: Callable[[OneOff], None],
        cache: Path | None,
        questions: Sequence[Question] = (),
        ranking_depth: int = DEEPEST,
        seed: int = 0,
        timeout_seconds: float = 60.0,
        retries: int = 3,
        report: Callable[[str], None] = lambda doing: None,
        hear: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._meter = meter
        self._seed = seed
        self._retries = retries
        self._sleep = sleep
        self._hear = hear
        self._ranking_depth = ranking_depth
        self._examples = Examples([question for question in questions if question.split == "dev"], seed)
        self._engines = Engines(meter, record, timeout_seconds)
        known = {question.question: question for question in questions}
        self._indexes = Indexes(corpus, cache, record, meter, model=self._model_of, question=known.get, report=report)
        self._parts: dict[str, _Parts] = {}
        self._memory = Memory()

    def close(self) -> None:
        """Stop the engines."""
        self._engines.close()
        self._parts.clear()

    def prepare(self, configuration: Configuration) -> None:
        """Load what a configuration needs and warm its engine up: its static prompt prefix cached, nothing of it counted."""
        parts = self._parts.get(configuration.id) or self._gather(configuration)
        if parts.model is not None and parts.template is not None and parts.model.runs_here:
            fixed = configuration["examples"] if configuration["example_choice"] == "fixed" else 0
            static_tokens = self._engines.warm_up(
                parts.engine,
                parts.template,
                self._examples.fixed(fixed, ""),
                configuration["concurrency"],
                with_passages=parts.retriever is not None,
            )
            # Where other calls share the model's cache, the prefix is lost between answers in any deployment, too.
            lost = _asks_more_than_once(configuration)
            parts = replace(parts, static_tokens=None if lost else static_tokens, prefix_lost=lost)
        self._parts[configuration.id] = parts

    def index_facts(self, configuration: Configuration) -> IndexFacts | None:
        """What is known of the index of a prepared configuration; ``None`` for closed book."""
        return self._indexes.facts(configuration)

    def answer(self, task: Task) -> Answer:
        """The answer to a task; infrastructure failures are tried again with growing pauses, then recorded."""
        for attempt in range(self._retries + 1):
            answer, failure = self._attempt(task, attempt + 1)
            if failure is None or failure.permanent or attempt == self._retries:
                break
            pause = failure.retry_after if failure.retry_after is not None else 2.0**attempt
            self._sleep(min(pause, _DEEPEST_BACKOFF))
        return answer

    def render(self, configuration: Configuration, question: Question) -> Rendered:
        """A question up to what the model is given: retrieve → threshold → rerank → deduplicate → compress → pack → order."""
        parts = self._parts[configuration.id]
        found = (
            None
            if parts.retriever is None
            else self._retrieve(configuration, parts, parts.retriever, question.question)
        )
        return self._rendered(configuration, parts, question.question, found)

    def _rendered(
        self, configuration: Configuration, parts: _Parts, question: str, found: Sequence[Passage] | None
    ) -> Rendered:
        # Only places that are judged are kept: a ranking is long, and there is one for every answer.
        ranking = None if found is None else _places(found, self._ranking_depth)
        if parts.model is None or parts.template is None:
            return Rendered(prompt=None, passages=tuple((found or ())[:1]), ranking=ranking)
        kept = self._context(configuration, parts, parts.model, question, found or ())
        return Rendered(
            prompt=parts.template.render(question, kept, self._shown(configuration, question)),
            passages=kept,
            ranking=ranking,
        )

    @staticmethod
    def _retrieve(
        configuration: Configuration, parts: _Parts, retriever: Retriever, question: str
    ) -> Sequence[Passage]:
        found = retriever.search(question)
        if (least := configuration["min_score"]) is not None:
            found = [passage for passage in found if passage.score >= least]
        if parts.reranker is not None and found:
            depth = configuration["rerank_depth"]
            reranked = [*parts.reranker.rerank(question, found[:depth]), *found[depth:]]
            found = [replace(passage, rank=rank) for rank, passage in enumerate(reranked, 1)]
        if found and found[0].chunk.parent is not None:
            found = _parents(found)
        return found

    def _context(
        self, configuration: Configuration, parts: _Parts, model: Model, question: str, found: Sequence[Passage]
    ) -> tuple[Passage, ...]:
        """The passages that go into the prompt, in the order they stand there."""
        if not found:
            return ()
        budget, count = configuration["context_tokens"], configuration["passages"]
        if configuration["deduplicate"]:
            found = distinct(found)
        kept = found if count == ALL_PASSAGES else found[:count]
        if parts.compressor is not None:
            kept = parts.compressor.compress(question, kept, budget, model.count_tokens)
        packed = pack(kept, budget, model.count_tokens)
        return packed[::-1] if configuration["order"] == "best_last" else packed

    def _shown(self, configuration: Configuration, question: str) -> tuple[Example, ...]:
        count: int = configuration["examples"]
        if not count:
            return ()
        nearest = configuration["example_choice"] == "nearest"
        return (self._examples.nearest if nearest else self._examples.fixed)(count, question)

    # ---------------------------------------------------------------------------------------------------- answers

    def _attempt(self, task: Task, number: int) -> tuple[Answer, InfrastructureFailure | None]:
        configuration, question = task.configuration, task.question
        parts = self._parts[configuration.id]
        text, raw, sent = "", "", ""
        citations: tuple[int, ...] = ()
        rendered: Rendered | None = None
        generation: Generation | None = None
        started = time.perf_counter()
        search = self._search(configuration, parts, question.question)
        error = None if search is None else search.error
        with Recorder(self._meter) as recorder:
            try:
                if error is None:
                    found = None if search is None else search.ranking
                    rendered = self._rendered(configuration, parts, question.question, found)
                if rendered is not None and rendered.prompt is not None and parts.model is not None:
                    sent = rendered.prompt.text if parts.model.style == "text" else _shown(rendered.prompt)
                    generation = self._generate(task, parts, parts.model, rendered.prompt)
                    error = generation.error
                elif rendered is not None:
                    with stage("select"):
                        best = rendered.passages
                        text = best_sentence(question.question, best[0].chunk.text) if best else ""
            except GenerationError as raised:
                error = raised
            completion = None if generation is None else generation.completion
            if completion is not None and parts.template is not None and rendered is not None:
                read = parts.template.read(completion.text, len(rendered.passages))
                text, citations = read.answer, read.citations
                raw = completion.text if text != completion.text.strip() else ""
                if read.malformed and completion.text.strip():
                    error = ModelFailure(
                        "malformed_output", f"the answer is not in the form asked for: {read.malformed}"
                    )
                elif not text:
                    error = ModelFailure("empty_output", "the model returned no text")
        seconds = time.perf_counter() - started
        books = self._books(task, parts, search, recorder.stages(), generation)
        answer = Answer(
            configuration=configuration.id,
            question=question.id,
            repeat=task.repeat,
            text=text,
            completion=raw,
            citations=citations,
            passages=rendered.passages if rendered else (),
            retrieved=rendered.ranking if rendered else None if parts.retriever is None else (),
            prompt=sent,
            finish_reason=completion.finish_reason if completion else "",
            seconds=seconds,
            attempts=number,
            failure=_failure(error) if error else None,
            **books,
        )
        return answer, error if isinstance(error, InfrastructureFailure) else None

    def _search(self, configuration: Configuration, parts: _Parts, question: str) -> Search | None:
        """A question's ranking: another configuration's that searches alike, or a new one; ``None`` for closed book."""
        if parts.retriever is None:
            return None
        reranking = None if parts.reranker is None else (id(parts.reranker), configuration["rerank_depth"])
        key = (id(parts.retriever), configuration["min_score"], reranking, configuration["concurrency"])
        known = self._memory.recall(Search, question, key)
        if known is not None and known.configuration != configuration.id and self._hear is None:
            return known
        found: Sequence[Passage] = ()
        error: GenerationError | None = None
        with Recorder(self._meter) as recorder:
            try:
                found = self._retrieve(configuration, parts, parts.retriever, question)
            except GenerationError as raised:
                error = without_frames(raised)
        costs = tuple(StageCost(stage=name, reading=reading) for name, reading in recorder.stages().items())
        search = Search(configuration=configuration.id, ranking=found, costs=costs, error=error)
        if not isinstance(error, InfrastructureFailure):
            self._memory.keep(question, key, search)
        return search

    def _generate(self, task: Task, parts: _Parts, model: Model, prompt: Prompt) -> Generation:
        """What the model returns for a prompt: what it gave another configuration for the same, or something new."""
        configuration, decoding = task.configuration, self._decoding(task, model)
        call = Call(parts.engine, configuration["concurrency"], prompt_key(prompt), decoding, task.repeat)
        known = self._memory.recall(Generation, task.question.question, call)
        if known is not None and known.configuration != configuration.id and self._hear is None:
            return known
        completion: Completion | None = None
        error: GenerationError | None = None
        with stage("generate"):
            try:
                completion = self._completion(model, prompt, decoding)
            except ModelFailure as raised:
                error = without_frames(raised)
        return Generation(configuration=configuration.id, call=call, completion=completion, error=error)

    def _completion(self, model: Model, prompt: Prompt, decoding: Decoding) -> Completion:
        if self._hear is None:
            return model.generate(prompt, decoding)
        for piece in model.stream(prompt, decoding):
            if isinstance(piece, Completion):
                return piece
            self._hear(piece)
        raise ModelFailure("empty_output", "the model ended without a completion")

    def _books(
        self,
        task: Task,
        parts: _Parts,
        search: Search | None,
        stages: dict[str, Reading],
        generation: Generation | None,
    ) -> dict[str, Any]:
        """The answer's ledger, what it reused, whether a neighbour disturbed it; what was done anew is kept for others."""
        own, model = task.configuration, parts.model
        found = Booked() if search is None else book_search(search, own.id)
        window, after = stages.pop("generate", None), stages.pop("decode", None)
        called = Booked()
        if model is not None and generation is not None:
            anew = generation.configuration == own.id
            if anew:
                generation = replace(generation, window=window, after=after)
            # The calls that lose a prompt's prefix were not made where their work was reused.
            kept = parts.prefix_lost and not (anew and (search is None or search.configuration == own.id))
            static_tokens = 0 if kept else parts.static_tokens
            # A sampler's seed is its configuration's own: nobody else makes the same call.
            others = own["temperature"] == 0
            called = book_call(
                self._memory,
                task.question.question,
                own.id,
                generation,
                model,
                static_tokens,
                here=sees(self._meter, model),
                keep=others,
            )
        elif model is not None and window is not None:
            called = Booked((failed_call(window, after, here=sees(self._meter, model)),))
        between = [
            StageCost(stage=name, reading=_tokenless(reading) if name == "select" else reading)
            for name, reading in stages.items()
        ]
        costs = merged((*found.costs, *between, *called.costs))
        loads = [(cost.standalone or cost.reading).foreign_load or 0.0 for cost in costs]
        return {
            "ledger": Ledger(stages=costs),
            "reused": found.notes + called.notes,
            "undisturbed": max(loads, default=0.0) <= _BUSY_NEIGHBOUR,
            "seconds_to_first_token": called.seconds_to_first_token,
        }

    def _decoding(self, task: Task, model: Model) -> Decoding:
        configuration = task.configuration
        stop = tuple(configuration["stop"]) or (_TEXT_STOP if model.style == "text" else ())
        settings = {
            "temperature": configuration["temperature"],
            "top_k": configuration["top_k"],
            "top_p": configuration["top_p"],
            "min_p": configuration["min_p"],
            "repeat_penalty": configuration["repeat_penalty"],
            "max_tokens": configuration["max_tokens"],
            "stop": stop,
        }
        if settings["temperature"] == 0:
            del settings["top_k"], settings["top_p"], settings["min_p"]
        else:
            settings["seed"] = draw_seed(self._seed, configuration.id, task.question.id, task.repeat)
        return Decoding(**{name: value for name, value in settings.items() if name in model.accepts})

    # --------------------------------------------------------------------------------------------------- the engine

    def _gather(self, configuration: Configuration) -> _Parts:
        retriever = self._indexes.retriever(configuration)
        reranker = None if retriever is None else self._indexes.reranker(configuration)
        if plugin_name(configuration["model"]) == "none":
            return _Parts(retriever, reranker, None, None, None)
        engine = self._engines.key(configuration["model"], configuration["concurrency"])
        compressor = None if retriever is None else self._indexes.compressor(configuration)
        template = templates.load(configuration["prompt"])
        return _Parts(retriever, reranker, compressor, self._engines.model(engine), template, engine)

    def _model_of(self, configuration: Configuration) -> ModelOf:
        """How a configuration's retriever or reranker gets a model: its own, or another by name."""

        def model(choice: PluginChoice | None = None) -> Model:
            chosen = configuration["model"] if choice is None else choice
            return self._engines.model(self._engines.key(chosen, configuration["concurrency"]))

        return model


def _asks_more_than_once(configuration: Configuration) -> bool:
    """Whether finding passages asks a model, so that other prompts come between those of the answers."""
    return any(
        "model" in registry.needs(kind, configuration[axis])
        for axis, kind in (("retriever", "retrievers"), ("rerank", "rerankers"))
    )


def _places(found: Sequence[Passage], count: int) -> tuple[Span, ...]:
    chunks = found.chunks(count) if isinstance(found, Ranking) else [passage.chunk for passage in found[:count]]
    return tuple(Span(chunk.document_id, chunk.start, chunk.end) for chunk in chunks)


def _parents(found: Sequence[Passage]) -> list[Passage]:
    """The wider pieces of what was found, each once, where its best part stood."""
    wider: dict[str, Passage] = {}
    for passage in found:
        chunk = passage.chunk.parent or passage.chunk
        wider.setdefault(chunk.id, replace(passage, chunk=chunk, rank=len(wider) + 1))
    return list(wider.values())


def draw_seed(seed: int, configuration: str, question: str, repeat: int) -> int:
    """The sampler's seed for one answer: a function of the run's seed and the answer's key, 31 bits."""
    return int(digest(str(seed), configuration, question, str(repeat))[:8], 16) >> 1


def without_secrets(text: str) -> str:
    """The text with the values of environment variables that hold keys blanked out."""
    for name, value in sorted(os.environ.items(), key=lambda item: -len(item[1])):  # one key may begin with another
        if len(value) >= 8 and any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")):
            text = text.replace(value, f"<{name}>")
    return text


def _failure(error: GenerationError) -> Failure:
    kind: Literal["model", "infrastructure"] = "model" if isinstance(error, ModelFailure) else "infrastructure"
    return Failure(kind=kind, code=error.code, message=without_secrets(str(error))[:_LONGEST_MESSAGE])


def _tokenless(reading: Reading) -> Reading:
    return replace(reading, tokens_in=0, tokens_cached=0, tokens_out=0)


def _shown(prompt: Prompt) -> str:
    """A chat prompt as people read it."""
    return "\n\n".join(f"<{message.role}>\n{message.content}" for message in prompt.messages)
