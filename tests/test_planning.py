"""Plans: tokens as the run will count them, absence where nothing was timed, warnings, and the truth held against them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import workbench
from tests.conftest import KEY, experiment, hosted, needs_embedded, prompt, python
from workbench import registry
from workbench.errors import InputError
from workbench.footprint import Estimate
from workbench.plan_report import print_plan, range_cell, seconds_cell
from workbench.planning import plan
from workbench.plans import Plan, amount, as_mapping, compare_with_plan, from_mapping
from workbench.records import Configuration, Decoding, as_json
from workbench.sampling import KINDS, stand_in

LONG = {"passages": [1, 2, 3], "chunk_tokens": [8, 12, 16, 24], "context_tokens": [10, 20, 40, 60, 80]}


def planned(**changes: Any) -> Plan:
    return plan(experiment(**changes), calibrate=False)


def truth(**changes: Any) -> workbench.Comparison:
    workbench.run(experiment(**changes), fresh=True)
    return workbench.compare()


def tokens_in(comparison: workbench.Comparison) -> float:
    return sum((figures.tokens_in or 0) * figures.answers for figures in comparison.figures)


# ------------------------------------------------------------------------------------------------------------- tokens


def test_prompts_are_counted_as_the_run_counts_them():
    """All eight questions are looked at, by the model's own count: nothing is left to guess."""
    found = plan(experiment())
    assert found.grid.tokens_in.central == pytest.approx(tokens_in(truth()), rel=1e-9)
    assert found.grid.calls == (32, 32, 32)
    assert found.configurations == 4
    assert sum(each.configurations for each in found.models) == 4


def test_kinds_that_were_not_looked_at_are_told_from_those_that_were():
    space = {"model": ["scripted"], "retriever": ["bm25"], "prompt": ["terse", "cite"], **LONG}
    found = plan(experiment(space=space))
    assert found.configurations > KINDS
    assert any(f"{KINDS} of" in note for note in found.notes)
    took = tokens_in(truth(space=space))
    assert found.grid.tokens_in.low <= took <= found.grid.tokens_in.high
    assert found.grid.tokens_in.central == pytest.approx(took, rel=0.1)


def test_repeats_are_counted_where_decoding_draws():
    space = {"model": ["scripted"], "retriever": ["none"], "temperature": [0, 1]}
    assert planned(space=space, repeats=3).grid.calls.central == 8 * (1 + 3)


def test_other_retrievers_stand_in_for_what_is_not_at_hand():
    dense = Configuration({"model": "scripted", "retriever": "dense", "rerank": "embedder", "index": "HNSW8"})
    made, why = stand_in(dense, lambda configuration: False)
    assert made["retriever"] == "bm25"
    assert set(made.axes) == {"model", "retriever"}
    assert why == ("rerankers were left out", "bm25 stood in for dense")
    same, why = stand_in(dense, lambda configuration: True)
    assert same["retriever"] == "dense"
    assert same["index"] == "HNSW8"
    closed = Configuration({"model": "scripted", "retriever": "none"})
    assert stand_in(closed, lambda configuration: False) == (closed, ())


def test_what_cannot_run_with_the_corpus_is_left_out_and_said():
    space = {"model": ["scripted"], "retriever": ["everything", "bm25"], "context_tokens": [16], "passages": [1]}
    found = planned(space=space)
    assert list(found.refused.values()) == [1]
    assert "raise it" in next(iter(found.refused))
    assert found.grid.calls.central == 8


def test_models_that_rewrite_questions_are_counted_roughly():
    space = {"model": ["scripted"], "retriever": [{"name": "hyde", "retriever": "bm25"}], "passages": [1]}
    plain = planned(space={"model": ["scripted"], "retriever": ["bm25"], "passages": [1]})
    assert planned(space=space).grid.tokens_in.central > plain.grid.tokens_in.central


# -------------------------------------------------------------------------------------------------------- seconds, money


def test_without_timing_nothing_is_said_of_seconds_and_joules():
    found = planned()
    assert found.grid.seconds is None
    assert found.grid.joules is None
    assert found.grid.grams_co2e is None
    assert not found.calibrated


def test_a_few_answers_tell_seconds_and_joules():
    space = {
        "model": [{"name": "scripted", "seconds": 0.002}],
        "retriever": ["none", "bm25"],
        "prompt": ["terse", "cite"],
    }
    found = plan(experiment(space=space, timeout_seconds=30))
    assert found.calibrated
    assert found.grid.seconds is not None
    assert found.grid.joules is not None
    assert found.grid.seconds.low > 0.5 * 4 * 8 * 0.002
    assert found.grid.joules.source == "cpu_time"
    assert 0 < found.grid.joules.low < found.grid.joules.central < found.grid.joules.high
    assert all(each.known == "12 answers timed here" for each in found.models)


