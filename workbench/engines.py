"""Engines: each model is built once and shared by all that name it, and warm before it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from workbench import registry
from workbench.contracts import Meter, Model
from workbench.errors import GenerationError
from workbench.records import Chunk, Completion, Decoding, OneOff, Passage, PluginChoice, Prompt, as_json, plugin_name
from workbench.templates import Example, Template


class Engines:
    """Models by what they are built from; ``record`` receives what loading and warming them took."""

    def __init__(self, meter: Meter, record: Callable[[OneOff], None], timeout_seconds: float) -> None:
        self._meter = meter
        self._record = record
        self._timeout_seconds = timeout_seconds
        self._models: dict[str, Model] = {}
        self._static_tokens: dict[tuple[str, str], int | None] = {}
        self._warm: dict[str, str] = {}

    def key(self, choice: PluginChoice, concurrency: int) -> str:
        """The key of the engine that answers so many calls at once, built if it is not there yet."""
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

    def model(self, key: str) -> Model:
        """The engine of a key."""
        return self._models[key]

    def warm_up(
        self, engine: str, template: Template, examples: Sequence[Example], concurrency: int, *, with_passages: bool
    ) -> int | None:
        """Fill every slot's cache with the prompt's static part, and learn from a second probe how many tokens that is."""
        model = self._models[engine]
        prefix = f"{template.digest} {with_passages} {len(examples)}"
        key = (engine, prefix)
        if self._warm.get(engine) == prefix:
            return self._static_tokens[key]
        mark = self._meter.start()
        greedy = Decoding(max_tokens=1, temperature=0 if "temperature" in model.accepts else None)

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

    def close(self) -> None:
        """Stop the engines."""
        for model in self._models.values():
            model.close()
        self._models.clear()


def _probe(template: Template, text: str, examples: Sequence[Example], *, with_passages: bool) -> Prompt:
    """A prompt that shares with real ones what they all begin with, and nothing more."""
    chunk = Chunk(id="", document_id="", start=0, end=len(text), text=text)
    passages = (Passage(chunk=chunk, score=0.0, rank=1),) if with_passages else ()
    return template.render(text, passages, examples)


def _parameters(choice: PluginChoice) -> tuple[registry.Parameter, ...]:
    file, _ = registry.resolve("models", choice)
    return () if file == "python" else registry.describe("models", file).parameters
