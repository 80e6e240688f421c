"""The benchmark of searches: its landscapes are what they say, its replay counts, its rivals answer, its matrices read back."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import record, search
from benchmarks.searching.landscapes import LANDSCAPES, WORST_CASES, draw, worst_case
from benchmarks.searching.matrix import Matrix, read_matrix, write_matrix
from benchmarks.searching.replay import Case, Desk, play
from benchmarks.searching.report import MARKS, at_most, checks, rows
from benchmarks.searching.trials import (
    ALL_PAIRS,
    BERNSTEIN,
    DEAREST,
    EVERY,
    EXACT,
    HINDSIGHT,
    METHODS,
    OURS,
    REFERENCE,
    SCREEN,
    Task,
    cases_of,
    judge,
    replay,
)
from tests.conftest import ROOT, experiment
from workbench.errors import InputError
from workbench.space import points
from workbench.specification import Goal, read_experiment

_KNOW_OR_ASK_ALL = {REFERENCE, DEAREST, HINDSIGHT, "full grid, sorted", "full grid, bootstrap"}


def _small(questions: int = 40, rows: int = 12, seed: int = 0) -> Matrix:
    """A few configurations of a landscape that still have every axis."""
    drawn = draw("typical", questions, seed).matrix
    kept = np.linspace(0, len(drawn.configurations) - 1, rows).astype(int)
    return replace(
        drawn,
        configurations=tuple(drawn.configurations[row] for row in kept),
        axes=tuple(drawn.axes[row] for row in kept),
        scores=drawn.scores[kept],
        joules=drawn.joules[kept],
        tokens=drawn.tokens[kept],
    )


def _case(matrix: Matrix | None = None, margin: float = 0.1, seed: int = 0) -> Case:
    return next(cases_of(matrix or _small(), [margin], 0.95, seed))


# ------------------------------------------------------------------------------------------------------ landscapes


@pytest.mark.parametrize("name", LANDSCAPES)
def test_a_landscape_has_as_many_near_ties_as_it_says(name: str) -> None:
    for seed in range(5):
        drawn = draw(name, 20, seed)
        behind = drawn.means.max() - drawn.means
        assert [int((behind <= bound + 1e-9).sum()) for bound, _ in LANDSCAPES[name].within] == [
            count for _, count in LANDSCAPES[name].within
        ]


@pytest.mark.parametrize("name", LANDSCAPES)
def test_scores_of_a_landscape_have_the_means_that_were_set_and_mass_at_both_ends(name: str) -> None:
    drawn = draw(name, 20_000, 3)
    assert (
        np.abs(drawn.matrix.scores.mean(axis=1) - drawn.means).max() < 0.02
    )  # four standard errors of shared difficulty
    assert 0.05 < (drawn.matrix.scores == 0).mean() < 0.6
    assert 0.05 < (drawn.matrix.scores == 1).mean() < 0.6


@pytest.mark.parametrize("name", LANDSCAPES)
def test_paired_deviations_and_costs_of_a_landscape_spread_as_in_real_grids(name: str) -> None:
    drawn = draw(name, 4_000, 1)
    scores, best = drawn.matrix.scores, int(drawn.means.argmax())
    deviations = [(scores[best] - scores[row]).std() for row in range(len(scores)) if row != best]
    assert 0.28 < np.median(deviations) < 0.46
    costs = drawn.matrix.joules.mean(axis=1)
    assert 25 < costs.max() / costs.min() < 36


def test_the_same_seed_draws_the_same_and_another_one_something_else() -> None:
    one, again, other = (draw("wide", 30, seed).matrix for seed in (1, 1, 2))
    assert np.array_equal(one.scores, again.scores)
    assert np.array_equal(one.joules, again.joules)
    assert not np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("kind", WORST_CASES)
@pytest.mark.parametrize("margin", [0.02, 0.05, 0.1])
def test_in_a_worst_case_all_but_one_are_just_outside_the_margin_and_cheaper(kind: str, margin: float) -> None:
    matrix = worst_case(kind, margin, 200, 0)
    means, costs = matrix.scores.mean(axis=1), matrix.joules.mean(axis=1)
    gaps = means[0] - means[1:]
    assert gaps == pytest.approx(np.full(59, margin + 1 / 200), abs=1e-9)
    assert (costs[1:] < costs[0] * 1.2).all()
    assert ((matrix.scores >= 0) & (matrix.scores <= 1)).all()


# ---------------------------------------------------------------------------------------------------------- replay


def test_the_grid_of_the_product_asks_everything_once() -> None:
    case = _case()
    desk = play(case, "grid", Goal())
    assert desk.answered.all()
    found = desk.found(0)
    assert found.evaluations == case.scores.size
    assert found.joules == pytest.approx(float(case.joules.sum()))


def test_asking_again_costs_nothing() -> None:
    case = _case()
    desk = Desk(case)
    desk.ask([0, 3], slice(5))
    first = desk.found(0)
    desk.ask(3, slice(2, 5))
    assert desk.found(0) == first
    assert first.evaluations == 10
    assert first.joules == pytest.approx(float(case.joules[[0, 3], :5].sum()))


def test_a_search_is_shown_only_what_it_asked() -> None:
    case = _case()
    desk = Desk(case)
    desk.ask([2], slice(4))
    shown = desk.standings()
    assert np.isnan(shown.scores).sum() == case.scores.size - 4
    assert np.array_equal(shown.scores[2, :4], case.scores[2, :4])
    assert np.array_equal(np.isnan(shown.scores), np.isnan(shown.costs))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers_on_a_tiny_matrix_and_again_the_same(method: str) -> None:
    case = _case()
    found = METHODS[method](case)
    assert 0 <= found.pick < len(case.scores)
    assert 0 < found.evaluations <= case.scores.size + 2 * case.test_scores.shape[1]
    assert found.joules > 0
    assert METHODS[method](case) == found


@pytest.mark.parametrize("method", sorted(METHODS.keys() - _KNOW_OR_ASK_ALL))
def test_what_was_never_asked_does_not_matter(method: str) -> None:
    case = _case(_small(90))
    found = METHODS[method](case)
    blind = replace(case, scores=np.where(found.asked, case.scores, np.nan))
    assert not found.asked.all()
    assert METHODS[method](blind) == found


def test_the_test_split_of_a_matrix_is_no_part_of_what_is_searched() -> None:
    matrix = _small(60)
    case = _case(matrix, seed=4)
    assert case.scores.shape[1] == 40
    assert case.test_scores.shape[1] == 20
    together = np.sort(np.hstack([case.scores, case.test_scores]), axis=1)
    assert np.array_equal(together, np.sort(matrix.scores, axis=1))


# --------------------------------------------------------------------------------------------------------- judging


def test_the_full_grid_is_exact_and_the_race_with_zeta_one_agrees_with_it() -> None:
    for seed in range(4):
        case = _case(_small(60, seed=seed), seed=seed)
        assert judge(case, "full grid, sorted", "made up").exact
        assert judge(case, EXACT, "made up").exact


def test_hindsight_never_needs_more_than_the_full_grid_and_finds_its_pick() -> None:
    for seed in range(4):
        judged = judge(_case(_small(60, seed=seed), seed=seed), HINDSIGHT, "made up")
        assert judged.evaluations <= 1
        assert judged.exact
        assert judged.sound or not judged.outside


@pytest.mark.parametrize("kind", WORST_CASES)
def test_nothing_is_certified_wrongly_where_all_but_one_are_just_outside(kind: str) -> None:
    found = [each for seed in range(2) for each in replay(_task(kind, seed))]
    assert {each.method for each in found} == {EVERY, EXACT, REFERENCE, SCREEN}
    assert not any(each.false for each in found)
    assert any(each.certified for each in found)


def _task(source: str | Matrix, seed: int) -> Task:
    return Task(source=source, questions=60, margins=(0.05,), confidence=0.95, seed=seed)


@given(st.integers(0, 60), st.integers(1, 60))
def test_a_binomial_bound_lies_above_what_was_seen_and_falls_with_more_trials(wrong: int, more: int) -> None:
    trials = 60
    assert wrong / trials <= at_most(wrong, trials) <= 1
    assert at_most(wrong, trials + more) <= at_most(wrong, trials)


def test_goals_that_are_not_met_are_said() -> None:
    judged = judge(_case(), SCREEN, "typical")
    bad = [replace(judged, margin=0.05, sound=False, outside=True, evaluations=0.9, joules=0.9)]
    table = rows([replace(each, questions=200) for each in bad])
    assert {check.goal for check in checks(table, 0.05) if not check.met} == {
        "default: sound ≥ 90%",
        "default: outside δ ≤ 5%",
        "default: ≤ 35% evaluations, ≤ 45% joules",
    }
    wrong = [replace(judged, method=EVERY, false=True, confirmed=None, false_new=None)] * 20
    assert [check.met for check in checks(rows(wrong), 0.05)] == [False]


# ---------------------------------------------------------------------------------------------------------- matrix


def test_a_matrix_reads_back_as_it_was_written(tmp_path: Path) -> None:
    matrix = _small()
    for name in ("small.jsonl.gz", "small.jsonl"):
        write_matrix(matrix, tmp_path / name)
        again = read_matrix(tmp_path / name)
        assert (again.name, again.configurations, again.axes) == ("small", matrix.configurations, matrix.axes)
        assert again.scores == pytest.approx(matrix.scores, abs=1e-6)
        assert again.joules == pytest.approx(matrix.joules, rel=1e-3)
    assert gzip.decompress((tmp_path / "small.jsonl.gz").read_bytes()) == (tmp_path / "small.jsonl").read_bytes()


def test_a_run_is_recorded_as_numbers_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "mine.yaml", tmp_path / "mine.jsonl"
    file.write_text(yaml.safe_dump(experiment(goal={"minimise": "joules"})), encoding="utf-8")
    record.main([str(file), str(out), "--limit", "3"])
    first = read_matrix(out)
    assert (len(first.configurations), len(first.questions)) == (4, 3)
    record.main([str(file), str(out)])
    whole = read_matrix(out)
    assert whole.configurations == first.configurations
    assert set(first.questions) < set(whole.questions)
    kept = [whole.questions.index(question) for question in first.questions]
    assert np.array_equal(whole.joules[:, kept], first.joules)
    assert "4 configurations × 8 questions" in capsys.readouterr().out
    assert "Skerry" not in out.read_text(encoding="utf-8")


def test_what_was_asked_for_the_recorded_matrices_can_be_asked() -> None:
    for file in sorted((ROOT / "benchmarks" / "data").glob("*.yaml")):
        asked = read_experiment(file)
        assert asked.goal.minimise == "joules"
        assert len(points(asked.space).configurations) == 60


def test_everything_wrong_with_a_matrix_is_said_at_once(tmp_path: Path) -> None:
    lines = [
        {"configuration": "a", "question": "1", "score": 1.5, "joules": 1, "tokens": 2},
        {"configuration": "a", "question": "2", "score": 1, "joules": None, "tokens": 2},
        {"configuration": "a", "question": "3", "score": 1, "joules": 1, "tokens": 2},
        {"configuration": "a", "question": "3", "score": 1, "joules": 1, "tokens": 2},
        {"configuration": "b", "question": "4", "score": 0, "joules": 1, "tokens": 2},
        {"configuration": 7, "question": "4", "score": 0, "joules": 1, "tokens": 2},
        {"configuration": "b", "question": "3", "score": 0, "joules": 1, "tokens": 2, "axes": 5},
    ]
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_matrix(path)
    said = "\n".join(error.value.problems)
    for part in (":1: score is 1.5", ":2: joules is None", ":4: a answers 3 a second time", ":6: configuration is 7"):
        assert part in said
    assert ":7: axes is 5" in said
    assert "a has no answer to 4" in said
    for text in ("", "{", "[]\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"bad\.jsonl"):
            read_matrix(path)


def test_a_matrix_of_ones_own_is_replayed_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_matrix(_small(45, rows=6), path)
    asked = ["--matrix", str(path), "--margin", "0.1", "--confidence", "0.9", "--seeds", "2", "--workers", "1"]
    command = [sys.executable, str(ROOT / "benchmarks" / "search.py"), *asked, "--format", "json"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert {row["method"] for row in found["rows"]} == set(METHODS)
    assert {(row["source"], row["questions"], row["margin"], row["replays"]) for row in found["rows"]} == {
        ("mine", 30, 0.1, 2)
    }
    grid = next(row for row in found["rows"] if row["method"] == "full grid, sorted")
    assert (grid["evaluations"], grid["joules"], grid["exact"], grid["outside"]) == (1, pytest.approx(1), 1, 0)
    assert all(0 <= row[key] <= 1 for row in found["rows"] for key in ("sound", "exact", "outside"))


def test_a_matrix_or_option_that_cannot_be_used_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"none\.jsonl"):
        search.main(["--matrix", str(tmp_path / "none.jsonl")])
    with pytest.raises(SystemExit):
        search.main(["--margin", "0", "--confidence", "2", "--seeds", "0"])
    said = capsys.readouterr().err
    assert "--margin: 0" in said
    assert "--confidence: 2" in said
    assert "--seeds: 0" in said


def test_ours_and_rivals_have_different_names() -> None:
    assert len(METHODS) == len(OURS) + 9


def test_every_method_is_drawn_in_looks_of_its_own_but_variants_and_hindsight() -> None:
    assert MARKS.keys() == METHODS.keys() - {BERNSTEIN, ALL_PAIRS, HINDSIGHT, DEAREST}
    assert len(set(MARKS.values())) == len(MARKS)
