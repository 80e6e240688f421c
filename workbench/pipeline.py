"""One question through one configuration: retrieve → pack → render → generate → Answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from workbench import registry, templates
from workbench.contracts import Meter, Model, Retriever
from workbench.cutoff import DEEPEST
from workbench.errors import GenerationError, InfrastructureFailure, ModelFailure
from workbench.index import Indexes
from workbench.ledger import Recorder, split_generation, stage
from workbench.packing import best_sentence, pack
from workbench.records import (
    Answer,
    Chunk,
    Completion,
    Configuration,
    Corpus,
    Decoding,
    Failure,
    Ledger,
    OneOff,
    Passage,
    Prompt,
    Question,
    StageCost,
    as_json,
    digest,
    plugin_name,
)
from workbench.templates import Template

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
    model: Model | None
    template: Template | None
    engine: str = ""
    static_tokens: int | None = None


class Pipeline:
    """Answers tasks; models and indexes are built once each and shared by the configurations that name them.

    ``prepare`` must be called, from one thread, before the first task of a configuration and whenever another
    configuration has used the same engine since. ``record`` receives every piece of one-off work.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        meter: Meter,
        record: Callable[[OneOff], None],
        cache: Path | None,
        seed: int = 0,
        timeout_seconds: float = 60.0,
        retries: int = 3,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._meter = meter
        self._record = record
        self._seed = seed
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._sleep = sleep
        self._indexes = Indexes(corpus, cache, record, meter)
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
            with_passages = parts.retriever is not None
            static_tokens = self._warm_up(
                parts.engine, parts.model, parts.template, configuration["concurrency"], with_passages=with_passages
            )
            parts = replace(parts, static_tokens=static_tokens)
        self._parts[configuration.id] = parts

    def answer(self, task: Task) -> Answer:
        """The answer to a task; infrastructure failures are tried again with growing pauses, then recorded."""
        for attempt in range(self._retries + 1):
            answer, failure = self._attempt(task, attempt + 1)
            if failure is None or failure.permanent or attempt == self._retries:
                break
            pause = failure.retry_after if failure.retry_after is not None else 2.0**attempt
            self._sleep(min(pause, _DEEPEST_BACKOFF))
        return answer

    def render(
        self, configuration: Configuration, question: str
    ) -> tuple[Prompt | None, tuple[Passage, ...], tuple[str, ...] | None]:
        """The prompt of a question, the passages in it, and the ranking of distinct documents found (``None``: closed book)."""
        parts = self._parts[configuration.id]
        found = parts.retriever.search(question) if parts.retriever else ()
        ranking = (
            tuple(dict.fromkeys(passage.chunk.document_id for passage in found[:DEEPEST])) if parts.retriever else None
        )
        if parts.model is None or parts.template is None:
            return None, tuple(found[:1]), ranking
        kept = (
            pack(found[: configuration["passages"]], configuration["context_tokens"], parts.model.count_tokens)
            if found
            else ()
        )
        return parts.template.render(question, kept), kept, ranking

    # ---------------------------------------------------------------------------------------------------- answers

    def _attempt(self, task: Task, number: int) -> tuple[Answer, InfrastructureFailure | None]:
        configuration, question = task.configuration, task.question
        parts = self._parts[configuration.id]
        text, sent = "", ""
        citations: tuple[int, ...] = ()
        completion: Completion | None = None
        error: GenerationError | None = None
        started = time.perf_counter()
        with Recorder(self._meter) as recorder:
            prompt, passages, ranking = self.render(configuration, question.question)
            if prompt is None or parts.model is None:
                with stage("select"):
                    text = best_sentence(question.question, passages[0].chunk.text) if passages else ""
            else:
                sent = prompt.text if parts.model.style == "text" else _shown(prompt)
                try:
                    with stage("generate"):
                        completion = parts.model.generate(prompt, self._decoding(task, parts.model))
                except GenerationError as raised:
                    error = raised
            if completion is not None and parts.template is not None:
                text, citations = parts.template.citations(completion.text.strip(), len(passages))
                if not text:
                    error = ModelFailure("empty_output", "the model returned no text")
        seconds = time.perf_counter() - started
        answer = Answer(
            configuration=configuration.id,
            question=question.id,
            repeat=task.repeat,
            text=text,
            citations=citations,
            passages=passages,
            retrieved=ranking,
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
            "repeat_penalty": configuration["repeat_penalty"],
            "max_tokens": configuration["max_tokens"],
            "stop": stop,
        }
        if settings["temperature"] == 0:
            del settings["top_k"], settings["top_p"]
        else:
            settings["seed"] = draw_seed(self._seed, configuration.id, task.question.id, task.repeat)
        return Decoding(**{name: value for name, value in settings.items() if name in model.accepts})

    # --------------------------------------------------------------------------------------------------- the engine

    def _gather(self, configuration: Configuration) -> _Parts:
        retriever = self._indexes.retriever(configuration)
        if plugin_name(configuration["model"]) == "none":
            return _Parts(retriever, None, None)
        engine = self._engine(configuration)
        return _Parts(retriever, self._models[engine], templates.load(configuration["prompt"]), engine)

    def _engine(self, configuration: Configuration) -> str:
        choice = configuration["model"]
        known = {parameter.name for parameter in _parameters(choice)}
        offered = {"slots": configuration["concurrency"], "timeout_seconds": self._timeout_seconds}
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

    def _warm_up(
        self, engine: str, model: Model, template: Template, concurrency: int, *, with_passages: bool
    ) -> int | None:
        """Fill every slot's cache with the template's static part, and learn from a second probe how many tokens that is."""
        prefix = f"{template.digest} {with_passages}"
        key = (engine, prefix)
        if self._warm.get(engine) == prefix:
            return self._static_tokens[key]
        mark = self._meter.start()
        probe = Decoding(max_tokens=1, temperature=0 if "temperature" in model.accepts else None)
        try:
            with ThreadPoolExecutor(max_workers=concurrency) as pool:
                list(
                    pool.map(
                        lambda text: model.generate(_probe(template, text, with_passages), probe),
                        map(str, range(concurrency)),
                    )
                )
            if key not in self._static_tokens:
                self._static_tokens[key] = model.generate(_probe(template, "~", with_passages), probe).tokens_cached
        except GenerationError:
            self._static_tokens.setdefault(key, None)  # the real questions will show what is wrong
        self._warm[engine] = prefix
        reading = self._meter.stop(mark)
        if reading is not None:
            self._record(OneOff(work="warm-up", what=template.name, reading=reading))
        return self._static_tokens[key]


def _probe(template: Template, text: str, with_passages: bool) -> Prompt:
    """A prompt that shares with real ones what they all begin with, and nothing more."""
    chunk = Chunk(id="", document_id="", start=0, end=len(text), text=text)
    return template.render(text, (Passage(chunk=chunk, score=0.0, rank=1),) if with_passages else ())


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
                reading, completion, runs_here=parts.model.runs_here, static_tokens=parts.static_tokens
            )
        elif name == "generate" and parts.model is not None and not parts.model.runs_here:
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
