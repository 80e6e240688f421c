"""What energy is made of adds up, and what is not known of some answers does not hide what is known of the others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench
from tests.conftest import KEY, compared, experiment, hosted
from tests.fake_provider import FakeProvider, Reply
from workbench.breakdown import amortised, load_of, rates_by_model, stage_figures
from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.explanations import notes
from workbench.exports import as_mapping, export, header, rows
from workbench.ledger import price, standalone
from workbench.rates import FEWEST_ANSWERS, fit, generations, split
from workbench.records import (
    Answer,
    Coefficients,
    Configuration,
    Energy,
    Failure,
    IndexFacts,
    Ledger,
    OneOff,
    Question,
    Reading,
    Score,
    ScoredAnswer,
    StageCost,
    Trial,
    as_json,
)
from workbench.specification import Goal
from workbench.tally import Tally, tally_of
from workbench.tariffs import Tariff

WATTS = Coefficients(processor="p", watts_per_busy_vcpu=(1.0, 2.0, 4.0), source="s", includes="i")
MODEL = Configuration({"model": "scripted", "prompt": "terse"})


def generated(number: int, **changes: Any) -> Answer:
    """An answer of an engine that tells no timings, by the law 1 + 0.01·in + 0.1·out CPU-seconds."""
    tokens_in, tokens_out = 100 + 7 * number, 1 + number * 5 % 11
    cpu = 1 + 0.01 * tokens_in + 0.1 * tokens_out
    reading = Reading(
        seconds=cpu, cpu_seconds=cpu, tokens_in=tokens_in, tokens_cached=0, tokens_out=tokens_out, **changes
    )
    stages = (
        StageCost(stage="search", reading=Reading(seconds=0.5, cpu_seconds=0.5)),
        StageCost(stage="generate", reading=reading),
    )
    return Answer(configuration=MODEL.id, question=f"q{number}", ledger=Ledger(stages=stages))


REFUSED = Answer(
    configuration=MODEL.id,
    question="q0",
    ledger=Ledger(stages=(StageCost(stage="generate", reading=Reading(seconds=1.0, cpu_seconds=None)),)),
    failure=Failure(kind="model", code="refused", message="no"),
)


def compared_of(
    answers: list[Answer], *, one_offs: tuple[OneOff, ...] = (), index: IndexFacts | None = None
) -> Comparison:
    questions = [Question(id=each.question, question="?", answers=("a",)) for each in answers]
    scored = [ScoredAnswer(answer=each, scores=(Score(metric="token_f1", value=1.0),)) for each in answers]
    return compared(
        goal=Goal(metric="token_f1"),
        environment={"coefficients": json.loads(as_json(WATTS))},
        trials=[Trial(configuration=MODEL, state="finished", index=index)],
        questions=questions,
        answers=scored,
        one_offs=one_offs,
    )


def tally(answers: list[Answer]) -> Tally:
    questions = [Question(id=each.question, question="?", answers=("a",)) for each in answers]
    return tally_of(
        [ScoredAnswer(answer=each, scores=()) for each in answers], questions, None, [], Tariff(coefficients=WATTS)
    )


def test_a_generation_without_timings_is_divided_by_the_rates_and_sums_to_itself():
    answers = [generated(number) for number in range(30)]
    found = stage_figures(tally(answers).asked, 30, fit(generations(answers)), WATTS)
    assert set(found) == {"search", "prefill", "decode"}
    assert found["prefill"].rebuilt == found["decode"].rebuilt == 30
    assert found["search"].rebuilt == 0
    whole = [standalone(answer.ledger) for answer in answers]
    seconds = sum(reading.seconds for reading in whole) / len(whole)
    assert sum(stage.seconds for stage in found.values()) == pytest.approx(seconds)
    decode = sum(0.1 * (reading.tokens_out or 0) for reading in whole) / len(whole) * 2.0
    assert found["decode"].joules.central == pytest.approx(decode)


@given(st.integers(0, 29))
def test_the_parts_of_a_divided_generation_keep_its_tokens_and_its_clock(number):
    answers = [generated(each) for each in range(30)]
    whole = answers[number].ledger.stages[1].reading
    prefill, decode = split(whole, fit(generations(answers)))
    assert prefill.cpu_seconds + decode.cpu_seconds == pytest.approx(whole.cpu_seconds)
    assert (prefill.tokens_in, prefill.tokens_out) == (whole.tokens_in, None)
    assert (decode.tokens_in, decode.tokens_out) == (None, whole.tokens_out)


def test_without_rates_a_generation_stays_whole():
    answers = [generated(number) for number in range(FEWEST_ANSWERS - 1)]
    found = rates_by_model([MODEL, Configuration({"model": "none"})], [tally(answers), tally([])])
    assert set(found) == {"scripted"}
    assert found["scripted"].cpu_seconds is None
    assert "at least 12" in found["scripted"].lacking
    assert set(stage_figures(tally(answers).asked, len(answers), None, WATTS)) == {"search", "generate"}


def test_one_refused_answer_hides_nothing_of_the_others():
    answers = [generated(number) for number in range(1, 21)]
    alone, beside = compared_of(answers), compared_of([REFUSED, *answers])
    [one], [two] = alone.figures, beside.figures
    assert two.joules == one.joules
    assert (two.known, two.measured, two.uncounted) == (20, 21, 1)
    assert (two.tokens_in, two.tokens_out) == (one.tokens_in, one.tokens_out)
    assert two.stages == one.stages
    assert beside.spent.answering is None
    assert beside.spent.answering_known == alone.spent.answering_known == alone.spent.answering
    assert (alone.spent.unknown, beside.spent.unknown) == (0, 1)
    said = "\n".join(notes(beside))
    assert "the mean of 20 of 21 answers" in said
    assert "of 20 of 21 answers" in rows(beside)[0][header(beside).index("joules per answer (low–high)")]
    assert "20 of 21" not in "\n".join(notes(alone)) + str(rows(alone))
    mapping = as_mapping(beside)["configurations"][0]
    assert mapping["joules_known_of"] == {"answers": 20, "of": 21}


def test_without_any_known_answer_joules_are_not_measured():
    [figures] = compared_of([REFUSED]).figures
    assert figures.joules is None
    assert (figures.known, figures.measured) == (0, 1)


def test_one_off_work_is_spread_over_the_answers_that_are_stated():
    load = OneOff(work="load", what="scripted", reading=Reading(seconds=9.0, cpu_seconds=50.0))
    other = OneOff(work="load", what="another", reading=Reading(seconds=9.0, cpu_seconds=5000.0))
    index = IndexFacts(chunks=1, build=Reading(seconds=1.0, cpu_seconds=100.0))
    found = compared_of([generated(number) for number in range(20)], one_offs=(load, load, other), index=index)
    [figures] = found.figures
    assert as_mapping(found)["configurations"][0]["with_one_off_work_over"] is None
    spread = replace(found, over_answers=1000)
    told = as_mapping(spread)["configurations"][0]["with_one_off_work_over"]
    assert told["answers"] == 1000
    assert told["joules"]["central"] == pytest.approx(figures.joules.central + (50 + 100) * 2.0 / 1000)
    assert "joules per answer, one-off work over 1,000" in header(spread)
    assert len(rows(spread)[0]) == len(header(spread))
    assert any(note.startswith("One-off work over 1,000 answers") for note in notes(spread))
    assert "over_answers" in export(spread, "csv").splitlines()[0]
    thousand = as_mapping(found)["configurations"][0]["joules_per_1000"]
    assert thousand["central"] == pytest.approx(1000 * figures.joules.central)


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_more_answers_never_make_the_share_of_one_off_work_larger(few, more):
    joules = Energy(low=1.0, central=2.0, high=4.0, source="cpu_time")
    dear, cheap = amortised(joules, [joules], few), amortised(joules, [joules], few + more)
    assert joules.central <= cheap.central <= dear.central <= 2 * joules.central


def test_one_off_work_that_nobody_measured_is_not_nothing():
    joules = Energy(low=1.0, central=2.0, high=4.0, source="cpu_time")
    assert amortised(joules, [joules, None], 10) is None
    assert amortised(None, [joules], 10) is None
    assert load_of(MODEL, []) is None
    assert price(load_of(Configuration({"model": "none"}), []), WATTS).central == 0


def test_net_joules_stand_beside_gross_ones_where_counters_told_them():
    told = {"package-0": 6.0, "package-0-idle": 4.0}
    found = compared_of([generated(number, counter_joules=told) for number in range(20)])
    answer = found.figures[0]
    assert answer.net_joules is None  # the search has no counters, so that the sum has none
    whole = Ledger(stages=(StageCost(stage="select", reading=Reading(seconds=1, cpu_seconds=1, counter_joules=told)),))
    metered = compared_of([replace(generated(number), ledger=whole) for number in range(20)])
    [figures] = metered.figures
    assert figures.joules.central == pytest.approx(10)
    assert figures.net_joules.central == pytest.approx(6)
    assert "net joules per answer (low–high)" in header(metered)
    assert len(rows(metered)[0]) == len(header(metered))
    assert any("10.0 gross, 6.00 net" in note for note in notes(metered))


def test_the_number_of_answers_must_be_one():
    workbench.run(experiment(questions={"limit": 2}))
    assert workbench.compare(over_answers=10).over_answers == 10
    with pytest.raises(InputError, match="answers is 0; expected a number from 1 on"):
        workbench.compare(over_answers=0)


def test_a_refusal_in_a_run_leaves_the_joules_of_the_other_answers(provider: FakeProvider, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    provider.script = Reply(text="forty days", tokens_in=1000)
    model = hosted(provider, active_billion=8, total_billion=8)
    asked = experiment(space={"model": [model], "retriever": ["bm25"], "passages": [1]}, questions={"limit": 3})
    workbench.run(asked)
    provider.script = Reply(finish_reason="content_filter", tokens_in=1000)
    workbench.run({**asked, "questions": {"limit": 4}})
    [figures] = workbench.compare().figures
    assert figures.failures == {"refused": 1}
    assert (figures.known, figures.measured) == (3, 4)
    assert figures.joules.source == "modelled"
