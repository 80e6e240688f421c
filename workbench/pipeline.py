"""One question through one configuration: retrieve → pack → render → generate → Answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from workbench import registry, templates
from workbench.contracts import Compressor, Meter, Model, ModelOf, Reranker, Retriever
from workbench.cutoff import DEEPEST
from workbench.errors import GenerationError, InfrastructureFailure, ModelFailure
from workbench.examples import Examples
from workbench.index import Indexes
from workbench.ledger import Recorder, name_of, split_generation, stage
from workbench.packing import best_sentence, distinct, pack
from workbench.records import (
    ALL_PASSAGES,
    Answer,
    Chunk,
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
    Span,
    StageCost,
    as_json,
    digest,
    plugin_name,
)
from workbench.retrievers._ranking import Ranking
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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._meter = meter
        self._record = record
        self._seed = seed
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._sleep = sleep
        self._ranking_depth = ranking_depth
        self._examples = Examples([question for question in questions if question.split == "dev"], seed)
        known = {question.question: question for question in questions}
        self._indexes = Indexes(corpus, cache, record, meter, model=self._model_of, question=known.get, report=report)
        self._models: dict[str, Model] = {}
        self._static_tokens: dict[tuple[str, str], int | None] = {}
        self._warm: dict[str, str] = {}
        self._parts: dict[str, _Parts] = {}

    def close(self) -> None:
        """Stop the engines."""
        for model in self._models.values():
            model.close()
        self._models.clear()
        self._parts.clear()

    def prepare(self, configuration: Configuration) -> None:
        """Load what a configuration needs and warm its engine up: its static prompt prefix cached, nothing of it counted."""
        parts = self._parts.get(configuration.id) or self._gather(configuration)
        if parts.model is not None and parts.template is not None and parts.model.runs_here:
            static_tokens = self._warm_up(configuration, parts, parts.model, parts.template)
            # Where other calls share the model's cache, the prefix is lost between answers in any deployment, too.
            parts = replace(parts, static_tokens=None if _asks_more_than_once(configuration) else static_tokens)
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
        found = self._retrieve(configuration, parts, question.question)
        # Only places that are judged are kept: a ranking is long, and there is one for every answer.
        ranking = None if found is None else _places(found, self._ranking_depth)
        if parts.model is None or parts.template is None:
            return Rendered(prompt=None, passages=tuple((found or ())[:1]), ranking=ranking)
        kept = self._context(configuration, parts, parts.model, question.question, found or ())
        return Rendered(
            prompt=parts.template.render(question.question, kept, self._shown(configuration, question.question)),
            passages=kept,
            ranking=ranking,
        )

    def _retrieve(self, configuration: Configuration, parts: _Parts, question: str) -> Sequence[Passage] | None:
        if parts.retriever is None:
            return None
        found = parts.retriever.search(question)
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
        completion: Completion | None = None
        error: GenerationError | None = None
        started = time.perf_counter()
        with Recorder(self._meter) as recorder:
            try:
                rendered = self.render(configuration, question)
                if rendered.prompt is None or parts.model is None:
                    with stage("select"):
                        found = rendered.passages
                        text = best_sentence(question.question, found[0].chunk.text) if found else ""
                else:
                    sent = rendered.prompt.text if parts.model.style == "text" else _shown(rendered.prompt)
                    with stage("generate"):
                        completion = parts.model.generate(rendered.prompt, self._decoding(task, parts.model))
            except GenerationError as raised:
                error = raised
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
            seconds_to_first_token=completion.seconds_to_first_token if completion else None,
            attempts=number,
            failure=_failure(error) if error else None,
            **_books(recorder, completion, parts),
        )
        return answer, error if isinstance(error, InfrastructureFailure) else None

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
        engine = self._engine(configuration["model"], configuration["concurrency"])
        compressor = None if retriever is None else self._indexes.compressor(configuration)
        template = templates.load(configuration["prompt"])
        return _Parts(retriever, reranker, compressor, self._models[engine], template, engine)

    def _model_of(self, configuration: Configuration) -> ModelOf:
        """How a configuration's retriever or reranker gets a model: its own, or another by name."""

        def model(choice: PluginChoice | None = None) -> Model:
            chosen = configuration["model"] if choice is None else choice
            return self._models[self._engine(chosen, configuration["concurrency"])]

        return model

    def _engine(self, choice: PluginChoice, concurrency: int) -> str:
        known = {parameter.name for parameter in _parameters(choice)}
        offered = {"slots": concurrency, "timeout_seconds": self._timeout_seconds}
        given = {"name": choice} if isinstance(choice, str) else choice
        full = {**{key: value for key, value in offered.items() if key in known}, **given}
        key = as_json(full)
        if key not in self._models:
            mark = self._meter.start()
            self._models[key] = registry.build("models", full)
            reading = self._meter.stop(mark)
            if reading is not None:
                self._record(OneOff(work="load", what=plugin_name(choice), reading=reading))
        return key

    def _warm_up(self, configuration: Configuration, parts: _Parts, model: Model, template: Template) -> int | None:
        """Fill every slot's cache with the prompt's static part, and learn from a second probe how many tokens that is."""
        with_passages = parts.retriever is not None
        fixed = configuration["examples"] if configuration["example_choice"] == "fixed" else 0
        engine, prefix = parts.engine, f"{template.digest} {with_passages} {fixed}"
        key = (engine, prefix)
        if self._warm.get(engine) == prefix:
            return self._static_tokens[key]
        mark = self._meter.start()
        greedy = Decoding(max_tokens=1, temperature=0 if "temperature" in model.accepts else None)
        examples = self._examples.fixed(fixed, "")
        concurrency: int = configuration["concurrency"]

        def probe(text: str) -> Completion:
            return model.generate(_probe(template, text, examples, with_passages=with_passages), greedy)

        try:
            with ThreadPoolExecutor(max_workers=concurrency) as pool:
                list(pool.map(probe, map(str, range(concurrency))))
            if key not in self._static_tokens:
                self._static_tokens[key] = probe("~").tokens_cached
        except GenerationError:
            self._static_tokens.setdefault(key, None)  # the real questions will show what is wrong
        self._warm[engine] = prefix
        reading = self._meter.stop(mark)
        if reading is not None:
            self._record(OneOff(work="warm-up", what=template.name, reading=reading))
        return self._static_tokens[key]