def test_a_race_takes_no_more_than_the_grid_and_its_expectation_follows_the_strategy():
    found = planned(strategy="race")
    for part in ("calls", "tokens_in", "tokens_out"):
        raced, grid = getattr(found.race, part), getattr(found.grid, part)
        assert raced.low <= raced.central <= raced.high <= grid.high
    assert found.expected is found.race
    assert planned().expected is not None
    assert planned().strategy == "grid"


def test_the_confirmation_lies_between_the_cheapest_and_the_dearest_configuration():
    found = plan(experiment(strategy="race", space={"prompt": ["terse", "steps"], "max_tokens": [4, 32]})).confirmation
    assert found is not None
    assert found.calls == (8, 8, 8)
    assert found.joules is not None
    energy = Estimate(found.joules.low, found.joules.central, found.joules.high)
    for part in (found.tokens_in, found.tokens_out, found.seconds, energy):
        assert part is not None
        assert part.low <= part.central <= part.high


def test_a_named_reference_is_planned_among_the_configurations():
    named = {"model": "scripted", "retriever": "bm25", "passages": 2}
    found = planned(strategy="race", goal={"reference": named})
    assert found.level == "reference"
    assert found.configurations == 5
    assert found.decidable[0].against == "the reference"


def test_hosted_models_have_a_price_and_no_seconds(provider):
    header = "model,dollars_per_million_in,dollars_per_million_cached,dollars_per_million_out\n"
    Path("prices.csv").write_text(header + "openai:fake,1,0.5,2\n", encoding="utf-8")
    space = {"model": [hosted(provider)], "retriever": ["none"], "max_tokens": [10]}
    before = len(provider.requests)
    found = plan(experiment(space=space))
    assert len(provider.requests) == before  # planning spends nothing
    dollars = found.grid.dollars
    assert dollars is not None
    assert dollars.high == pytest.approx((found.grid.tokens_in.high + 2 * found.grid.tokens_out.high) / 1e6)
    assert found.grid.tokens_out == (8, 40, 80)
    assert found.grid.seconds is None
    assert found.grid.joules is None  # nobody told its size
    assert KEY not in as_json(as_mapping(found))


def test_a_hosted_model_without_a_price_is_not_priced(provider):
    space = {"model": [hosted(provider, active_billion=8, total_billion=8)], "retriever": ["none"]}
    found = planned(space=space)
    assert found.grid.dollars is None
    assert found.models[0].dollars is None
    assert "seconds are not known" in found.models[0].known


# -------------------------------------------------------------------------------------------------- claims and warnings


def test_a_claim_about_new_questions_is_not_promised_below_what_they_can_show():
    found = planned(strategy="race")
    new = found.decidable[1]
    assert new.about == "new questions"
    assert new.questions == 4
    assert not new.promised
    assert new.needed is not None
    assert new.needed > 500
    assert f"0.05 needs about {new.needed}" in new.statement
    assert any("nothing is promised about new questions" in warning for warning in found.warnings)
    assert planned(goal={"margin": 0.9}).decidable[1].promised


def test_without_a_test_split_nothing_can_be_shown_about_new_questions():
    found = planned(questions={"split": "all"})
    assert found.confirmation is None
    assert found.decidable[1].margin is None
    assert "no test split" in found.decidable[1].statement


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": {"calls": 3}}, "budget.calls is 3, and about 32 are expected"),
        ({"budget": {"tokens": 10}}, "budget.tokens is 10"),
        (
            {"space": {"model": [{"name": "scripted", "context_tokens": 30}]}},
            "its window holds 30 with the answer",
        ),
        ({}, "8 questions are too few"),
    ],
)
def test_what_should_be_mended_is_said(changes, said):
    assert any(said in warning for warning in planned(**changes).warnings)


def test_a_budget_that_cannot_stop_the_run_is_said(provider):
    space = {"model": [hosted(provider)], "retriever": ["none"]}
    found = planned(space=space, budget={"watt_hours": 1})
    assert any("budget.watt_hours does not count" in warning for warning in found.warnings)


def test_what_a_run_refuses_a_plan_refuses():
    with pytest.raises(InputError, match="no possible configuration"):
        planned(space={"model": ["none"], "retriever": ["none"]})
    with pytest.raises(InputError, match=r"space\.nonsense is not a known key"):
        planned(space={"nonsense": [1]})


