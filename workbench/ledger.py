"""The ledger: stages of an answer as readings, and what they come to in joules.

Readings are stored, joules never: ``price`` makes them from a reading and coefficients, so that changed coefficients
re-price old runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from workbench.records import IDLE, Answer, Coefficients, Completion, Energy, Ledger, Reading, StageCost, Triple

_NOTHING_READ = Reading(seconds=0.0)  # without a single stage nothing is known of the clocks, which is not 0

_METERED = (0.9, 1.0, 1.1)  # counters are right to ±5..15 % of what they meter; supply, fans and disks are not in them
_COUNTED = "energy counters, without power supply, fans and disks"
_WITH_IDLE = {
    "counter": f"{_COUNTED}; with this work's share of the machine's idle power",
    "cpu_time": "busy vCPUs, and those with nothing to do meanwhile, with their share of memory and power supply; "
    "cooling excluded",
}
_GPUS = "GPUs by their utilisation"
_LEAST_CERTAIN_LAST: tuple[Literal["counter", "cpu_time", "utilisation", "modelled"], ...] = (
    "counter",
    "cpu_time",
    "utilisation",
    "modelled",
)


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
        tokens_in = known_sum(tokens_in, part.tokens_in)
        tokens_cached = known_sum(tokens_cached, part.tokens_cached)
        tokens_out = known_sum(tokens_out, part.tokens_out)
        shared = shared or part.shared
        special = (
            special
            or part.counter_joules is not None
            or part.gpu_busy_seconds is not None
            or part.idle_vcpu_seconds is not None
            or bool(part.elsewhere)
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
    idle = [part.idle_vcpu_seconds for part in parts if part.idle_vcpu_seconds is not None]
    lost = any(domain.startswith("gpu") for domain in joules.keys() - kept.keys()) or (bool(busy) and not gpu_known)
    return replace(
        total,
        cpu_seconds=None if lost else total.cpu_seconds,
        counter_joules=kept if kept or (counted and not joules) else None,
        gpu_busy_seconds=sum(busy) if busy and gpu_known else None,
        elsewhere=merged(part.elsewhere for part in parts),
        idle_vcpu_seconds=sum(idle) if idle else None,
    )


def merged(parts: Iterable[Mapping[str, Triple]]) -> dict[str, Triple]:
    """Tokens by model, added up."""
    found: dict[str, Triple] = {}
    for part in parts:
        for model, tokens in part.items():
            before = found.get(model, (0.0, 0.0, 0.0))
            found[model] = (before[0] + tokens[0], before[1] + tokens[1], before[2] + tokens[2])
    return found


def known_sum(one: int | None, other: int | None) -> int | None:
    """The sum of what is known of two counts; ``None`` where neither is."""
    return one if other is None else other if one is None else one + other


def scale(reading: Reading, factor: float, **changes: Any) -> Reading:
    """A reading with all that has a price multiplied; its own token counts stay, but for the fields given."""
    cpu = None if reading.cpu_seconds is None else reading.cpu_seconds * factor
    changes = {"seconds": reading.seconds * factor, "cpu_seconds": cpu, **changes}
    if reading.counter_joules is not None:
        changes.setdefault("counter_joules", {key: value * factor for key, value in reading.counter_joules.items()})
    if reading.gpu_busy_seconds is not None:
        changes.setdefault("gpu_busy_seconds", reading.gpu_busy_seconds * factor)
    if reading.idle_vcpu_seconds is not None:
        changes.setdefault("idle_vcpu_seconds", reading.idle_vcpu_seconds * factor)
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
    after: Reading | None = None,
) -> tuple[StageCost, ...]:
    """A generation's window as prefill and decode, so that they sum to it.

    Where the model said when its first token was there (``first_token``), the window ends then and ``after`` is the rest.
    Otherwise the window is divided in proportion to the engine's own timings, or at the time to first token; with neither it
    stays one stage, ``generate``. Of a ``model`` that does not run in this process the tokens are booked ``elsewhere``, the prompt's
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
            after = None if after is None else replace(after, cpu_seconds=None)
        else:
            cached = completion.tokens_cached or 0
            read = {"elsewhere": {model: (completion.tokens_in, cached, 0)}}
            written = {"elsewhere": {model: (0, 0, completion.tokens_out)}}
            whole = {"elsewhere": {model: (completion.tokens_in, cached, completion.tokens_out)}}
    tokens: dict[str, Any] = {"tokens_in": completion.tokens_in, "tokens_cached": completion.tokens_cached}
    parts = _by_time(window, completion) if after is None else (window, after)
    if parts is None:
        reading = replace(window, tokens_out=completion.tokens_out, **tokens, **whole)
        return (StageCost(stage="generate", reading=reading),)
    prefill, decode = parts
    prefill = replace(prefill, **tokens, **read)
    return (
        StageCost(
            stage="prefill", reading=prefill, standalone=_standalone_prefill(first or prefill, static_tokens) or first
        ),
        StageCost(stage="decode", reading=replace(decode, tokens_out=completion.tokens_out, **written)),
    )


