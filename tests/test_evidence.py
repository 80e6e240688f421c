"""The verbs about evidence, through the command line: files, exit codes, and what is asked before anything is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import workbench
from tests.conftest import experiment
from tests.stores import SETUPS, filled_store
from workbench.__main__ import cli, main
from workbench.store import Store

OTHER = "other/store.db"


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.fixture
def finished() -> None:
    workbench.run(experiment())


def test_recommend_writes_a_certificate_that_verifies(finished: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recommend", "--out", "chosen/setup.yaml") == 0
    assert Path("chosen/setup.yaml").exists()
    assert "<h1>Certificate of run tiny</h1>" in Path("chosen/certificate.html").read_text()
    capsys.readouterr()
    assert call("verify", "chosen/certificate.json") == 0
    assert "none differs" in capsys.readouterr().out
    assert call("recommend", "tiny", "--certificate", "named.json") == 0
    assert Path("named.json").read_bytes() == Path("chosen/certificate.json").read_bytes()
    assert Path("named.html").exists()
    assert call("recommend", "--certificate", "certificate.html") == 2


def test_an_exploratory_certificate_says_so_and_verifies(finished: None) -> None:
    assert call("recommend", "--margin", "0.3", "--certificate", "c.json") == 0
    assert json.loads(Path("c.json").read_text())["goal"]["exploratory"] is True
    assert "Exploratory" in Path("c.html").read_text()
    assert call("verify", "c.json") == 0


def test_nothing_qualifies_has_a_certificate_too(finished: None) -> None:
    assert call("recommend", "--limit", "p95_seconds=0.0000001", "--out", "setup.yaml") == 1
    assert not Path("setup.yaml").exists()
    assert json.loads(Path("certificate.json").read_text())["verdict"] == "nothing qualifies"
    assert call("verify", "certificate.json") == 0


def test_verify_names_what_differs_and_has_its_exit_codes(finished: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recommend", "--certificate", "c.json") == 0
    assert call("runs", "export", "tiny", "tiny.zip") == 0
    stated = json.loads(Path("c.json").read_text())
    answers = stated["search"]["spent"]["answers"]
    stated["search"]["spent"]["answers"] = 1
    Path("c.json").write_text(json.dumps(stated))
    capsys.readouterr()
    assert call("verify", "c.json") == 1
    assert f"search.spent.answers: stated 1, recomputed {answers}" in capsys.readouterr().out
    assert call("verify", "c.json", "--bundle", "tiny.zip", "--format", "json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["holds"] is False
    assert found["differences"] == [{"path": "search.spent.answers", "stated": "1", "recomputed": str(answers)}]
    assert call("runs", "delete", "tiny", "--yes") == 0
    assert call("verify", "c.json") == 5
    assert call("verify", "tiny.zip") == 2
    assert call("verify", "missing.json") == 2
    assert call("verify", "c.json", "--bundle", "c.json") == 2
    assert call("verify", "c.json", "--bundle", "tiny.zip", "--store", "runs/workbench.db") == 2


def test_a_demo_certificate_of_a_run_stopped_by_its_budget_verifies() -> None:
    with pytest.raises(workbench.WorkbenchError, match="stopped"):
        workbench.run(experiment(budget={"calls": 9}))
    call("recommend", "--certificate", "c.json")
    assert call("verify", "c.json") == 0


def test_a_race_is_certified_with_its_claims_and_verifies_from_store_and_bundle() -> None:
    workbench.run(experiment(strategy="race", name="raced"))
    assert call("recommend", "raced", "--certificate", "c.json") == 0
    assert call("runs", "export", "raced", "raced.zip") == 0
    stated = json.loads(Path("c.json").read_text())
    assert stated["level"] == "screen"
    assert stated["claims"][0]["about"] == "new questions"
    assert [each["run"] for each in stated["splits_used"]] == ["raced"]
    assert stated["claims"][0]["statement"] in Path("c.html").read_text()
    assert call("verify", "c.json") == call("verify", "c.json", "--bundle", "raced.zip") == 0
    for key, value in (("shown", not stated["claims"][0]["shown"]), ("alpha", 0.01), ("about", "these questions")):
        tampered = {**stated, "claims": [{**stated["claims"][0], key: value}, *stated["claims"][1:]]}
        Path("t.json").write_text(json.dumps(tampered))
        found = workbench.verify("t.json", bundle="raced.zip")
        assert [each.path for each in found.differences] == [f"claims[0].{key}"]
    assert call("runs", "import", "raced.zip", "--name", "copy") == 0
    assert workbench.certify("copy")["claims"] == stated["claims"]


def test_runs_still_lists_and_has_subcommands(finished: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("runs") == 0
    assert "tiny" in capsys.readouterr().out
    assert call("runs", "--format", "json") == 0
    assert [run["record"]["name"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["tiny"]
    assert call("runs", "export", "tiny", "tiny.zip") == 0
    assert call("runs", "import", "tiny.zip") == 2
    assert call("runs", "import", "tiny.zip", "--name", "copy") == 0
    assert {run.record.name for run in workbench.runs()} == {"tiny", "copy"}
    assert capsys.readouterr().out == ""
    assert call("runs", "export", "absent", "x.zip") == 2


def test_delete_asks_first_and_a_no_loses_nothing() -> None:
    Path("runs").mkdir()
    filled_store(Path("runs/workbench.db"), setups=SETUPS[:2], questions=3).close()
    refused = CliRunner().invoke(cli, ["runs", "delete", "demo"], input="n\n")
    assert refused.exit_code == 1
    assert "kept" in refused.stderr
    assert "Delete run 'demo' with its 6 answers?" in refused.stderr
    assert [run.record.name for run in workbench.runs()] == ["demo"]
    assert call("runs", "delete", "latest", "--yes") == 2
    agreed = CliRunner().invoke(cli, ["runs", "delete", "demo"], input="y\n")
    assert agreed.exit_code == 0
    assert workbench.runs() == []


def test_a_running_run_is_neither_deleted_nor_certified(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    store = filled_store(Path("runs/workbench.db"), setups=SETUPS[:2], questions=3)
    with store.lease(store.get("demo")):
        assert call("runs", "delete", "demo", "--yes") == 2
        assert call("runs", "export", "demo", "demo.zip") == 2
        assert call("recommend", "demo", "--certificate", "c.json") == 2
        assert call("recommend", "demo", "--out", "setup.yaml") == 0
        assert "no certificate is written while run demo is running" in capsys.readouterr().err
        store.update(store.get("demo").id, state="paused")
        assert call("runs", "delete", "demo", "--yes") == 2
        assert call("recommend", "demo", "--certificate", "c.json") == 2
    assert [run.name for run in store.runs()] == ["demo"]


def test_a_store_may_be_named_before_the_subcommand_or_after_it() -> None:
    Path("other").mkdir()
    filled_store(Path(OTHER), setups=SETUPS[:2], questions=3).close()
    Path("runs").mkdir()
    filled_store(Path("runs/workbench.db"), setups=SETUPS[:2], questions=3).close()
    assert call("runs", "--store", OTHER, "delete", "demo", "--yes") == 0
    assert Store(OTHER).runs() == []
    assert [run.record.name for run in workbench.runs()] == ["demo"]
    assert call("runs", "export", "demo", "demo.zip") == 0
    assert call("runs", "import", "demo.zip", "--store", OTHER) == 0
    assert [run.name for run in Store(OTHER).runs()] == ["demo"]
