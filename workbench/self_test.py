"""Five physical tests of the meter on this machine: does what is measured behave as energy does?"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from workbench import registry
from workbench.booking import Recorder, stage
from workbench.coefficients import coefficients
from workbench.contracts import Meter, Model
from workbench.doctor import Finding
from workbench.errors import WorkbenchError
from workbench.ledger import add, price, split_generation
from workbench.records import IDLE, Coefficients, Decoding, Message, PluginChoice, Prompt, Reading, plugin_name

_TABLE = Path(__file__).parent / "tables" / "decode_joules.csv"
_MODEL: PluginChoice = {"name": "embedded:smollm2-135m", "style": "text", "context_tokens": 1024, "threads": 1}
_BILLION_PARAMETERS = 0.135
_PROMPT = "Once upon a time there was a small village by the sea. Every morning the people of the village"
_STEPS = 48  # decoded tokens after the first, which belongs to reading the prompt
_PAIRS = 4
_LONGER = 1.5  # times the short text's steps that the long one must have to be compared

_ASLEEP = 5.0  # times that a busy second must cost a sleeping one
_DOUBLE = (1.8, 2.2)
_SUM = 0.05
_WATTS = (0.5, 9.0)  # per busy vCPU: from the most frugal cores to the largest with their share of a server
_TIMES = 3.0
_FOREIGN = 0.1  # busy vCPUs of other processes that are worth a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The decoding of one text: its energy and its steps."""

    reading: Reading
    steps: int


def self_test(
    meter: Meter | None = None,
    *,
    seconds: float = 1.0,
    steps: int = _STEPS,
    pairs: int = _PAIRS,
    model: PluginChoice = _MODEL,
) -> list[Finding]:
    """The five tests with their figures, in less than a minute; what needs the embedded model is skipped without it.

    1. a busy second costs at least 5 × a sleeping one;
    2. twice the output tokens cost 1.8 to 2.2 × in decoding;
    3. stages of overlapping answers sum to what the operating system saw of the process, within 5 %;
    4. a busy vCPU draws 0.5 to 9 W above idle;
    5. a decoded token costs what published figures say per parameter, within a factor of 3.
    """
    meter = registry.build("meters", {"name": "auto", "idle_seconds": seconds}) if meter is None else meter
    prices = coefficients()
    busy, asleep = _window(meter, lambda: _burn(seconds)), _window(meter, lambda: time.sleep(seconds))
    found = [_asleep(busy, asleep, prices), _conservation(meter, seconds), _watts(busy, prices)]
    try:
        engine: Model = registry.build("models", model)
    except WorkbenchError as error:
        skipped = [
            Finding(what=f"self-test: {what}", state="missing", detail="skipped", advice=str(error))
            for what in ("twice the output", "joules per token")
        ]
        return [*found, *skipped]
    try:
        short, long = _generations(meter, engine, steps, pairs)
    finally:
        engine.close()
    return [*found, _doubling(short, long, prices), _per_token(long, prices)]


# ----------------------------------------------------------------------------------------------------- the five tests


def _asleep(busy: Reading | None, asleep: Reading | None, prices: Coefficients) -> Finding:
    high, low = _joules(busy, prices), _joules(asleep, prices)
    if high is None or low is None:
        return _finding("asleep against busy", None, "not measured")
    times = f"× {high / low:.3g}" if low > 0 else "nothing asleep"
    return _finding(
        "asleep against busy",
        high >= _ASLEEP * low and high > 0,
        f"busy {high:.3g} J, asleep {low:.3g} J above idle: {times}; expected at least × {_ASLEEP:g}",
    )


def _watts(busy: Reading | None, prices: Coefficients) -> Finding:
    joules = _joules(busy, prices)
    if busy is None or joules is None or not busy.cpu_seconds:
        return _finding("watts per busy vCPU", None, "not measured")
    watts = joules / busy.cpu_seconds
    return _finding(
        "watts per busy vCPU",
        _WATTS[0] <= watts <= _WATTS[1],
        f"{watts:.2f} W{_known(busy)}; expected {_WATTS[0]:g} to {_WATTS[1]:g} W",
    )


