"""Booking: every moment of an answer to exactly one stage, so that the stages sum to the answer's window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Any

from workbench.contracts import Meter, Model
from workbench.errors import ModelFailure
from workbench.ledger import add, known_sum, merged
from workbench.records import Completion, Decoding, Prompt, Reading

BASE_STAGE = "assemble"  # packing, rendering and whatever else no named stage claims

_recorder: ContextVar[Recorder | _OneWork | None] = ContextVar("recorder", default=None)


class Recorder:
    """Books one answer's time to stages; a stage opened inside another suspends the outer one.

    Used as a context manager around the answer; ``stages`` afterwards holds one entry per stage in order of first use.
    ``base`` is the stage of whatever no other claims; with ``None`` that is not observed.
    """

    def __init__(self, meter: Meter, base: str | None = BASE_STAGE) -> None:
        self._meter = meter
        self._base = base
        self._readings: dict[str, list[Reading]] = {}
        self._counted: dict[str, dict[str, Any]] = {}
        self._open: list[str] = []
        self._mark: Any = None
        self._token: Any = None

    def __enter__(self) -> Recorder:
        self._token = _recorder.set(self)
        if self._base is not None:
            self.enter(self._base)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self.leave()
        _recorder.reset(self._token)

    def sees(self, worker: Any) -> bool:
        """Whether the meter's clocks have a model's or an embedder's work."""
        return sees(self._meter, worker)

    def enter(self, stage: str) -> None:
        """Begin a stage, suspending the one that is open."""
        self._settle()
        self._open.append(stage)
        self._readings.setdefault(stage, [])
        self._mark = self._meter.start()

    def leave(self) -> Reading | None:
        """End the open stage, going on with the one around it; returns the reading of the last window."""
        reading = self._settle()
        self._open.pop()
        if self._open:
            self._mark = self._meter.start()
        return reading

    def first_token(self) -> None:
        """Go on with ``decode`` where the open stage is ``generate``; other stages are not divided."""
        if self._open and self._open[-1] == "generate":
            self._settle()
            self._open[-1] = "decode"
            self._readings.setdefault("decode", [])
            self._mark = self._meter.start()

    def _settle(self) -> Reading | None:
        if not self._open:
            return None
        reading = self._meter.stop(self._mark)
        if reading is not None:
            self._readings[self._open[-1]].append(reading)
        return reading

    def count(self, completion: Completion, *, runs_here: bool, model: str = "") -> None:
        """Add a model call's tokens to the open stage, and to those spent ``elsewhere`` where its work is not done here.

        A call that runs elsewhere and whose tokens nobody counted leaves the stage's ``cpu_seconds`` unknown.
        """
        known = self._counted.setdefault(self._open[-1], {})
        for name in ("tokens_in", "tokens_cached", "tokens_out"):
            known[name] = known_sum(known.get(name), getattr(completion, name))
        if not runs_here:
            self.elsewhere(model, completion.tokens_in, completion.tokens_cached or 0, completion.tokens_out)

    def elsewhere(self, model: str, tokens_in: int | None, tokens_cached: int = 0, tokens_out: int | None = 0) -> None:
        """Book tokens of a model on another machine to the open stage; not those of an answer, which ``count`` adds."""
        known = self._counted.setdefault(self._open[-1], {})
        if tokens_in is None or tokens_out is None:
            known["cpu_seconds"] = None
        else:
            parts = [known.get("elsewhere", {}), {model: (tokens_in, tokens_cached, tokens_out)}]
            known["elsewhere"] = merged(parts)

    def stages(self) -> dict[str, Reading]:
        """Stage → its reading, windows of the same stage added up; stages nobody could read are left out."""
        found = {stage: add(readings) for stage, readings in self._readings.items() if readings}
        for stage, counted in self._counted.items():
            if stage in found:
                found[stage] = replace(found[stage], **counted)
        return found


def sees(meter: Meter, worker: Any) -> bool:
    """Whether a meter's clocks have a model's or an embedder's work: it is done in this process, or by a server whose clock
    is read, too."""
    return bool(worker.runs_here) or getattr(worker, "port", None) in getattr(meter, "ports", ())


class _OneWork:
    """Stands for a recorder while its open window is one-off work: what opens a stage in there is part of that work."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.count = recorder.count
        self.sees = recorder.sees
        self.elsewhere = recorder.elsewhere

    def enter(self, stage: str) -> None:
        pass

    def leave(self) -> None:
        pass

    def first_token(self) -> None:
        pass


@contextmanager
def one_work(recorder: Recorder) -> Iterator[None]:
    """Book what other machines do meanwhile to the recorder's open window, whatever stages are opened inside."""
    token = _recorder.set(_OneWork(recorder))
    try:
        yield
    finally:
        _recorder.reset(token)


def first_token() -> None:
    """Say, from inside a model, that the prompt is read and the first token there: what follows is booked as ``decode``.

    A model that never says it has its generations divided by the times in its ``Completion``, which takes both parts to keep
    the processor equally busy.
    """
    if (recorder := _recorder.get()) is not None:
        recorder.first_token()


class stage:
    """Book what happens inside to a stage of the current answer; outside an answer it does nothing.

    ``with stage("rewrite") as window: window.generate(model, prompt, decoding)`` charges a model call's tokens to it.
    """

    __slots__ = ("_name", "_recorder")

    def __init__(self, name: str) -> None:
        self._name = name
        self._recorder = _recorder.get()

    def __enter__(self) -> stage:
        if self._recorder is not None:
            self._recorder.enter(self._name)
        return self

    def count(self, completion: Completion, model: Model) -> None:
        """Add a model call's tokens to this stage."""
        if self._recorder is not None:
            self._recorder.count(completion, runs_here=self._recorder.sees(model), model=name_of(model))

    def generate(self, model: Model, prompt: Prompt, decoding: Decoding) -> Completion:
        """A model's completion, its tokens added to this stage; what a call took that failed elsewhere nobody knows."""
        try:
            completion = model.generate(prompt, decoding)
        except ModelFailure:
            if self._recorder is not None and not self._recorder.sees(model):
                self.elsewhere(name_of(model), None)
            raise
        self.count(completion, model)
        return completion

    def elsewhere(self, model: str, tokens_in: int | None) -> None:
        """Book tokens that a model on another machine read, such as one that embeds; they are not the answer's own."""
        if self._recorder is not None:
            self._recorder.elsewhere(model, tokens_in)

    def embedded(self, embedder: Any, tokens_in: int) -> None:
        """Book what an embedder by its ``name`` read, unless the meter's clocks have its work already."""
        if self._recorder is not None and not self._recorder.sees(embedder):
            self._recorder.elsewhere(embedder.name, tokens_in)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder is not None:
            self._recorder.leave()


def name_of(model: Model) -> str:
    """The name under which a model's tokens are booked: its own, or its digest."""
    return str(getattr(model, "name", "") or model.digest)