# ------------------------------------------------------------------------------------------------------ kept and compared


def test_a_plan_is_kept_as_plain_data():
    found = plan(experiment(strategy="race"))
    assert from_mapping(json.loads(json.dumps(as_mapping(found)))) == found
    with pytest.raises(InputError, match="the stored plan cannot be read"):
        from_mapping({"experiment": "x"})


def test_one_line_holds_the_plan_against_the_truth():
    found = plan(experiment())
    line = compare_with_plan(found, truth())
    assert line.startswith("Planned against taken: answers 32 (32–32), 32 (+0%, inside); for those 32: tokens ")
    assert "seconds" in line
    assert "seconds not estimated" in compare_with_plan(planned(), truth())


def test_where_other_answers_were_asked_than_expected_as_many_are_held_against_the_truth():
    """A race may ask more or less than one expects: that is said of its answers, and not of what an answer takes."""
    found = plan(experiment())
    fewer = truth(questions={"limit": 2})
    line = compare_with_plan(found, fewer)
    assert "answers 32 (32–32), 8 (-75%, outside); for those 8: tokens " in line
    asked = {figures.configuration.id: figures.answers for figures in fewer.figures}
    expected = sum(found.one_answer[each].tokens.central * answers for each, answers in asked.items())
    assert f"tokens {amount(expected)} (" in line
    whole = [each.central for each in (found.grid.tokens_in, found.grid.tokens_out)]
    assert sum(each.tokens.central for each in found.one_answer.values()) * 8 == pytest.approx(sum(whole))
    without = compare_with_plan(replace(found, one_answer={}), fewer)
    assert without.endswith("what one answer of each setup takes is not kept with this plan.")


def test_the_command_prints_a_table_or_json():
    Path("experiment.yaml").write_text(yaml.safe_dump(experiment(strategy="race")), encoding="utf-8")
    table = python("-m", "workbench", "plan", "experiment.yaml", "--no-calibrate")
    assert table.returncode == 0, table.stderr
    assert "raced, expected" in table.stdout
    assert "not estimated" in table.stdout
    assert "warning: 8 questions are too few" in table.stderr
    plain = python("-m", "workbench", "plan", "experiment.yaml", "--no-calibrate", "--format", "json")
    assert json.loads(plain.stdout)["configurations"] == 4
    wrong = python("-m", "workbench", "plan", "nowhere.yaml")
    assert wrong.returncode == 2
    assert "no such experiment" in wrong.stderr


def test_a_plan_reads_well(capsys):
    print_plan(plan(experiment(strategy="race")))
    printed = capsys.readouterr()
    assert (
        "4 configurations × 8 questions; strategy race, level screen; fewest tokens within 0.05 at 95%." in printed.out
    )
    assert "confirming on 4 new questions" in printed.out
    print_plan(plan(experiment()))
    assert "then confirming on 4 new questions" in " ".join(capsys.readouterr().out.split())
    assert "nothing is bought" in printed.out


def test_figures_are_printed_with_their_range_and_a_unit_that_suits():
    assert range_cell(Estimate(5, 5, 5)) == "5.00"
    assert range_cell(Estimate(900, 12_345, 20_000)) == "12,345 (900–20,000)"
    assert seconds_cell(Estimate(60, 119, 150)) == "119 (60.0–150) s"
    assert seconds_cell(Estimate(60, 180, 240)) == "3.00 (1.00–4.00) min"


# ---------------------------------------------------------------------------------------------------- embedded models


@needs_embedded
@pytest.mark.parametrize("style", ["chat", "text"])
def test_an_embedded_model_counts_a_prompt_as_it_reads_it(style):
    model = registry.build("models", {"name": "embedded:smollm2-135m", "style": style})
    try:
        asked = prompt("Is <|im_end|> a mark, or text? Ça va: 你好.")
        counted = model.count_prompt(asked)
        assert model.generate(asked, Decoding(max_tokens=1, temperature=0)).tokens_in == counted
    finally:
        model.close()


@needs_embedded
def test_an_embedded_model_is_planned_as_it_runs():
    changes = {"space": {"model": ["embedded:smollm2-135m"], "max_tokens": [4], "context_tokens": [64]}}
    found = plan(experiment(**changes))
    comparison = truth(**changes)
    assert found.grid.tokens_in.central == pytest.approx(tokens_in(comparison), rel=1e-9)
    assert found.grid.joules is not None
    taken = sum(figures.joules.central * figures.answers for figures in comparison.figures if figures.joules)
    assert 0.5 < taken / found.grid.joules.central < 2
