"""The ledger: stages of an answer as readings, and what they come to in joules.

Readings are stored, joules never: ``price`` makes them from a reading and coefficients, so that changed coefficients
re-price old runs. Every moment of an answer belongs to exactly one stage, so that the stages sum to the answer's window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal

from workbench.contracts import Meter, Model
from workbench.errors import ModelFailure
from workbench.records import (
    Answer,
    Coefficients,
    Completion,
    Decoding,
    Energy,
    Ledger,
    Prompt,
    Reading,
    StageCost,
    Triple,
)

BASE_STAGE = "assemble"  # packing, rendering and whatever else no named stage claims

_NOTHING_READ = Reading(seconds=0.0)  # without a single stage nothing is known of the clocks, which is not 0

_METERED = (0.9, 1.0, 1.1)  # counters are right to ±5..15 % of what they meter; supply, fans and disks are not in them
_COUNTED = "energy counters, without power supply, fans and disks"
_GPUS = "GPUs by their utilisation"
_LEAST_CERTAIN_LAST: tuple[Literal["counter", "cpu_time", "utilisation", "modelled"], ...] = (
    "counter",
    "cpu_time",
    "utilisation",
    "modelled",
)

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

    def count(self, completion: Completion, *, runs_here: bool, model: str = "") -> None:
        """Add a model call's tokens to the open stage, and to those spent ``elsewhere`` where its work is not done here.

        A call that runs elsewhere and whose tokens nobody counted leaves the stage's ``cpu_seconds`` unknown.
        """
        known = self._counted.setdefault(self._open[-1], {})
        for name in ("tokens_in", "tokens_cached", "tokens_out"):
            known[name] = _known_sum(known.get(name), getattr(completion, name))
        if not runs_here:
            self.elsewhere(model, completion.tokens_in, completion.tokens_cached or 0, completion.tokens_out)

    def elsewhere(self, model: str, tokens_in: int | None, tokens_cached: int = 0, tokens_out: int | None = 0) -> None:
        """Book tokens of a model on another machine to the open stage; not those of an answer, which ``count`` adds."""
        known = self._counted.setdefault(self._open[-1], {})
        if tokens_in is None or tokens_out is None:
            known["cpu_seconds"] = None
        else:
            parts = [known.get("elsewhere", {}), {model: (tokens_in, tokens_cached, tokens_out)}]
            known["elsewhere"] = _merged(parts)

    def stages(self) -> dict[str, Reading]:
        """Stage → its reading, windows of the same stage added up; stages nobody could read are left out."""
        found = {stage: add(readings) for stage, readings in self._readings.items() if readings}
        for stage, counted in self._counted.items():
            if stage in found:
                found[stage] = replace(found[stage], **counted)
        return found


class _OneWork:
    """Stands for a recorder while its open window is one-off work: what opens a stage in there is part of that work."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.count = recorder.count
        self.elsewhere = recorder.elsewhere

    def enter(self, stage: str) -> None:
        pass

    def leave(self) -> None:
        pass


@contextmanager
def one_work(recorder: Recorder) -> Iterator[None]:
    """Book what other machines do meanwhile to the recorder's open window, whatever stages are opened inside."""
    token = _recorder.set(_OneWork(recorder))
    try:
        yield
    finally:
        _recorder.reset(token)


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
            self._recorder.count(completion, runs_here=model.runs_here, model=name_of(model))

    def generate(self, model: Model, prompt: Prompt, decoding: Decoding) -> Completion:
        """A model's completion, its tokens added to this stage; what a call took that failed elsewhere nobody knows."""
        try:
            completion = model.generate(prompt, decoding)
        except ModelFailure:
            if not model.runs_here:
                self.elsewhere(name_of(model), None)
            raise
        self.count(completion, model)
        return completion

    def elsewhere(self, model: str, tokens_in: int | None) -> None:
        """Book tokens that a model on another machine read, such as one that embeds; they are not the answer's own."""
        if self._recorder is not None:
            self._recorder.elsewhere(model, tokens_in)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder is not None:
            self._recorder.leave()


def name_of(model: Model) -> str:
    """The name under which a model's tokens are booked: its own, or its digest."""
    return str(getattr(model, "name", "") or model.digest)


