"""The ledger: stages of an answer as readings, and what they come to in joules.

Readings are stored, joules never: ``price`` makes them from a reading and coefficients, so that changed coefficients
re-price old runs. Every moment of an answer belongs to exactly one stage, so that the stages sum to the answer's window.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Any

from workbench.contracts import Meter
from workbench.records import Answer, Coefficients, Completion, Energy, Ledger, Reading, StageCost

BASE_STAGE = "assemble"  # packing, rendering and whatever else no named stage claims

_NOTHING_READ = Reading(seconds=0.0)  # without a single stage nothing is known of the clocks, which is not 0

_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


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

    def _settle(self) -> Reading | None:
        if not self._open:
            return None
        reading = self._meter.stop(self._mark)
        if reading is not None:
            self._readings[self._open[-1]].append(reading)
        return reading

    def count(self, completion: Completion, *, runs_here: bool) -> None:
        """Add a model call's tokens to the open stage; one that runs elsewhere leaves the stage's CPU time unknown."""
        known = self._counted.setdefault(self._open[-1], {})
        for name in ("tokens_in", "tokens_cached", "tokens_out"):
            known[name] = _known_sum(known.get(name), getattr(completion, name))
        if not runs_here:
            known["cpu_seconds"] = None

    def stages(self) -> dict[str, Reading]:
        """Stage → its reading, windows of the same stage added up; stages nobody could read are left out."""
        found = {stage: add(readings) for stage, readings in self._readings.items() if readings}
        for stage, counted in self._counted.items():
            if stage in found:
                found[stage] = replace(found[stage], **counted)
        return found


class stage:
    """Book what happens inside to a stage of the current answer; outside an answer it does nothing.

    ``with stage("rewrite") as window: window.count(completion, runs_here=…)`` charges a model call's tokens to it.
    """

    __slots__ = ("_name", "_recorder")

    def __init__(self, name: str) -> None:
        self._name = name
        self._recorder = _recorder.get()

    def __enter__(self) -> stage:
        if self._recorder is not None:
            self._recorder.enter(self._name)
        return self

    def count(self, completion: Completion, *, runs_here: bool) -> None:
        """Add a model call's tokens to this stage."""
        if self._recorder is not None:
            self._recorder.count(completion, runs_here=runs_here)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder is not None:
            self._recorder.leave()


def add(readings: Iterable[Reading]) -> Reading:
    """The sum of readings. One part with unknown ``cpu_seconds`` makes the sum's unknown; token counts add what is known."""
    parts = list(readings)
    if len(parts) == 1:
        return parts[0]
    seconds, shared = 0.0, False
    cpu_seconds: float | None = 0.0
    foreign_load: float | None = None
    tokens_in = tokens_cached = tokens_out = None
    for part in parts:
        seconds += part.seconds
        cpu_seconds = None if cpu_seconds is None or part.cpu_seconds is None else cpu_seconds + part.cpu_seconds
        foreign_load = part.foreign_load if foreign_load is None else max(foreign_load, part.foreign_load or 0.0)
        tokens_in = _known_sum(tokens_in, part.tokens_in)
        tokens_cached = _known_sum(tokens_cached, part.tokens_cached)
        tokens_out = _known_sum(tokens_out, part.tokens_out)
        shared = shared or part.shared
    return Reading(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        tokens_in=tokens_in,
        tokens_cached=tokens_cached,
        tokens_out=tokens_out,
        foreign_load=foreign_load,
        shared=shared,
    )


def _known_sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


def scale(reading: Reading, factor: float, **changes: Any) -> Reading:
    """A reading with its clocks multiplied; token counts stay, but for the fields given."""
    cpu = None if reading.cpu_seconds is None else reading.cpu_seconds * factor
    return replace(reading, seconds=reading.seconds * factor, cpu_seconds=cpu, **changes)


def split_generation(
    window: Reading, completion: Completion, *, runs_here: bool, static_tokens: int | None
) -> tuple[StageCost, ...]:
    """A generation's window as prefill and decode, in proportion to the engine's own timings, so that they sum to it.

    Where the engine reports no timings but a time to first token, that divides the window; with neither it stays one
    stage, ``generate``. A model that does not run in this process leaves ``cpu_seconds`` unknown: the CPU clock here
    saw only the waiting. Where the engine's prefix cache held more or less than the prompt's static part
    (``static_tokens``), the standalone reading of the prefill is rebuilt from the tokens that would have been read.
    """
    if not runs_here:
        window = replace(window, cpu_seconds=None)
    tokens: dict[str, Any] = {"tokens_in": completion.tokens_in, "tokens_cached": completion.tokens_cached}
    prefill_seconds, decode_seconds = completion.prefill_seconds, completion.decode_seconds
    if prefill_seconds is None or decode_seconds is None:
        if completion.seconds_to_first_token is None:
            return (StageCost(stage="generate", reading=replace(window, tokens_out=completion.tokens_out, **tokens)),)
        prefill_seconds = completion.seconds_to_first_token
        decode_seconds = max(window.seconds - prefill_seconds, 0.0)
    total = prefill_seconds + decode_seconds
    share = prefill_seconds / total if total > 0 else 0.0
    prefill = scale(window, share, **tokens)
    decode = scale(window, 1 - share, tokens_out=completion.tokens_out)
    return (
        StageCost(stage="prefill", reading=prefill, standalone=_standalone_prefill(prefill, static_tokens)),
        StageCost(stage="decode", reading=decode),
    )


def _standalone_prefill(prefill: Reading, static_tokens: int | None) -> Reading | None:
    if static_tokens is None or prefill.tokens_in is None or prefill.tokens_cached is None:
        return None
    static = min(static_tokens, prefill.tokens_in - 1)
    if prefill.tokens_cached == static or prefill.tokens_in <= prefill.tokens_cached:
        return None
    factor = (prefill.tokens_in - static) / (prefill.tokens_in - prefill.tokens_cached)
    return scale(prefill, factor, tokens_cached=static)


# ---------------------------------------------------------------------------------------------------------- prices


def price(reading: Reading, coefficients: Coefficients) -> Energy | None:
    """Joules of a reading by the CPU-time model ``cpu_seconds × watts per busy vCPU``; ``None`` where not measured."""
    if reading.cpu_seconds is None:
        return None
    low, central, high = (reading.cpu_seconds * watts for watts in coefficients.watts_per_busy_vcpu)
    return Energy(
        low=low, central=central, high=high, source="cpu_time", shared=reading.shared, includes=coefficients.includes
    )


def standalone(ledger: Ledger) -> Reading:
    """One answer's whole reading as if it had run alone: the standalone reading of each stage where reuse was mended."""
    return add(cost.standalone or cost.reading for cost in ledger.stages) if ledger.stages else _NOTHING_READ


def spent(ledger: Ledger) -> Reading:
    """One answer's whole reading as it really ran."""
    return add(cost.reading for cost in ledger.stages) if ledger.stages else _NOTHING_READ


def standalone_cost(answer: Answer, minimise: str, coefficients: Coefficients) -> float | None:
    """One answer's standalone cost in what a goal minimises: central joules, prompt and output tokens, or seconds."""
    if not answer.ledger.stages:
        return None
    reading = standalone(answer.ledger)
    if minimise == "seconds":
        return reading.seconds
    if minimise == "tokens":
        return (
            None
            if reading.tokens_in is None or reading.tokens_out is None
            else float(reading.tokens_in + reading.tokens_out)
        )
    energy = price(reading, coefficients)
    return None if energy is None else energy.central