def _by_time(window: Reading, completion: Completion) -> tuple[Reading, Reading] | None:
    prefill_seconds, decode_seconds = completion.prefill_seconds, completion.decode_seconds
    if prefill_seconds is None or decode_seconds is None:
        if completion.seconds_to_first_token is None:
            return None
        prefill_seconds = completion.seconds_to_first_token
        decode_seconds = max(window.seconds - prefill_seconds, 0.0)
    total = prefill_seconds + decode_seconds
    share = prefill_seconds / total if total > 0 else 0.0
    return scale(window, share), scale(window, 1 - share)


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

    Here: counters where they were read, else ``cpu_seconds × watts per busy vCPU``, with ``idle_vcpu_seconds × watts per
    idle vCPU`` where the meter was told to charge them; GPUs by counter, else by
    ``gpu_busy_seconds × watts per busy GPU``. Elsewhere: ``(prompt − cached) × joules per prompt token + cached × joules
    per cached token + output × joules per output token``, without cooling. Linear in all of these. The source is that of
    the least certain part.
    """
    if reading.cpu_seconds is None:
        return None
    plain = reading.counter_joules is None and reading.gpu_busy_seconds is None and reading.idle_vcpu_seconds is None
    if plain and not reading.elsewhere:
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


def net(reading: Reading, coefficients: Coefficients) -> Energy | None:
    """Joules of a reading without the machine's idle power; ``None`` where the processor's counters did not tell it apart."""
    counted = reading.counter_joules or {}
    above = {domain: value for domain, value in counted.items() if not domain.endswith(IDLE)}
    if not any(domain.startswith("package") for domain in above) or any(
        domain + IDLE not in counted for domain in above
    ):
        return None
    return price(replace(reading, counter_joules=above), coefficients)


def _energy(amount: float, each: Triple, source: Any, includes: str) -> Energy:
    return Energy(
        low=amount * each[0], central=amount * each[1], high=amount * each[2], source=source, includes=includes
    )


def _processor(reading: Reading, cpu_seconds: float, coefficients: Coefficients) -> Energy | None:
    counted = {d: value for d, value in (reading.counter_joules or {}).items() if not d.startswith("gpu")}
    if any(domain.startswith("package") for domain in counted):
        with_idle = any(domain.endswith(IDLE) for domain in counted)
        return _energy(sum(counted.values()), _METERED, "counter", _WITH_IDLE["counter"] if with_idle else _COUNTED)
    busy = _energy(cpu_seconds, coefficients.watts_per_busy_vcpu, "cpu_time", coefficients.includes)
    if reading.idle_vcpu_seconds is None:
        return busy
    if coefficients.watts_per_idle_vcpu is None:
        return None
    idle = _energy(reading.idle_vcpu_seconds, coefficients.watts_per_idle_vcpu, "cpu_time", "")
    return Energy(
        low=busy.low + idle.low,
        central=busy.central + idle.central,
        high=busy.high + idle.high,
        source="cpu_time",
        includes=_WITH_IDLE["cpu_time"],
    )


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
