"""Conservation, splitting and prices: every moment is booked once, and what was not measured is never 0."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.booking import Recorder, first_token, name_of, stage
from workbench.errors import GenerationError, InfrastructureFailure, ModelFailure
from workbench.ledger import add, price, scale, spent, split_generation, standalone, standalone_cost
from workbench.records import (
    Answer,
    Coefficients,
    Completion,
    Decoding,
    HostedCoefficients,
    Ledger,
    Prompt,
    Reading,
    StageCost,
)

WATTS = Coefficients(processor="p", watts_per_busy_vcpu=(1.0, 2.0, 4.0), source="s", includes="i")
HOSTED = {
    name: HostedCoefficients(
        model=name,
        joules_per_prompt_token=(0.1 * size, 0.2 * size, 0.4 * size),
        joules_per_cached_token=(0.0, 0.01 * size, 0.04 * size),
        joules_per_output_token=(0.5 * size, 1.0 * size, 3.0 * size),
        active_billion=size,
        total_billion=size,
        source="s",
        includes="servers",
    )
    for name, size in (("a", 1.0), ("b", 10.0))
}
ALL_KNOWN = replace(WATTS, watts_per_busy_gpu=(100.0, 200.0, 300.0), hosted=HOSTED)
SECONDS = st.floats(0, 100)
AMOUNT = st.just(0.0) | st.floats(1e-3, 100)
COUNT = st.none() | st.integers(0, 1000)
TOKENS = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)).map(lambda n: (n[0] + n[1], n[1], n[2]))
DOMAINS = ("package-0", "dram-0", "gpu-0")
READINGS = st.builds(
    Reading,
    seconds=SECONDS,
    cpu_seconds=st.none() | SECONDS,
    tokens_in=COUNT,
    tokens_cached=COUNT,
    tokens_out=COUNT,
    foreign_load=st.none() | SECONDS,
    shared=st.booleans(),
)


DEVICES = st.builds(
    Reading,
    seconds=AMOUNT,
    cpu_seconds=st.none() | AMOUNT,
    tokens_in=COUNT,
    foreign_load=st.none() | AMOUNT,
    shared=st.booleans(),
    counter_joules=st.none() | st.dictionaries(st.sampled_from(DOMAINS), AMOUNT, min_size=1),
    gpu_busy_seconds=st.none() | AMOUNT,
    elsewhere=st.dictionaries(st.sampled_from("ab"), TOKENS),
)


@st.composite
def alike(draw: st.DrawFn) -> list[Reading]:
    """Readings of one meter: the same domains and devices in each."""
    domains = draw(st.sampled_from([(), ("package-0",), DOMAINS, ("gpu-0",)]))
    gpu = draw(st.booleans())
    return [
        Reading(
            seconds=draw(AMOUNT),
            cpu_seconds=draw(AMOUNT),
            counter_joules={domain: draw(AMOUNT) for domain in domains} or None,
            gpu_busy_seconds=draw(AMOUNT) if gpu else None,
            elsewhere=draw(st.dictionaries(st.sampled_from("ab"), TOKENS)),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]


def figures(reading: Reading) -> dict[str, object]:
    """Every field of a reading, floats with the tolerance that the order of a sum needs."""

    def near(value: object) -> object:
        if isinstance(value, dict):
            return {key: near(each) for key, each in value.items()}
        if isinstance(value, tuple):
            return tuple(map(near, value))
        return pytest.approx(value) if isinstance(value, float) else value

    return {name: near(getattr(reading, name)) for name in Reading.__slots__}


class Ticks:
    """A meter whose clock moves only when work is done, so that sums can be exact."""

    name = "ticks"
    now = 0

    def start(self) -> int:
        return self.now

    def stop(self, mark: int) -> Reading:
        return Reading(seconds=float(self.now - mark), cpu_seconds=float(self.now - mark))


# ------------------------------------------------------------------------------------------------------------- stages

PLANS = st.recursive(
    st.integers(1, 9), lambda inner: st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=4), max_leaves=12
)


@given(plan=PLANS)
def test_every_tick_belongs_to_exactly_one_stage(plan):
    meter = Ticks()
    wanted: dict[str, int] = {}

    def follow(plan, name):
        if isinstance(plan, int):
            meter.now += plan
            wanted[name] = wanted.get(name, 0) + plan
        else:
            for inner, rest in plan:
                meter.now += 1
                wanted[name] = wanted.get(name, 0) + 1
                with stage(inner):
                    follow(rest, inner)

    with Recorder(meter) as recorder:
        follow(plan, "assemble")
    stages = recorder.stages()
    assert {name: reading.seconds for name, reading in stages.items() if reading.seconds} == wanted
    assert sum(reading.cpu_seconds for reading in stages.values()) == meter.now


def test_an_error_closes_every_stage_it_leaves():
    meter = Ticks()
    recorder = Recorder(meter)
    with suppress(ZeroDivisionError), recorder, stage("search"), stage("embed"):
        meter.now += 3
        meter.now //= 0
    meter.now += 5
    assert add(recorder.stages().values()).seconds == 3
    with stage("search"):  # outside an answer
        meter.now += 1
    assert add(recorder.stages().values()).seconds == 3


def test_threads_book_to_their_own_answers():
    found = {}

    def answer(name: str) -> None:
        with Recorder(Ticks()) as recorder, stage(name):
            time.sleep(0.01)
        found[name] = set(recorder.stages())

    threads = [threading.Thread(target=answer, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: {"assemble", name} for name in "abcd"}


def test_the_first_token_divides_a_generation_and_no_other_stage():
    meter = Ticks()
    with Recorder(meter) as recorder:
        with stage("rewrite"):
            first_token()
            meter.now += 1
        with stage("generate"):
            meter.now += 7
            first_token()
            meter.now += 2
            first_token()
            meter.now += 3
        meter.now += 4
    first_token()  # outside an answer
    assert {name: reading.seconds for name, reading in recorder.stages().items()} == {
        "assemble": 4,
        "rewrite": 1,
        "generate": 7,
        "decode": 5,
    }


# -------------------------------------------------------------------------------------------------------- generations


@given(
    window=READINGS,
    after=st.none() | READINGS,
    prefill=st.none() | SECONDS,
    decode=st.none() | SECONDS,
    first=st.none() | SECONDS,
    static=st.none() | st.integers(0, 50),
    here=st.booleans(),
)
def test_the_parts_of_a_generation_sum_to_its_window(window, after, prefill, decode, first, static, here):
    completion = Completion(
        text="x",
        tokens_in=30,
        tokens_cached=9,
        tokens_out=5,
        prefill_seconds=prefill,
        decode_seconds=decode,
        seconds_to_first_token=first,
    )
    window, after = (
        each and replace(each, tokens_in=None, tokens_cached=None, tokens_out=None) for each in (window, after)
    )
    costs = split_generation(window, completion, runs_here=here, static_tokens=static, model="a", after=after)
    total = add(cost.reading for cost in costs)
    told, window = after is not None, window if after is None else add((window, after))
    assert total.seconds == pytest.approx(window.seconds, rel=1e-12, abs=1e-12)
    assert total.elsewhere == ({} if here else {"a": (30, 9, 5)})
    if window.cpu_seconds is not None:
        assert total.cpu_seconds == pytest.approx(window.cpu_seconds, rel=1e-12, abs=1e-12)
    else:
        assert total.cpu_seconds is None
    assert (total.tokens_in, total.tokens_cached, total.tokens_out) == (30, 9, 5)
    untold = not told and first is None and None in (prefill, decode)
    assert [cost.stage for cost in costs] == (["generate"] if untold else ["prefill", "decode"])


def test_the_engines_own_timings_divide_the_window():
    completion = Completion(text="x", tokens_in=10, prefill_seconds=1.0, decode_seconds=3.0, seconds_to_first_token=9.0)
    prefill, decode = split_generation(
        Reading(seconds=8.0, cpu_seconds=16.0), completion, runs_here=True, static_tokens=None
    )
    assert (prefill.reading.seconds, prefill.reading.cpu_seconds) == (2.0, 4.0)
    assert (decode.reading.seconds, decode.reading.cpu_seconds) == (6.0, 12.0)


def test_where_the_first_token_was_seen_each_part_keeps_its_own_cpu_time():
    completion = Completion(text="x", tokens_in=10, tokens_out=4, prefill_seconds=1.0, decode_seconds=1.0)
    windows = Reading(seconds=1.1, cpu_seconds=8.0), Reading(seconds=0.9, cpu_seconds=1.0)
    prefill, decode = split_generation(windows[0], completion, runs_here=True, static_tokens=None, after=windows[1])
    assert prefill.reading == replace(windows[0], tokens_in=10)
    assert decode.reading == replace(windows[1], tokens_out=4)


@pytest.mark.parametrize(
    ("tokens_in", "cached", "static", "factor"),
    [
        (100, 80, 40, 3.0),  # 60 tokens would have been read, 20 were
        (100, 20, 60, 0.5),  # another prompt had pushed the prefix out: 80 were read, 40 would have been
        (100, 0, 99, 0.01),
        (100, 99, 0, 100.0),
        (10, 0, 50, 0.1),  # at least the last token is always read
        (100, 40, 40, None),
        (100, 40, None, None),
        (100, 100, 40, None),
        (None, 40, 20, None),
        (100, None, 20, None),
    ],
)
def test_standalone_prefill_is_rebuilt_from_the_tokens_that_would_have_been_read(tokens_in, cached, static, factor):
    completion = Completion(
        text="x", tokens_in=tokens_in, tokens_cached=cached, prefill_seconds=1.0, decode_seconds=1.0
    )
    prefill, decode = split_generation(
        Reading(seconds=4.0, cpu_seconds=8.0), completion, runs_here=True, static_tokens=static
    )
    assert decode.standalone is None
    if factor is None:
        assert prefill.standalone is None
    else:
        assert prefill.standalone.cpu_seconds == pytest.approx(4.0 * factor)
        assert prefill.standalone.seconds == pytest.approx(2.0 * factor)
        assert prefill.standalone.tokens_cached == min(static, tokens_in - 1)
        ledger = Ledger(stages=(prefill, decode))
        assert standalone(ledger).cpu_seconds == pytest.approx(4.0 * factor + 4.0)
        assert spent(ledger).cpu_seconds == pytest.approx(8.0)


# ------------------------------------------------------------------------------------------------------ sums and prices


@given(readings=st.lists(READINGS, min_size=1, max_size=5), order=st.randoms())
def test_a_sum_knows_what_its_parts_know_in_any_order(readings, order):
    total = add(readings)
    shuffled = list(readings)
    order.shuffle(shuffled)
    assert add(shuffled).seconds == pytest.approx(total.seconds)
    assert (total.cpu_seconds is None) == any(reading.cpu_seconds is None for reading in readings)
    for name in ("tokens_in", "tokens_cached", "tokens_out"):
        known = [value for reading in readings if (value := getattr(reading, name)) is not None]
        assert getattr(total, name) == (sum(known) if known else None)
    assert total.shared == any(reading.shared for reading in readings)
    assert total.foreign_load == max(
        (each.foreign_load for each in readings if each.foreign_load is not None), default=None
    )


@given(reading=READINGS, factor=st.floats(0, 50))
def test_scaling_multiplies_clocks_and_keeps_tokens(reading, factor):
    scaled = scale(reading, factor)
    assert scaled.seconds == reading.seconds * factor
    assert (scaled.cpu_seconds is None) == (reading.cpu_seconds is None)
    assert (scaled.tokens_in, scaled.tokens_out) == (reading.tokens_in, reading.tokens_out)


@given(first=DEVICES, second=DEVICES, third=DEVICES)
def test_sums_do_not_depend_on_how_they_are_grouped(first, second, third):
    together = figures(add([first, second, third]))
    for grouped in (add([add([first, second]), third]), add([first, add([second, third])])):
        assert {name: getattr(grouped, name) for name in together} == together


@given(parts=st.lists(DEVICES, min_size=1, max_size=4), factor=st.floats(0.01, 50))
def test_scaling_a_sum_is_summing_scaled_parts(parts, factor):
    scaled = figures(scale(add(parts), factor))
    del scaled["foreign_load"]
    of_parts = add(scale(part, factor) for part in parts)
    assert {name: getattr(of_parts, name) for name in scaled} == scaled


@given(parts=alike(), factor=st.floats(0.01, 50))
def test_a_price_is_linear_in_readings_of_one_meter(parts, factor):
    whole = price(add(parts), ALL_KNOWN)
    energies = [price(part, ALL_KNOWN) for part in parts]
    longer = price(scale(add(parts), factor), ALL_KNOWN)
    for bound in ("low", "central", "high"):
        assert getattr(whole, bound) == pytest.approx(sum(getattr(each, bound) for each in energies))
        assert getattr(longer, bound) == pytest.approx(factor * getattr(whole, bound))
    assert whole.low <= whole.central <= whole.high


@given(tokens=TOKENS, more=st.sampled_from([(1, 0, 0), (0, 0, 1), (1, 1, 0)]))
def test_more_tokens_never_cost_less_and_cached_ones_never_more(tokens, more):
    def of(counts):
        return price(Reading(seconds=1.0, cpu_seconds=0.0, elsewhere={"b": counts}), ALL_KNOWN)

    before, after = of(tokens), of(tuple(map(sum, zip(tokens, more, strict=True))))
    assert (before.low, before.central, before.high) <= (after.low, after.central, after.high)
    if tokens[0] > tokens[1]:
        cached = of((tokens[0], tokens[1] + 1, tokens[2]))
        assert (cached.low, cached.central, cached.high) <= (before.low, before.central, before.high)


HERE = Reading(seconds=1.0, cpu_seconds=1.0)


@pytest.mark.parametrize(
    ("seen", "source", "central"),
    [
        ({}, "cpu_time", 2.0),
        ({"counter_joules": {"package-0": 7.0, "dram-0": 1.0}}, "counter", 8.0),
        ({"counter_joules": {"package-0": 7.0, "gpu-0": 5.0}, "gpu_busy_seconds": 1.0}, "counter", 12.0),
        ({"counter_joules": {"gpu-0": 5.0}}, "cpu_time", 7.0),
        ({"gpu_busy_seconds": 0.5}, "utilisation", 102.0),
        ({"counter_joules": {"package-0": 7.0}, "gpu_busy_seconds": 0.5}, "utilisation", 107.0),
        ({"elsewhere": {"a": (10, 4, 3)}}, "modelled", 2.0 + 6 * 0.2 + 4 * 0.01 + 3 * 1.0),
        ({"counter_joules": {"package-0": 7.0}, "elsewhere": {"a": (0, 0, 1), "b": (0, 0, 1)}}, "modelled", 18.0),
    ],
)
def test_the_source_of_a_price_is_that_of_its_least_certain_part(seen, source, central):
    energy = price(replace(HERE, **seen), ALL_KNOWN)
    assert (energy.source, energy.central) == (source, pytest.approx(central))
    assert energy.low <= energy.central <= energy.high


@pytest.mark.parametrize(
    "seen", [{"elsewhere": {"a": (1, 0, 1)}}, {"elsewhere": {"unheard": (0, 0, 0)}}, {"gpu_busy_seconds": 1.0}]
)
def test_a_part_without_coefficients_leaves_the_whole_without_a_price(seen):
    assert price(replace(HERE, **seen), WATTS) is None
    assert price(add([HERE, replace(HERE, **seen)]), WATTS) is None


def test_a_counter_that_dies_falls_back_and_a_gpu_that_dies_leaves_its_energy_unknown():
    counted = replace(HERE, counter_joules={"package-0": 7.0, "dram-0": 1.0})
    assert add([counted, replace(HERE, counter_joules={"package-0": 2.0})]).counter_joules == {"package-0": 9.0}
    assert price(add([counted, HERE]), ALL_KNOWN).source == "cpu_time"
    assert price(add([counted, Reading(seconds=0.0, cpu_seconds=0.0)]), ALL_KNOWN).central == 8.0
    for gone in ({"counter_joules": {"gpu-0": 5.0}}, {"gpu_busy_seconds": 1.0}):
        assert price(add([replace(HERE, **gone), HERE]), ALL_KNOWN) is None


class Elsewhere:
    """A model on another machine."""

    runs_here, name, digest = False, "a", "a+library-1"


def test_a_call_that_failed_elsewhere_leaves_its_stage_unknown_and_one_that_never_began_does_not():
    class Failing(Elsewhere):
        def __init__(self, error):
            self.error = error

        def generate(self, prompt, decoding):
            raise self.error

    seen = {}
    for error in (ModelFailure("refused", "no"), InfrastructureFailure("rate_limit", "later")):
        with Recorder(Ticks()) as recorder, suppress(GenerationError), stage("rewrite") as window:
            window.generate(Failing(error), Prompt(messages=()), Decoding())
        seen[error.code] = recorder.stages()["rewrite"].cpu_seconds
    assert seen == {"refused": None, "rate_limit": 0}


def test_calls_to_other_machines_are_booked_to_their_stages_by_model():
    meter = Ticks()
    with Recorder(meter) as recorder:
        with stage("rewrite") as window:
            window.count(Completion(text="x", tokens_in=20, tokens_cached=4, tokens_out=6), Elsewhere())
            window.count(Completion(text="x", tokens_in=10, tokens_out=1), Elsewhere())
        with stage("embed") as window:
            window.elsewhere("embedder e", 9)
        with stage("rerank") as window:
            window.count(Completion(text="x"), Elsewhere())
    stages = recorder.stages()
    assert stages["rewrite"].elsewhere == {"a": (30, 4, 7)}
    assert (stages["rewrite"].tokens_in, stages["rewrite"].tokens_out) == (30, 7)
    assert (stages["embed"].elsewhere, stages["embed"].tokens_in) == ({"embedder e": (9, 0, 0)}, None)
    assert stages["rerank"].cpu_seconds is None  # nobody counted its tokens
    nameless = Elsewhere()
    nameless.name = ""
    assert (name_of(Elsewhere()), name_of(nameless)) == ("a", "a+library-1")


@given(less=SECONDS, more=SECONDS, shared=st.booleans())
def test_more_cpu_time_never_costs_less(less, more, shared):
    low, high = (price(Reading(seconds=1.0, cpu_seconds=each, shared=shared), WATTS) for each in sorted((less, more)))
    assert (low.low, low.central, low.high) <= (high.low, high.central, high.high)
    assert high.low <= high.central <= high.high
    assert (high.source, high.shared, high.includes) == ("cpu_time", shared, "i")
    both = price(add([Reading(seconds=1.0, cpu_seconds=each) for each in (less, more)]), WATTS)
    assert both.central == pytest.approx(low.central + high.central)


def test_what_was_not_measured_has_no_price():
    unknown = Reading(seconds=3.0)
    assert price(unknown, WATTS) is None
    assert price(add([unknown, Reading(seconds=1.0, cpu_seconds=1.0)]), WATTS) is None
    assert price(Reading(seconds=3.0, cpu_seconds=2.0), WATTS).central == 4.0
    for whole in (spent(Ledger()), standalone(Ledger())):
        assert price(whole, WATTS) is None


def test_an_answers_cost_in_each_unit():
    known = Reading(seconds=2.0, cpu_seconds=3.0, tokens_in=10, tokens_out=5)
    answer = Answer(
        configuration="c", question="q", ledger=Ledger(stages=(StageCost(stage="generate", reading=known),))
    )
    assert {unit: standalone_cost(answer, unit, WATTS) for unit in ("joules", "tokens", "seconds")} == {
        "joules": 6.0,
        "tokens": 15.0,
        "seconds": 2.0,
    }
    hosted = replace(answer, ledger=Ledger(stages=(StageCost(stage="generate", reading=Reading(seconds=2.0)),)))
    assert [standalone_cost(hosted, unit, WATTS) for unit in ("joules", "tokens", "seconds")] == [None, None, 2.0]
    assert standalone_cost(replace(answer, ledger=Ledger()), "seconds", WATTS) is None