def add(readings: Iterable[Reading]) -> Reading:
    """The sum of readings. One part with unknown ``cpu_seconds`` makes the sum's unknown; token counts add what is known.

    Counters add by domain as long as every part that did any work has them. Where a GPU was read in some parts only, the
    sum's ``cpu_seconds`` are unknown, too: the rest of its energy is nowhere.
    """
    parts = list(readings)
    if len(parts) == 1:
        return parts[0]
    seconds, shared = 0.0, False
    cpu_seconds: float | None = 0.0
    foreign_load: float | None = None
    tokens_in = tokens_cached = tokens_out = None
    special = False
    for part in parts:
        seconds += part.seconds
        cpu_seconds = None if cpu_seconds is None or part.cpu_seconds is None else cpu_seconds + part.cpu_seconds
        foreign_load = part.foreign_load if foreign_load is None else max(foreign_load, part.foreign_load or 0.0)
        tokens_in = _known_sum(tokens_in, part.tokens_in)
        tokens_cached = _known_sum(tokens_cached, part.tokens_cached)
        tokens_out = _known_sum(tokens_out, part.tokens_out)
        shared = shared or part.shared
        special = (
            special or part.counter_joules is not None or part.gpu_busy_seconds is not None or bool(part.elsewhere)
        )
    total = Reading(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        tokens_in=tokens_in,
        tokens_cached=tokens_cached,
        tokens_out=tokens_out,
        foreign_load=foreign_load,
        shared=shared,
    )
    return _with_devices(total, parts) if special else total  # most runs have none of these, and sum many parts


def _with_devices(total: Reading, parts: list[Reading]) -> Reading:
    """The sum with what counters, GPUs and other machines add to it."""
    working = [part for part in parts if part.seconds > 0 or part.cpu_seconds != 0]
    counted = [part.counter_joules for part in parts if part.counter_joules is not None]
    joules: dict[str, float] = {}
    for domains in counted:
        for domain, value in domains.items():
            joules[domain] = joules.get(domain, 0.0) + value
    kept = {
        domain: value
        for domain, value in joules.items()
        if all(domain in (part.counter_joules or {}) for part in working)
    }
    busy = [part.gpu_busy_seconds for part in parts if part.gpu_busy_seconds is not None]
    gpu_known = all(part.gpu_busy_seconds is not None for part in working)
    lost = any(domain.startswith("gpu") for domain in joules.keys() - kept.keys()) or (bool(busy) and not gpu_known)
    return replace(
        total,
        cpu_seconds=None if lost else total.cpu_seconds,
        counter_joules=kept if kept or (counted and not joules) else None,
        gpu_busy_seconds=sum(busy) if busy and gpu_known else None,
        elsewhere=_merged(part.elsewhere for part in parts),
    )


def _merged(parts: Iterable[Mapping[str, Triple]]) -> dict[str, Triple]:
    """Tokens by model, added up."""
    found: dict[str, Triple] = {}
    for part in parts:
        for model, tokens in part.items():
            before = found.get(model, (0.0, 0.0, 0.0))
            found[model] = (before[0] + tokens[0], before[1] + tokens[1], before[2] + tokens[2])
    return found


def _known_sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


def scale(reading: Reading, factor: float, **changes: Any) -> Reading:
    """A reading with all that has a price multiplied; its own token counts stay, but for the fields given."""
    cpu = None if reading.cpu_seconds is None else reading.cpu_seconds * factor
    changes = {"seconds": reading.seconds * factor, "cpu_seconds": cpu, **changes}
    if reading.counter_joules is not None:
        changes.setdefault("counter_joules", {key: value * factor for key, value in reading.counter_joules.items()})
    if reading.gpu_busy_seconds is not None:
        changes.setdefault("gpu_busy_seconds", reading.gpu_busy_seconds * factor)
    if reading.elsewhere:
        scaled = {name: (a * factor, b * factor, c * factor) for name, (a, b, c) in reading.elsewhere.items()}
        changes.setdefault("elsewhere", scaled)
    return replace(reading, **changes)


