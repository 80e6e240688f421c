"""Certificates: what they state follows from the store alone, and changing any part of one is found and named."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workbench
from tests.stores import SETUPS, filled_store
from tests.test_html_report import FETCHING, INJECTION, Page
from workbench.bundle import pack
from workbench.certificate import certificate, certificate_text, certify
from workbench.certificate_html import render_certificate
from workbench.errors import InputError, NotComparable
from workbench.recommendation import choose
from workbench.reports import compare
from workbench.schema import ANSWERS, QUESTIONS, TRIALS
from workbench.specification import Goal
from workbench.stats import Interval
from workbench.store import Store
from workbench.verdict import Claim
from workbench.verification import differences, leaves, verify

EXPLORED = Goal(metric="contains", margin=0.2, minimise="tokens", limits={"p95_seconds": 60})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    found = filled_store(
        tmp_path_factory.mktemp("evidence") / "store.db", setups=SETUPS[:4], questions=8, infrastructure_failures=1
    )
    yield found
    found.close()


@pytest.fixture(scope="module")
def plain(store: Store) -> dict[str, Any]:
    return certify(store=store)


@pytest.fixture(scope="module")
def explored(store: Store) -> dict[str, Any]:
    return certify(goal=EXPLORED, store=store)


def written(content: Any, path: str = "certificate.json") -> Path:
    Path(path).write_text(json.dumps(content), encoding="utf-8")
    return Path(path)


# ------------------------------------------------------------------------------------------------------ what it states


def test_it_states_the_recommendation_with_its_evidence(store: Store) -> None:
    found, comparison = certify(store=store), compare(store=store)
    recommendation = choose(comparison)
    assert found["verdict"] == recommendation.verdict
    assert found["goal"]["declared"] == comparison.goal.model_dump(mode="json")
    assert found["goal"]["exploratory"] is False
    assert recommendation.chosen is not None
    assert found["chosen"]["id"] == recommendation.chosen.id
    measured = comparison.of(recommendation.chosen.id)
    assert measured.joules is not None
    assert found["chosen"]["measured"]["joules_per_answer"]["central"] == pytest.approx(
        measured.joules.central, rel=1e-8
    )
    assert found["chosen"]["measured"]["joules_per_answer"]["known_by"] == "cpu_time"
    assert found["search"]["spent"]["answers"] == comparison.spent.answers == 32
    assert {each["id"] for each in found["rejections"]} | {found["chosen"]["id"]} == {
        figures.configuration.id for figures in comparison.figures
    }
    assert found["seeds"]["run"] == 7
    assert found["digests"]["corpus"]["digest"] == "0" * 32


def test_the_same_store_gives_the_same_bytes_and_nothing_that_is_no_number(store: Store) -> None:
    text = certificate_text(certify(store=store))
    assert text == certificate_text(certify(store=Store(store.url)))
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == certify(store=store)


def test_another_goal_is_exploratory(store: Store) -> None:
    found = certify(goal=EXPLORED, store=store)
    assert found["goal"]["exploratory"] is True
    assert found["goal"]["declared"]["margin"] == 0.05
    assert found["goal"]["judged"]["margin"] == 0.2
    assert "contains at most 0.2 below the best, p95 seconds at most 60" in found["goal"]["words"]


def test_undecided_and_nothing_qualifies_are_verdicts_like_any_other(store: Store, tmp_path: Path) -> None:
    open_store = filled_store(tmp_path / "s.db", setups=SETUPS[:5], questions=12)
    undecided = certify(store=open_store)
    assert undecided["verdict"] == "undecided"
    assert any(each["open"] for each in undecided["rejections"])
    assert verify(written(undecided), store=open_store).holds
    none = certify(goal=Goal(limits={"p95_seconds": 1e-9}), store=store)
    assert none["verdict"] == "nothing qualifies"
    assert none["chosen"] is None
    assert "comes nearest" in none["nearest_miss"]
    assert "Nothing qualifies" in Page(render_certificate(none)).text


def test_what_was_not_measured_is_absent_and_never_nought(tmp_path: Path) -> None:
    unmetered = filled_store(tmp_path / "s.db", setups=SETUPS[:3], questions=6, metered=False)
    found = certify(goal=Goal(minimise="tokens"), store=unmetered)
    assert found["chosen"]["measured"]["joules_per_answer"] is None
    assert found["search"]["spent"]["joules"] is None
    assert "not measured" in Page(render_certificate(found)).text
    assert verify(written(found), store=unmetered).holds


def test_a_running_run_gets_none(tmp_path: Path) -> None:
    running = filled_store(tmp_path / "s.db", setups=SETUPS[:2], questions=4)
    with running.lease(running.get("demo")), pytest.raises(InputError, match="is running"):
        certify(store=running)


def test_claims_are_stated_with_their_alpha_and_what_they_are_about(store: Store) -> None:
    comparison = compare(store=store)
    recommendation = choose(comparison)
    claim = Claim(
        about="new questions",
        against="the reference",
        statement="On questions drawn like the test split it scores at most 0.05 below the reference.",
        alpha=0.05,
        shown=False,
        reference=recommendation.reference,
        difference=Interval(mean=-0.01, low=-0.08, high=0.06, n=100),
        questions=100,
        available=120,
    )
    found = certificate(replace(recommendation, level="screen", claims=(claim,)), comparison, store)
    assert found["level"] == "screen"
    assert found["claims"][0]["alpha"] == 0.05
    assert found["claims"][0]["shown"] is False
    assert found["claims"][0]["questions_available"] == 120
    page = Page(render_certificate(found)).text
    assert claim.statement in page
    assert "not shown" in page
    assert "100 of 120" in page
    named = {each.path for each in verify(written(found), store=store).differences}
    assert "level" in named  # nobody claimed this on that run
    assert any(path.startswith("claims") for path in named)


def test_what_the_split_was_used_for_is_stated_up_to_this_run(tmp_path: Path) -> None:
    used = filled_store(tmp_path / "s.db", setups=SETUPS[:2], questions=3)
    evalset = used.get("demo").environment["evalset"]["digest"]
    claim = {"pick": "aa", "reference": "bb", "metric": "token_f1", "margin": 0.05}
    assert certify(store=used)["splits_used"] == []
    used.add_claim("before", evalset, "test", claim, 0.04)
    used.add_claim("demo", evalset, "test", claim, 0.01)
    stated = certify(store=used)
    assert [(each["run"], each["alpha"]) for each in stated["splits_used"]] == [("before", 0.04), ("demo", 0.01)]
    pack("demo", "run.zip", store=used)
    used.add_claim("after", evalset, "test", claim, 0.05)
    assert verify(written(stated), store=used).holds
    assert verify(written(stated), bundle="run.zip").holds
    assert not verify(written(changed(stated, "splits_used[0].alpha", 0.001)), store=used).holds


# ---------------------------------------------------------------------------------------------------------- verifying


@pytest.mark.parametrize("goal", [None, EXPLORED])
def test_what_was_certified_verifies(store: Store, goal: Goal | None) -> None:
    found = verify(written(certify(goal=goal, store=store)), store=store)
    assert found.holds
    assert found.checked > 150


def other(leaf: Any) -> Any:
    """Something else of the same kind, as somebody who wants to pass would write it."""
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, int):
        return leaf + 1
    if isinstance(leaf, float):
        return float(f"{leaf * 1.00001:.9g}") if leaf else 0.001
    return f"{leaf}!" if isinstance(leaf, str) else "something"


def changed(content: Any, path: str, value: Any) -> Any:
    """A copy with one leaf changed; paths are those of ``leaves``."""
    result = copy.deepcopy(content)
    for where, holder, key in places(result):
        if where == path:
            holder[key] = value
            return result
    raise AssertionError(path)


def places(content: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        where = f"{path}[{key}]" if isinstance(content, list) else f"{path}.{key}" if path else key
        if isinstance(value, (dict, list)) and value:
            yield from places(value, where)
        else:
            yield where, content, key


def test_changing_any_leaf_is_a_difference_of_that_name(plain: dict[str, Any], explored: dict[str, Any]) -> None:
    for stated in (plain, explored):
        for path, leaf in leaves(stated):
            found = [each.path for each in differences(changed(stated, path, other(leaf)), stated)]
            assert found == [path]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), tried=st.booleans())
def test_verify_names_any_leaf_that_was_changed(
    store: Store, plain: dict[str, Any], explored: dict[str, Any], data: st.DataObject, tried: bool
) -> None:
    stated = explored if tried else plain
    path, leaf = data.draw(st.sampled_from([each for each in leaves(stated) if each[0] not in ("certificate", "run")]))
    tampered = written(changed(stated, path, other(leaf)))
    found = verify(tampered, store=store)
    assert not found.holds
    named = {each.path for each in found.differences}
    # The goal that was tried is the one thing a store does not know: changing it changes its digest and what follows.
    assert path in named or (tried and path.startswith("goal.") and named)


@pytest.mark.parametrize(
    "leaf", ["goal.judged.margin", "goal.judged.confidence", "goal.judged.limits.p95_seconds", "goal.judged.minimise"]
)
def test_a_goal_tried_afterwards_cannot_be_reworded(store: Store, explored: dict[str, Any], leaf: str) -> None:
    for value in (0.3, 0.97, "seconds", -4, None):
        assert not verify(written(changed(explored, leaf, value)), store=store).holds


@pytest.mark.parametrize("change", ["dropped", "added", "retyped", "emptied"])
def test_what_is_missing_or_added_is_found_too(store: Store, plain: dict[str, Any], change: str) -> None:
    tampered = copy.deepcopy(plain)
    if change == "dropped":
        del tampered["savings"]["joules"]
    elif change == "added":
        tampered["proof"] = "very certain"
    elif change == "retyped":
        tampered["search"]["spent"]["answers"] = float(plain["search"]["spent"]["answers"])
    else:
        tampered["rejections"] = []
    found = verify(written(tampered), store=store)
    assert {
        "dropped": "savings.joules",
        "added": "proof",
        "retyped": "search.spent.answers",
        "emptied": "rejections[0]",
    }[change] in {each.path for each in found.differences}


@pytest.mark.parametrize("tampered", ["score", "text", "tokens", "question", "axes", "goal", "watts"])
def test_a_store_that_was_changed_no_longer_bears_the_certificate_out(tmp_path: Path, tampered: str) -> None:
    changing = filled_store(tmp_path / "s.db", setups=SETUPS[:3], questions=6)
    file = written(certify(store=changing))
    record = changing.get("demo")
    with changing.writing() as connection:
        row = connection.execute(sa.select(ANSWERS)).mappings().first()
        assert row is not None
        one = sa.and_(ANSWERS.c.configuration == row["configuration"], ANSWERS.c.question == row["question"])
        if tampered == "score":
            scores = {**row["scores"], "contains": [0.123, ""]}
            connection.execute(ANSWERS.update().where(one).values(scores=scores))
        elif tampered == "text":
            connection.execute(ANSWERS.update().where(one).values(text="something else"))
        elif tampered == "tokens":
            stages = copy.deepcopy(row["ledger"])
            stages["stages"][0]["reading"]["tokens_in"] = 3
            connection.execute(ANSWERS.update().where(one).values(ledger=stages))
        elif tampered == "question":
            asked = connection.execute(sa.select(QUESTIONS.c.record)).scalars().first()
            assert asked is not None
            there = QUESTIONS.c.question == asked["id"]
            connection.execute(QUESTIONS.update().where(there).values(record={**asked, "answers": ["yes"]}))
        elif tampered == "axes":
            there = TRIALS.c.configuration == row["configuration"]
            connection.execute(TRIALS.update().where(there).values(axes={"retriever": "bm25", "passages": 9}))
    if tampered == "goal":
        goal = {**record.experiment["goal"], "margin": 0.5}
        changing.update(record.id, experiment={**record.experiment, "goal": goal})
    elif tampered == "watts":
        coefficients = {**record.environment["coefficients"], "watts_per_busy_vcpu": [1.0, 2.0, 4.0]}
        changing.update(record.id, environment={**record.environment, "coefficients": coefficients})
    assert not verify(file, store=changing).holds


def test_a_bundle_bears_the_certificate_out_as_its_store_does(store: Store, plain: dict[str, Any]) -> None:
    file = written(plain)
    pack("demo", "run.zip", store=store)
    assert verify(file, bundle="run.zip").holds
    tampered = written(changed(plain, "search.spent.tokens.central", 1), "tampered.json")
    assert [each.path for each in verify(tampered, bundle="run.zip").differences] == ["search.spent.tokens.central"]


def test_a_run_that_is_not_there_is_not_comparable(store: Store, plain: dict[str, Any]) -> None:
    for name in ("other", "latest"):
        file = written({**plain, "run": name})
        with pytest.raises(NotComparable, match="which is not there"):
            verify(file, store=store)
    with pytest.raises(NotComparable, match="--bundle"):
        verify(written(plain))  # no store in this folder
    pack("demo", "run.zip", store=store)
    with pytest.raises(NotComparable, match="'other'"):
        verify(written({**plain, "run": "other"}), bundle="run.zip")


NO_CERTIFICATES = {
    "empty": "",
    "no-json": "certificate: 1",
    "another-json": "[1, 2]",
    "no-run": '{"certificate": 1}',
    "true": '{"certificate": true, "run": "demo"}',
    "newer": '{"certificate": 2, "run": "demo"}',
    "not-a-number": '{"certificate": 1, "run": "demo", "x": NaN}',
    "twice": '{"certificate": 1, "run": "demo", "run": "other"}',
    "deep": '{"certificate": 1, "run": "demo", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "bytes": "\x00\x01",
}


@pytest.mark.parametrize("case", NO_CERTIFICATES)
def test_what_is_no_certificate_is_refused(store: Store, case: str) -> None:
    Path("c.json").write_text(NO_CERTIFICATES[case], encoding="utf-8")
    with pytest.raises(InputError, match=r"c\.json: "):
        verify("c.json", store=store)


@pytest.mark.parametrize("part", ["goal", "goal.judged", "summary", "digests"])
def test_a_certificate_of_strange_shape_differs_and_breaks_nothing(
    store: Store, explored: dict[str, Any], part: str
) -> None:
    for value in (None, "x", [], {"": [[]]}):
        tampered = copy.deepcopy(explored)
        holder = tampered["goal"] if part == "goal.judged" else tampered
        holder[part.rpartition(".")[2]] = value
        assert not verify(written(tampered), store=store).holds


# --------------------------------------------------------------------------------------------------------------- page


def test_the_page_fetches_nothing_and_shows_texts_as_texts(tmp_path: Path) -> None:
    injected = filled_store(tmp_path / "s.db", setups=SETUPS[:4], questions=6, injection=INJECTION)
    content = certify(store=injected)
    page = Page(render_certificate(content))
    assert not {tag for tag in page.tags if tag in FETCHING}
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert INJECTION in page.text
    assert content["digests"]["answers"] in page.text
    assert workbench.certify(store=injected) == content
