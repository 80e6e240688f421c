"""Conservation, splitting and prices: every moment is booked once, and what was not measured is never 0."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.ledger import Recorder, add, price, scale, spent, split_generation, stage, standalone, standalone_cost
from workbench.records import Answer, Coefficients, Completion, Ledger, Reading, StageCost

WATTS = Coefficients(processor="p", watts_per_busy_vcpu=(1.0, 2.0, 4.0), source="s", includes="i")
SECONDS = st.floats(0, 100)
COUNT = st.none() | st.integers(0, 1000)
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


# -------------------------------------------------------------------------------------------------------- generations


@given(
    window=READINGS,
    prefill=st.none() | SECONDS,
    decode=st.none() | SECONDS,
    first=st.none() | SECONDS,
    static=st.none() | st.integers(0, 50),
    here=st.booleans(),
)
def test_the_parts_of_a_generation_sum_to_its_window(window, prefill, decode, first, static, here):
    completion = Completion(
        text="x",
        tokens_in=30,
        tokens_cached=9,
        tokens_out=5,
        prefill_seconds=prefill,
        decode_seconds=decode,
        seconds_to_first_token=first,
    )
    costs = split_generation(
        replace(window, tokens_in=None, tokens_cached=None, tokens_out=None),
        completion,
        runs_here=here,
        static_tokens=static,
    )
    total = add(cost.reading for cost in costs)
    assert total.seconds == pytest.approx(window.seconds, rel=1e-12, abs=1e-12)
    if here and window.cpu_seconds is not None:
        assert total.cpu_seconds == pytest.approx(window.cpu_seconds, rel=1e-12, abs=1e-12)
    else:
        assert total.cpu_seconds is None
    assert (total.tokens_in, total.tokens_cached, total.tokens_out) == (30, 9, 5)
    untold = first is None and None in (prefill, decode)
    assert [cost.stage for cost in costs] == (["generate"] if untold else ["prefill", "decode"])


def test_the_engines_own_timings_divide_the_window():
    completion = Completion(text="x", tokens_in=10, prefill_seconds=1.0, decode_seconds=3.0, seconds_to_first_token=9.0)
    prefill, decode = split_generation(
        Reading(seconds=8.0, cpu_seconds=16.0), completion, runs_here=True, static_tokens=None
    )
    assert (prefill.reading.seconds, prefill.reading.cpu_seconds) == (2.0, 4.0)
    assert (decode.reading.seconds, decode.reading.cpu_seconds) == (6.0, 12.0)


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