def split_generation(
    window: Reading,
    completion: Completion,
    *,
    runs_here: bool,
    static_tokens: int | None,
    model: str = "",
    first: Reading | None = None,
) -> tuple[StageCost, ...]:
    """A generation's window as prefill and decode, in proportion to the engine's own timings, so that they sum to it.

    Where the engine reports no timings but a time to first token, that divides the window; with neither it stays one
    stage, ``generate``. Of a ``model`` that does not run in this process the tokens are booked ``elsewhere``, the prompt's
    to the prefill; the CPU time is this process's own, of sending and reading. Where its provider counted no tokens,
    ``cpu_seconds`` is unknown. Where the engine's prefix cache held more or less than the prompt's static part
    (``static_tokens``), the standalone reading of the prefill is rebuilt from the tokens that would have been read; where
    it held the prompt from when it was ``first`` read, from what that took.
    """
    read: dict[str, Any] = {}
    written: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    if not runs_here:
        if completion.tokens_in is None or completion.tokens_out is None:
            window = replace(window, cpu_seconds=None)
        else:
            cached = completion.tokens_cached or 0
            read = {"elsewhere": {model: (completion.tokens_in, cached, 0)}}
            written = {"elsewhere": {model: (0, 0, completion.tokens_out)}}
            whole = {"elsewhere": {model: (completion.tokens_in, cached, completion.tokens_out)}}
    tokens: dict[str, Any] = {"tokens_in": completion.tokens_in, "tokens_cached": completion.tokens_cached}
    prefill_seconds, decode_seconds = completion.prefill_seconds, completion.decode_seconds
    if prefill_seconds is None or decode_seconds is None:
        if completion.seconds_to_first_token is None:
            reading = replace(window, tokens_out=completion.tokens_out, **tokens, **whole)
            return (StageCost(stage="generate", reading=reading),)
        prefill_seconds = completion.seconds_to_first_token
        decode_seconds = max(window.seconds - prefill_seconds, 0.0)
    total = prefill_seconds + decode_seconds
    share = prefill_seconds / total if total > 0 else 0.0
    prefill = scale(window, share, **tokens, **read)
    decode = scale(window, 1 - share, tokens_out=completion.tokens_out, **written)
    return (
        StageCost(
            stage="prefill", reading=prefill, standalone=_standalone_prefill(first or prefill, static_tokens) or first
        ),
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
    """Joules of a reading: what was done here plus what was done elsewhere; ``None`` where any part of it is not known.

    Here: counters where they were read, else ``cpu_seconds × watts per busy vCPU``; GPUs by counter, else by
    ``gpu_busy_seconds × watts per busy GPU``. Elsewhere: ``(prompt − cached) × joules per prompt token + cached × joules
    per cached token + output × joules per output token``, without cooling. Linear in all of these. The source is that of
    the least certain part.
    """
    if reading.cpu_seconds is None:
        return None
    if reading.counter_joules is None and reading.gpu_busy_seconds is None and not reading.elsewhere:
        low, central, high = (reading.cpu_seconds * watts for watts in coefficients.watts_per_busy_vcpu)
        return Energy(
            low=low,
            central=central,
            high=high,
            source="cpu_time",
            shared=reading.shared,
            includes=coefficients.includes,
        )
    parts = [_processor(reading, reading.cpu_seconds, coefficients), _gpus(reading, coefficients)]
    parts += [_hosted(model, tokens, coefficients) for model, tokens in reading.elsewhere.items()]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Energy(
        low=sum(part.low for part in known),
        central=sum(part.central for part in known),
        high=sum(part.high for part in known),
        source=max((part.source for part in known), key=_LEAST_CERTAIN_LAST.index),
        shared=reading.shared,
        includes="; ".join(dict.fromkeys(part.includes for part in known if part.includes)),
    )


def _energy(amount: float, each: Triple, source: Any, includes: str) -> Energy:
    return Energy(
        low=amount * each[0], central=amount * each[1], high=amount * each[2], source=source, includes=includes
    )


def _processor(reading: Reading, cpu_seconds: float, coefficients: Coefficients) -> Energy:
    counted = [value for domain, value in (reading.counter_joules or {}).items() if not domain.startswith("gpu")]
    if any(domain.startswith("package") for domain in reading.counter_joules or ()):
        return _energy(sum(counted), _METERED, "counter", _COUNTED)
    return _energy(cpu_seconds, coefficients.watts_per_busy_vcpu, "cpu_time", coefficients.includes)


def _gpus(reading: Reading, coefficients: Coefficients) -> Energy | None:
    counted = [value for domain, value in (reading.counter_joules or {}).items() if domain.startswith("gpu")]
    if counted:
        return _energy(sum(counted), _METERED, "counter", _COUNTED)
    if not reading.gpu_busy_seconds:
        return Energy(low=0.0, central=0.0, high=0.0, source="counter")  # none was seen, or it was idle
    if coefficients.watts_per_busy_gpu is None:
        return None
    return _energy(reading.gpu_busy_seconds, coefficients.watts_per_busy_gpu, "utilisation", _GPUS)


def _hosted(model: str, tokens: Triple, coefficients: Coefficients) -> Energy | None:
    known = coefficients.hosted.get(model)
    if known is None:
        return None
    read, cached, written = tokens
    low, central, high = (
        (read - cached) * per_prompt + cached * per_cached + written * per_output
        for per_prompt, per_cached, per_output in zip(
            known.joules_per_prompt_token, known.joules_per_cached_token, known.joules_per_output_token, strict=True
        )
    )
    return Energy(low=low, central=central, high=high, source="modelled", includes=known.includes)


def standalone(ledger: Ledger) -> Reading:
    """One answer's whole reading as if it had run alone: the standalone reading of each stage where reuse was mended."""
    return add(cost.standalone or cost.reading for cost in ledger.stages) if ledger.stages else _NOTHING_READ


def spent(ledger: Ledger) -> Reading:
    """One answer's whole reading as it really ran."""
    return add(cost.reading for cost in ledger.stages) if ledger.stages else _NOTHING_READ


def generated_before(ledger: Ledger) -> bool:
    """Whether an answer's model was not asked, because another answer had the same call."""
    calls = [cost for cost in ledger.stages if cost.stage in ("prefill", "decode", "generate")]
    return bool(calls) and all(cost.standalone is not None and not cost.reading.seconds for cost in calls)


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