def _probe(template: Template, text: str, examples: Sequence[Example], *, with_passages: bool) -> Prompt:
    """A prompt that shares with real ones what they all begin with, and nothing more."""
    chunk = Chunk(id="", document_id="", start=0, end=len(text), text=text)
    passages = (Passage(chunk=chunk, score=0.0, rank=1),) if with_passages else ()
    return template.render(text, passages, examples)


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


def _parameters(choice: object) -> tuple[registry.Parameter, ...]:
    file, _ = registry.resolve("models", choice)  # type: ignore[arg-type]
    return () if file == "python" else registry.describe("models", file).parameters


def _books(recorder: Recorder, completion: Completion | None, parts: _Parts) -> dict[str, Any]:
    """The answer's ledger, what it reused, and whether a neighbour disturbed it."""
    costs: list[StageCost] = []
    for name, reading in recorder.stages().items():
        if name == "generate" and completion is not None and parts.model is not None:
            costs += split_generation(
                reading,
                completion,
                runs_here=recorder.sees(parts.model),
                static_tokens=parts.static_tokens,
                model=name_of(parts.model),
            )
        elif name == "generate" and parts.model is not None and not recorder.sees(parts.model):
            costs.append(StageCost(stage=name, reading=replace(reading, cpu_seconds=None)))
        elif name == "select":
            costs.append(StageCost(stage=name, reading=replace(reading, tokens_in=0, tokens_cached=0, tokens_out=0)))
        else:
            costs.append(StageCost(stage=name, reading=reading))
    reused = tuple(
        f"{cost.stage}: {cost.reading.tokens_cached} cached prompt tokens, {cost.standalone.tokens_cached} of them its own prefix"
        for cost in costs
        if cost.standalone is not None
    )
    load = max((cost.reading.foreign_load for cost in costs if cost.reading.foreign_load is not None), default=0.0)
    return {"ledger": Ledger(stages=tuple(costs)), "reused": reused, "undisturbed": load <= _BUSY_NEIGHBOUR}


def _shown(prompt: Prompt) -> str:
    """A chat prompt as people read it."""
    return "\n\n".join(f"<{message.role}>\n{message.content}" for message in prompt.messages)