def _conservation(meter: Meter, seconds: float) -> Finding:
    """Two answers at once, each with nested stages, against the operating system's clock of the process."""
    readings: list[Reading] = []

    def answer() -> None:
        with Recorder(meter) as recorder:
            with stage("search"):
                _burn(seconds / 4)
                with stage("embed"):
                    _burn(seconds / 2)
            _burn(seconds / 4)
        readings.extend(recorder.stages().values())

    before = _process_seconds()
    threads = [threading.Thread(target=answer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outside, inside = _process_seconds() - before, add(readings).cpu_seconds
    if not readings or inside is None or outside <= 0:
        return _finding("conservation", None, "not measured")
    return _finding(
        "conservation",
        abs(inside / outside - 1) <= _SUM,
        f"stages {inside:.3f} CPU-s, the operating system {outside:.3f} CPU-s: {inside / outside - 1:+.1%}; "
        f"expected within {_SUM:.0%}",
    )


def _doubling(short: Sequence[Decoded], long: Sequence[Decoded], prices: Coefficients) -> Finding:
    """The cheapest of each length, since neighbours only ever add, put right for texts of other than twice the steps."""
    low, high = _cheapest(short, prices), _cheapest(long, prices)
    if not low or not high or long[0].steps < _LONGER * short[0].steps:
        return _finding("twice the output", None, "not measured")
    ratio = 2 * high / low
    return _finding(
        "twice the output",
        _DOUBLE[0] <= ratio <= _DOUBLE[1],
        f"{short[0].steps} and {long[0].steps} tokens decoded: × {ratio:.2f} (the cheapest of {len(short)} each); "
        f"expected × {_DOUBLE[0]} to {_DOUBLE[1]}",
        _neighbours(*short, *long) or "repeat it: a step of decoding should not cost more in a longer text",
    )


def _cheapest(decoded: Sequence[Decoded], prices: Coefficients) -> float | None:
    """Joules of one step where it cost least."""
    costs = [(_joules(each.reading, prices), each.steps) for each in decoded]
    return min((cost / steps for cost, steps in costs if cost is not None and steps > 0), default=None)


def _neighbours(*decoded: Decoded) -> str:
    load = max((each.reading.foreign_load or 0.0 for each in decoded), default=0.0)
    return f"other processes kept {load:.1f} vCPUs busy; repeat it on a quiet machine" if load > _FOREIGN else ""


def _per_token(decoded: Sequence[Decoded], prices: Coefficients) -> Finding:
    """Against published figures of one request at a time, per parameter: reading the weights is what costs there."""
    joules = _cheapest(decoded, prices)
    if joules is None:
        return _finding("joules per token", None, "not measured")
    low, high = published_joules_per_token(_BILLION_PARAMETERS)
    return _finding(
        "joules per token",
        low / _TIMES <= joules <= high * _TIMES,
        f"{joules:.3g} J per decoded token of {plugin_name(_MODEL)}{_known(decoded[0].reading)}; published figures of larger models on "
        f"GPUs, one request at a time, come to {low:.3g}–{high:.3g} J for its size; expected within a factor of {_TIMES:g}",
        _neighbours(*decoded) or "a processor that reads weights slowly makes a token dearer",
    )


def published_joules_per_token(billion_parameters: float) -> tuple[float, float]:
    """Joules per output token of a model of so many parameters, low and high, by published figures per parameter."""
    with _TABLE.open(newline="", encoding="utf-8") as file:
        each = [
            float(row["joules_per_output_token"]) / float(row["billion_parameters"]) for row in csv.DictReader(file)
        ]
    return min(each) * billion_parameters, max(each) * billion_parameters


# ---------------------------------------------------------------------------------------------------------- windows


def _generations(meter: Meter, model: Model, steps: int, pairs: int) -> tuple[list[Decoded], list[Decoded]]:
    """Short and twice as long, alternating, after one that warms up."""
    _decode(meter, model, 1)
    short, long = [], []
    for _ in range(pairs):
        short.append(_decode(meter, model, steps))
        long.append(_decode(meter, model, 2 * steps))
    return short, long


def _decode(meter: Meter, model: Model, steps: int) -> Decoded:
    with Recorder(meter, base=None) as recorder, stage("generate"):
        completion = model.generate(
            Prompt(messages=(Message(role="user", content=_PROMPT),)), Decoding(temperature=0.0, max_tokens=steps + 1)
        )
    stages = recorder.stages()
    window = stages.get("generate") or Reading(seconds=0.0)
    costs = split_generation(window, completion, runs_here=True, static_tokens=None, after=stages.get("decode"))
    return Decoded(reading=costs[-1].reading, steps=(completion.tokens_out or 1) - 1)


def _window(meter: Meter, work: Callable[[], object]) -> Reading | None:
    mark = meter.start()
    work()
    return meter.stop(mark)


def _burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


def _process_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def _joules(reading: Reading | None, prices: Coefficients) -> float | None:
    """Central joules above idle, of the processor alone where a counter tells it."""
    if reading is None:
        return None
    counted = {
        domain: value
        for domain, value in (reading.counter_joules or {}).items()
        if not domain.startswith("gpu") and not domain.endswith(IDLE)
    }
    if any(domain.startswith("package") for domain in counted):
        return sum(counted.values())
    energy = price(Reading(seconds=reading.seconds, cpu_seconds=reading.cpu_seconds), prices)
    return None if energy is None else energy.central


def _known(reading: Reading) -> str:
    counters = any(domain.startswith("package") for domain in reading.counter_joules or {})
    return " (by counters)" if counters else " (CPU time × the table's watts; no counter to hold it against)"


def _finding(what: str, passed: bool | None, detail: str, advice: str = "") -> Finding:
    state: Literal["ok", "missing", "bad"] = "missing" if passed is None else "ok" if passed else "bad"
    return Finding(what=f"self-test: {what}", state=state, detail=detail, advice="" if passed else advice)
