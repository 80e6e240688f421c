"""The gate: the same stays green, worse and costlier turn red, and too few questions say how many would do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import workbench
from tests.conftest import QUESTIONS, experiment
from tests.stores import SETUPS, Setup, filled_store
from tests.test_recommendation import comparison
from workbench.__main__ import main
from workbench.bundle import pack
from workbench.errors import InputError, NotComparable
from workbench.gate_report import as_mapping, junit, rows
from workbench.gating import RESOURCES, Check, Gate, check_quality, check_resource, gate
from workbench.pairing import Side
from workbench.records import Configuration
from workbench.store import Store


def by_name(found: Gate) -> dict[str, Check]:
    return {check.measure: check for check in found.checks}


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


# ------------------------------------------------------------------------------------- end to end, with the scripted model


RIGHT = {str(asked["question"]): str(asked["answers"][0]) for asked in QUESTIONS if "answers" in asked}  # type: ignore[index]
WRONG = dict.fromkeys(RIGHT, "I do not know")


def ran(name: str, passages: int = 3, **model: Any) -> None:
    workbench.run(
        experiment(
            name=name,
            questions={"split": "all"},
            goal={"metric": "contains", "margin": 0.05, "minimise": "tokens"},
            space={"model": [{"name": "scripted", **model}], "retriever": ["bm25"], "passages": [passages]},
        )
    )


def test_the_same_run_is_green_against_itself_and_against_its_like(capsys: pytest.CaptureFixture[str]) -> None:
    ran("base")
    ran("again")
    capsys.readouterr()
    assert gate("base", against="base").status == "passed"
    found = gate("again", against="base", resources=("tokens",))
    assert found.status == "passed"
    assert by_name(found)["contains"].said == "the same setup gave the same answers, word for word"
    assert exit_code("gate", "again", "--against", "base", "--resource", "tokens", "--strict") == 0
    printed = capsys.readouterr().out
    assert "contains: the same setup gave the same answers, word for word." in printed
    assert "passed: again against base on 12 common questions" in printed


def test_a_worse_run_is_red_and_a_better_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    ran("base", replies=RIGHT)
    ran("worse", replies=WRONG)
    assert exit_code("gate", "worse", "--against", "base", "--format", "json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "regressed"
    assert found["checks"][0]["status"] == "regressed"
    assert found["checks"][0]["p"] > 0.5
    assert by_name(gate("base", against="worse"))["contains"].status == "passed"


def test_a_costlier_run_is_red_and_the_cheaper_one_green() -> None:
    ran("base", passages=1)
    ran("costlier", passages=3)
    assert by_name(gate("costlier", against="base", resources=("tokens",)))["tokens"].status == "regressed"
    assert by_name(gate("base", against="costlier", resources=("tokens",)))["tokens"].status == "passed"
    assert exit_code("gate", "costlier", "--against", "base", "--resource", "tokens") == 1
    generous = gate("costlier", against="base", resources=("tokens",), min_effect=3)
    assert by_name(generous)["tokens"].status == "passed"


def test_too_few_questions_are_not_shown_and_say_how_many_would_do() -> None:
    ran("base", replies=RIGHT)
    ran("other", replies={**RIGHT, **dict(list(WRONG.items())[:1])})
    found = by_name(gate("other", against="base", resources=("tokens",)))["contains"]
    assert found.status == "not shown"
    assert found.questions_needed is None or found.questions_needed > 12
    assert "cannot tell; about" in found.said or "no realistic number" in found.said
    assert exit_code("gate", "other", "--against", "base", "--resource", "tokens", "--junit", "out/gate.xml") == 0
    assert exit_code("gate", "other", "--against", "base", "--resource", "tokens", "--strict") == 1
    suite = ElementTree.parse("out/gate.xml").getroot()  # noqa: S314 - our own
    assert suite.attrib["failures"] == "0"
    assert suite.find("testcase/skipped") is not None


def test_a_base_may_be_a_bundle() -> None:
    ran("base")
    pack("base", "base.zip")
    ran("costlier", passages=5)
    assert exit_code("runs", "delete", "base", "--yes") == 0
    assert exit_code("gate", "costlier", "--against", "base.zip", "--resource", "tokens") == 1
    assert exit_code("gate", "costlier", "--against", "base", "--resource", "tokens") == 2


# ------------------------------------------------------------------------------------------------ with made-up answers

ONE = (SETUPS[4],)


def dearer(setup: Setup, factor: float) -> Setup:
    return replace(setup, prefill=setup.prefill * factor, decode=setup.decode * factor)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = tmp_path / "store.db"
    for name, setup in (("base", SETUPS[4]), ("again", SETUPS[4]), ("dearer", dearer(SETUPS[4], 1.3))):
        found = filled_store(made, name=name, setups=(setup,), questions=60)
    return found


def test_seconds_and_joules_of_a_dearer_run_regress_and_of_the_same_do_not(store: Store) -> None:
    found = by_name(gate("dearer", against="base", store=store))
    assert {found[name].status for name in ("p95_seconds", "joules")} == {"regressed"}
    assert found["tokens"].status == "passed"
    joules = found["joules"]
    assert joules.effect is not None
    assert 1.2 < joules.effect.low < joules.effect.mean < joules.effect.high < 1.45
    assert joules.here is not None
    assert joules.base is not None
    assert joules.effect.mean == pytest.approx(joules.here / joules.base)
    again = by_name(gate("again", against="base", store=store))
    assert again["joules"].status == "passed"
    assert not [name for name in RESOURCES if again[name].status == "regressed"]


def test_joules_per_correct_answer_are_dearer_where_answers_are_wrong(store: Store, tmp_path: Path) -> None:
    filled_store(tmp_path / "store.db", name="poor", setups=(replace(SETUPS[4], quality=0.2),), questions=60)
    found = by_name(gate("poor", against="base", store=store))
    assert found["joules"].status != "regressed"
    assert found["joules_per_correct"].status == "regressed"
    assert found["token_f1"].status == "regressed"


def test_few_answers_have_no_95th_percentile(tmp_path: Path) -> None:
    few = filled_store(tmp_path / "s.db", name="base", setups=ONE, questions=12)
    filled_store(tmp_path / "s.db", name="again", setups=ONE, questions=12)
    found = by_name(gate("again", against="base", store=few))["p95_seconds"]
    assert found.status == "not shown"
    assert found.questions_needed == 20


def test_what_neither_measured_is_noted_and_what_one_measured_is_not_shown(tmp_path: Path) -> None:
    made = filled_store(tmp_path / "s.db", name="base", setups=ONE, questions=24, metered=False)
    filled_store(tmp_path / "s.db", name="again", setups=ONE, questions=24, metered=False)
    filled_store(tmp_path / "s.db", name="metered", setups=ONE, questions=24)
    options: dict[str, Any] = {"configuration": Configuration(SETUPS[4].axes).id, "store": made}
    options["base_configuration"] = options["configuration"]
    neither = gate("again", against="base", **options)
    assert "joules" not in by_name(neither)
    assert "joules per answer: not measured in either run" in neither.notes
    one = by_name(gate("metered", against="base", **options))["joules"]
    assert one.status == "not shown"
    assert "not measured in run 'base'" in one.said


def test_only_common_questions_are_paired_and_the_rest_is_noted(tmp_path: Path) -> None:
    made = filled_store(tmp_path / "s.db", name="base", setups=ONE, questions=40)
    filled_store(tmp_path / "s.db", name="more", setups=ONE, questions=60)
    found = gate("more", against="base", store=made)
    assert found.questions == 40
    assert by_name(found)["tokens"].questions == 40
    assert any("40 questions are common to the runs, of 60 and 40" in note for note in found.notes)


def test_another_machine_meter_metric_or_question_does_not_compare(store: Store) -> None:
    base = store.get("base")
    for key, value in (("processor", "another"), ("vcpus", 64), ("meter", "rapl")):
        store.update(base.id, environment={**base.environment, key: value})
        with pytest.raises(NotComparable, match="--resource tokens"):
            gate("again", against="base", store=store)
        assert gate("again", against="base", resources=("tokens",), store=store).questions == 60
    scored = {**base.experiment, "metrics": ["contains"], "goal": {**base.experiment["goal"], "metric": "contains"}}
    store.update(base.id, environment=base.environment, experiment=scored)
    with pytest.raises(NotComparable, match="not scored by token_f1"):
        gate("again", against="base", store=store)


def test_joules_by_other_coefficients_do_not_compare(store: Store) -> None:
    base = store.get("base")
    coefficients = {**base.environment["coefficients"], "watts_per_busy_vcpu": [1.0, 3.0, 5.0]}
    store.update(base.id, environment={**base.environment, "coefficients": coefficients})
    with pytest.raises(NotComparable, match="workbench reprice"):
        gate("again", against="base", store=store)
    assert gate("again", against="base", resources=("tokens", "p95_seconds"), store=store).questions == 60


def test_questions_of_the_same_name_that_ask_something_else_do_not_compare(tmp_path: Path) -> None:
    made = filled_store(tmp_path / "s.db", name="base", setups=ONE, questions=5)
    filled_store(tmp_path / "s.db", name="other", setups=ONE, questions=5, injection="really")
    with pytest.raises(NotComparable, match="5 questions of the same id are others"):
        gate("other", against="base", store=made)


def test_bad_options_name_what_is_allowed(store: Store) -> None:
    with pytest.raises(InputError, match="expected one of tokens"):
        gate("again", against="base", resources=("dollars",), store=store)
    with pytest.raises(InputError, match="min_effect"):
        gate("again", against="base", min_effect=-1, store=store)
    with pytest.raises(InputError, match="there is no run 'nothing'"):
        gate("again", against="nothing", store=store)
    with pytest.raises(InputError, match="no configurations"):
        gate("again", against="base", base_configuration="zz", store=store)


# ----------------------------------------------------------------------------------------------------------------- laws


def made_up(dice: np.random.Generator, scores: np.ndarray, difficulty: np.ndarray, name: str) -> Side:
    """A side of made-up answers: what questions have in common, and what varies from answer to answer."""
    n = len(scores)
    return Side(
        name=name,
        comparison=comparison({"a": [1.0]}, {"a": 1.0}, margin=0.05),
        configuration=Configuration({"prompt": name}),
        scores=scores,
        tokens=np.round(200 * difficulty * dice.lognormal(0, 0.02, n)),
        seconds=difficulty * dice.lognormal(0, 0.25, n),
        joules=difficulty * dice.lognormal(0, 0.15, n),
        correct=scores,
        texts=(frozenset(),) * n,
    )


@pytest.mark.parametrize("n", [12, 24])
def test_no_change_turns_the_gate_red_no_more_often_than_it_says(n: int) -> None:
    """A/A with the usual minimum effect: red in at most α of gates, by a binomial 99.9 % bound."""
    dice = np.random.default_rng(n)
    gates, red = 40, 0
    for _ in range(gates):
        difficulty, hard = dice.lognormal(0, 0.5, n), dice.random(n)
        pair = [made_up(dice, (dice.random(n) < hard).astype(float), difficulty, name) for name in ("a", "b")]
        found = [check_quality(*pair), *(check_resource(each, *pair, 0.05, len(RESOURCES)) for each in RESOURCES)]
        red += any(check is not None and check.status == "regressed" for check in found)
    assert red <= 0.05 * gates + 3.1 * (gates * 0.05 * 0.95) ** 0.5


@pytest.mark.parametrize("kind", ["binary", "losses only"])
def test_a_setup_worse_by_the_margin_seldom_passes(kind: str) -> None:
    """On the boundary: passed in at most α of gates, by a binomial 99.9 % bound, for losses that are rare and large too."""
    dice = np.random.default_rng(8)
    gates, n, passed = 80, 60, 0
    for _ in range(gates):
        good = np.ones(n) if kind == "losses only" else (dice.random(n) < 0.6).astype(float)
        poor = (dice.random(n) < (0.95 if kind == "losses only" else 0.55)).astype(float)
        here, base = (made_up(dice, scores, np.ones(n), name) for scores, name in ((poor, "a"), (good, "b")))
        passed += check_quality(here, base).status == "passed"
    assert passed <= 0.05 * gates + 3.1 * (gates * 0.05 * 0.95) ** 0.5


# --------------------------------------------------------------------------------------------------------------- output


def test_junit_is_well_formed_whatever_the_names_are(store: Store) -> None:
    found = replace(gate("dearer", against="base", store=store), run='a"<&>\x00\x1b]]>', base="\ud800\uffff")
    for strict in (False, True):
        suite = ElementTree.fromstring(junit(found, strict=strict).partition("\n")[2].encode())  # noqa: S314 - our own
        assert suite.attrib["tests"] == str(len(found.checks)) == str(len(suite.findall("testcase")))
        failed = {case.attrib["name"] for case in suite.findall("testcase") if case.find("failure") is not None}
        assert int(suite.attrib["failures"]) == len(failed)
        assert {check.measure for check in found.checks if check.status == "regressed"} <= {
            name.partition(" ")[0] for name in failed
        }
        assert suite.attrib["name"].startswith('workbench gate: a"<&>')


def test_the_mapping_is_plain_json_without_what_has_no_end(tmp_path: Path) -> None:
    made = filled_store(tmp_path / "s.db", name="base", setups=(SETUPS[0],), questions=24)
    filled_store(tmp_path / "s.db", name="model", setups=ONE, questions=24)
    found = gate("model", against="base", store=made)
    tokens = by_name(found)["tokens"]
    assert tokens.status == "regressed"  # from no tokens at all
    text = json.dumps(as_mapping(found), allow_nan=False)
    assert json.loads(text)["status"] == found.status
    assert [row[3] for row in rows(found)] == [check.status for check in found.checks]
