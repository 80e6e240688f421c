"""Two setups face to face: won, tied and lost questions add up, and a duel turned round says the opposite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import workbench
from tests.stores import filled_store
from workbench.duels import face_to_face
from workbench.errors import NotComparable
from workbench.stats import anytime_difference


def test_a_duel_counts_every_question_and_turns_round(own_folder: Path) -> None:
    comparison = workbench.compare(store=filled_store(own_folder / "store.db"))
    one, other = (comparison.figures[row].configuration.id for row in (4, 2))
    duel, back = face_to_face(comparison, one, other), face_to_face(comparison, other, one)
    assert duel.wins + duel.ties + duel.losses == 24
    assert (duel.wins, duel.losses) == (back.losses, back.wins)
    assert duel.wins > duel.losses
    scores = comparison.matrix.scores["token_f1"]
    assert duel.difference is not None
    assert duel.difference.mean == pytest.approx(float((scores[4] - scores[2]).mean()))
    gaps = [abs(each.difference) for each in duel.questions]
    assert gaps == sorted(gaps, reverse=True)
    assert set(duel.ratios) == {"joules", "tokens", "seconds"}
    assert duel.ratios["joules"].mean == pytest.approx(1 / back.ratios["joules"].mean)


def test_two_runs_are_held_against_each_other_where_they_compare(own_folder: Path) -> None:
    path = own_folder / "store.db"
    store = filled_store(path, name="one")
    filled_store(path, name="two")
    one, two = (workbench.compare(name, store=store) for name in ("one", "two"))
    configuration = one.figures[4].configuration.id
    duel = face_to_face(one, configuration, configuration, other_comparison=two)
    assert duel.wins + duel.ties + duel.losses == 24
    elsewhere = replace(two, environment={**two.environment, "processor": "another"})
    held = face_to_face(one, configuration, configuration, other_comparison=elsewhere)
    assert held.ratios == {}
    assert "another machine" in held.not_compared
    assert held.difference == duel.difference
    unscored = replace(two, matrix=replace(two.matrix, scores={}))
    with pytest.raises(NotComparable, match="was not scored by token_f1"):
        face_to_face(one, configuration, configuration, other_comparison=unscored)


def test_a_race_gets_an_interval_that_holds_although_it_looked(own_folder: Path) -> None:
    comparison = replace(workbench.compare(store=filled_store(own_folder / "store.db")), strategy="race")
    one, other = (comparison.figures[row].configuration.id for row in (4, 2))
    duel = face_to_face(comparison, one, other)
    scores = comparison.matrix.scores["token_f1"]
    assert duel.anytime
    assert duel.difference == anytime_difference(scores[4], scores[2], 0.95)
    assert not np.isnan(scores[4]).any()
