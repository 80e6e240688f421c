"""The example run that ships with the project: a real run that opens anywhere and tells nothing of the machine it is from."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import yaml

import workbench
from tests.conftest import ROOT
from workbench.bundle import opened
from workbench.certificate import certificate_text, certify
from workbench.showcase import BUNDLE, NAME
from workbench.specification import read_experiment
from workbench.verification import verify


def test_it_is_a_finished_run_of_the_demonstration_with_a_choice() -> None:
    comparison = workbench.example()
    recommendation = workbench.recommend(comparison)
    assert (comparison.run, comparison.state) == (NAME, "finished")
    assert recommendation.chosen is not None
    assert all(figures.answers and figures.joules is not None for figures in comparison.figures)
    with opened(BUNDLE) as store:
        stored = store.get(NAME).experiment
    shipped = read_experiment(yaml.safe_load((ROOT / "evals" / "python-reference" / "demo.yaml").read_text()))
    assert stored["space"] == shipped.model_dump(mode="json")["space"], "run: python docs/example_run.py"


def test_looking_at_it_leaves_the_users_own_store_alone(own_folder: Path) -> None:
    workbench.example()
    assert list(own_folder.iterdir()) == []


def test_what_it_recommends_is_certified_and_verifies(own_folder: Path) -> None:
    with opened(BUNDLE) as store:
        (own_folder / "certificate.json").write_text(certificate_text(certify(NAME, store=store)))
    assert verify("certificate.json", bundle=BUNDLE).holds


def test_it_is_small_and_names_no_path_and_no_host() -> None:
    assert BUNDLE.stat().st_size < 500_000
    with zipfile.ZipFile(BUNDLE) as file:
        head = json.loads(file.read("run.json"))
        logs = [json.dumps(head), file.read("one_offs.jsonl").decode(), file.read("trials.jsonl").decode()]
    for text in logs:
        assert not re.search(r"/(home|root|tmp|work|opt|usr|Users)/|https?://(localhost|127\.)|hostname", text)
