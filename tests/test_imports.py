"""Data brought into the project: what an import writes reads back as the same, and nothing lands anywhere else."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench
from tests.conftest import corpus_folder
from workbench.__main__ import main
from workbench.errors import InputError
from workbench.imports import describe, import_data, split
from workbench.library import load_corpus, load_evalset

QA = "id,question,context,answer,tags\n" + "".join(
    f"{number},What is number {number}?,The number {number} is here.,number {number},t|u\n" for number in range(30)
)


def written(name: str, content: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return name


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def files(folder: Path = Path()) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        import_data(*arguments, **options)
    return str(caught.value)


def test_an_import_reads_back_as_what_it_was() -> None:
    written("t.csv", QA)
    done = import_data("t.csv", "mine", title="Numbers", licence="CC0", origin="made up")
    assert files() == {"t.csv", *map(str, done.files)}
    assert set(map(str, done.files)) == {
        "corpora/mine/corpus.yaml",
        "corpora/mine/documents.jsonl",
        "evals/mine/evalset.yaml",
        "evals/mine/experiment.yaml",
        "evals/mine/questions.jsonl",
    }
    corpus, first = load_corpus("mine"), load_corpus("t.csv")
    assert (corpus.name, corpus.title, corpus.licence, corpus.source) == ("mine", "Numbers", "CC0", "made up")
    assert (corpus.documents, corpus.digest) == (first.documents, first.digest)
    evalset = load_evalset("mine", corpus, seed=99)  # the split is written down, so that no seed changes it
    assert (evalset.questions, evalset.corpus) == (load_evalset("t.csv", first, seed=7).questions, "mine")
    assert (done.documents, sum(done.splits.values())) == (30, 30)
    assert set(done.splits) == {"dev", "test"}
    assert evalset.licence == "CC0"


def test_everything_that_is_known_survives() -> None:
    written(
        "c/documents.jsonl",
        lines({"id": "a", "title": "T", "text": "The sky is blue.", "metadata": {"u": [1]}}, {"id": "b", "text": "x"}),
    )
    written(
        "c/questions.jsonl",
        lines(
            {
                "id": "1",
                "question": "?",
                "answers": ["sky"],
                "evidence": ["a", "b"],
                "grades": [2, 1],
                "quotes": ["sky"],
            },
            {"id": "2", "question": "??", "answerable": False, "tags": ["t"], "split": "train"},
            {"id": "3", "question": "???", "answers": ["unplaced"]},
        ),
    )
    written("c/corpus.yaml", "title: T\nlicence: CC0\nsource: S\n")
    done = import_data("c", "mine")
    first, corpus = load_corpus("c"), load_corpus("mine")
    assert corpus.documents == first.documents
    assert (corpus.title, corpus.licence, corpus.source) == ("T", "CC0", "S")
    assert load_evalset("mine", corpus).questions == load_evalset("c", first, seed=7).questions
    assert done.notes == ()


def test_the_first_experiment_runs_as_it_is() -> None:
    import_data(corpus_folder(Path.cwd()), "mine")
    outcome = workbench.run("evals/mine/experiment.yaml")
    assert outcome.answers == outcome.total > 0
    assert workbench.compare().goal.metric == "token_f1"


def test_the_first_experiment_scores_what_can_be_scored() -> None:
    written("set/corpus.jsonl", lines({"_id": "1", "text": "x"}))
    written("set/queries.jsonl", lines({"_id": "q", "text": "?"}, {"_id": "r", "text": "??"}))
    written("set/qrels/test.tsv", "q\t1\t2\nr\t1\t0\n")
    done = import_data("set", "mine")
    experiment = workbench.read_experiment("mine")
    assert experiment.metrics == ["recall@5", "ndcg@10"]
    assert (experiment.goal.metric, experiment.questions.split) == ("ndcg@10", "test")
    assert "1 questions with neither an answer nor evidence were left out" in done.notes
    assert "every question is in split test; to keep some for a last test: workbench data split mine" in done.notes


def test_documents_and_questions_may_lie_apart_and_what_is_not_known_is_said() -> None:
    written("docs/sky.md", "# Sky\n\nIt is blue.")
    written("faq.csv", "ask,reply,doc_id\nWhat?,blue,sky.md\n")
    alone = import_data("docs", "alone")
    assert {path.name for path in alone.files} == {"documents.jsonl", "corpus.yaml"}
    assert alone.notes == (
        "corpora/alone/corpus.yaml: licence is not known; write it there",
        "corpora/alone/corpus.yaml: source is not known; write it there",
        "there are no questions; write evals/alone/questions.jsonl, or import with --questions",
    )
    assert yaml.safe_load(Path("corpora/alone/corpus.yaml").read_text())["licence"] == "unknown"
    # A folder of the name lies here, too; the experiment must mean what was imported.
    import_data("docs", "docs", questions="faq.csv", columns={"question": "ask", "answers": "reply"})
    assert workbench.read_experiment("evals/docs/experiment.yaml").corpus == "corpora/docs"
    [question] = load_evalset("evals/docs", load_corpus("corpora/docs")).questions
    assert (question.answers, question.evidence) == (("blue",), ("sky.md",))
    assert describe("docs")[1].detail.startswith("1 questions (")


# ------------------------------------------------------------------------------------------------------------- refusals


def test_an_existing_name_is_kept_unless_forced_and_its_experiment_always() -> None:
    written("t.csv", QA)
    import_data("t.csv", "mine")
    Path("evals/mine/experiment.yaml").write_text("corpus: edited\n")
    before = {name: Path(name).read_bytes() for name in files()}
    assert refused("t.csv", "mine").startswith("name is 'mine'; it is taken in corpora and evals: choose another")
    assert refused("t.csv", "python-reference").startswith("name is 'python-reference'; it is taken in")
    assert {name: Path(name).read_bytes() for name in files()} == before
    written("t.csv", QA.replace("here", "there"))
    done = import_data("t.csv", "mine", force=True)
    assert "evals/mine/experiment.yaml was there and stays as it is" in done.notes
    assert load_corpus("mine").documents[0].text == "The number 0 is there."
    assert Path("evals/mine/experiment.yaml").read_text() == "corpus: edited\n"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc/x", "a\\b", ".hidden", "-x", "a\0b", "a b", "a\n", "é" * 60, "~", "C:x"],
)
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    written("t.csv", QA)
    assert refused("t.csv", name, force=True).startswith("name is ")
    assert files() == {"t.csv"}


def test_links_that_lead_out_of_the_project_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project" / "corpora").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    written("t.csv", QA)
    Path("corpora/mine").symlink_to(tmp_path / "outside")
    assert refused("t.csv", "mine", force=True).startswith("corpora/mine leads out of the project folder")
    Path("evals").symlink_to(tmp_path / "outside")
    assert refused("t.csv", "other").startswith("evals/other leads out of the project folder")
    with pytest.raises(InputError, match="leads out of the project folder"):
        split("other")
    # A link in place of a file is replaced, and what it points to stays.
    Path("evals").unlink()
    Path("corpora/third").mkdir()
    secret = tmp_path / "outside" / "secret"
    secret.write_text("kept")
    Path("corpora/third/documents.jsonl").symlink_to(secret)
    import_data("t.csv", "third", force=True)
    assert secret.read_text() == "kept"
    assert files(tmp_path / "outside") == {"secret"}
    assert len(load_corpus("third").documents) == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "question,answer\nWhat?,x\n",
            "t.csv: there are no documents in it; name those, and these with --questions t.csv",
        ),
        ("id,question,context,answer\n1,?,c,a\n1,?,c,a\n", "t.csv:3: id '1' stands already at t.csv:2"),
        ("a,b\n", "t.csv: there are no documents in it"),
    ],
)
def test_bad_data_writes_nothing(content: str, message: str) -> None:
    written("t.csv", content)
    assert refused("t.csv", "mine").startswith(message)
    assert files() == {"t.csv"}
    assert not Path("corpora").exists()


def test_a_failed_write_leaves_nothing_behind() -> None:
    written("t.csv", QA)
    written("evals", "a file where a folder should be")
    assert "a file is in its place" in refused("t.csv", "mine")
    Path("evals").unlink()
    Path("corpora/mine/documents.jsonl").mkdir(parents=True)
    assert "cannot be written" in refused("t.csv", "mine", force=True)
    assert files() == {"t.csv"}
    assert not Path("evals").exists()


@settings(max_examples=60)
@given(name=st.text(max_size=12) | st.sampled_from(["..", "a/../../b", "con", "x.", "..x", "{}", "%2e%2e/x", "a:b"]))
def test_no_name_writes_outside_the_project(name: str) -> None:
    with TemporaryDirectory() as folder, within(Path(folder, "project")):
        written("t.csv", "text\nx\n")
        with contextlib.suppress(InputError):
            import_data("t.csv", name)
        assert all(path.startswith("project/") for path in files(Path(folder)))
        assert {Path(path).parts[0] for path in files()} <= {"t.csv", "corpora"}


@contextlib.contextmanager
def within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    folder.mkdir()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


# ----------------------------------------------------------------------------------------------------------------- split


def asked(count: int, answerable: int) -> None:
    rows = [
        {"id": f"q{n}", "question": f"{n}?", "answers": ["x"], "split": "old", "metadata": {"n": n}}
        for n in range(count)
    ]
    for row in rows[answerable:]:
        row.update(answers=[], answerable=False)
    written("evals/mine/questions.jsonl", lines(*rows))


def test_a_split_has_the_share_of_either_kind_and_changes_nothing_else() -> None:
    asked(30, 20)
    rows = [json.loads(line) for line in Path("evals/mine/questions.jsonl").read_text().splitlines()]
    assert split("mine", test=0.3, seed=7) == {"dev": 21, "test": 9}
    after = [json.loads(line) for line in Path("evals/mine/questions.jsonl").read_text().splitlines()]
    assert [row | {"split": ""} for row in after] == [row | {"split": ""} for row in rows]
    kinds = [row.get("answerable", True) for row in after if row["split"] == "test"]
    assert (kinds.count(True), kinds.count(False)) == (6, 3)


@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 5))
@settings(max_examples=20)
def test_a_split_is_the_seeds_and_close_to_its_share(share: float, seed: int) -> None:
    with TemporaryDirectory() as folder, within(Path(folder, "project")):
        asked(20, 20)
        sizes = split("mine", test=share, seed=seed)
        assert abs(sizes.get("test", 0) - share * 20) <= 0.5
        first = Path("evals/mine/questions.jsonl").read_bytes()
        asked(20, 20)
        assert split("mine", test=share, seed=seed) == sizes
        assert Path("evals/mine/questions.jsonl").read_bytes() == first


def test_the_same_question_twice_stays_in_one_split() -> None:
    rows = [{"id": f"q{n}", "question": f"{n // 2}  ?", "answers": ["x"]} for n in range(40)]
    written("evals/mine/questions.jsonl", lines(*rows))
    for seed in range(5):
        split("mine", test=0.5, seed=seed)
        found = {question.id: question.split for question in load_evalset("mine").questions}
        assert all(found[f"q{n}"] == found[f"q{n + 1}"] for n in range(0, 40, 2))


@pytest.mark.parametrize(("name", "test", "message"), [("gone", 0.3, "does not exist"), ("mine", 1.5, "test is 1.5; ")])
def test_what_cannot_be_split(name: str, test: float, message: str) -> None:
    asked(3, 3)
    with pytest.raises(InputError, match=message):
        split(name, test=test)


def test_a_broken_set_is_not_split() -> None:
    broken = written("evals/mine/questions.jsonl", '{"id": "1", "question": "?", "answers": ["x"]}\n{"id": \n')
    before = Path(broken).read_bytes()
    with pytest.raises(InputError, match=r"questions.jsonl:2: not valid JSON"):
        split("mine")
    assert Path(broken).read_bytes() == before
    assert files() == {broken}


# ---------------------------------------------------------------------------------------------------------- command line


def test_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return ended.value.code, *capsys.readouterr()

    written("t.csv", QA.replace("question", "ask"))
    columns = ["--column", "question=ask"]
    code, out, _ = call("check", "t.csv", *columns)
    assert code == 0
    assert "30 questions (" in out
    code, out, error = call("data", "import", "t.csv", "--as", "mine", "--licence", "CC0", *columns)
    assert (code, out) == (0, "")
    assert "note: corpora/mine/corpus.yaml: source is not known; write it there" in error
    code, _, error = call("data", "import", "t.csv", "--as", "mine", *columns)
    assert code == 2
    assert error.startswith("workbench: name is 'mine'; it is taken in")
    assert call("data", "split", "mine", "--test", "0.2") == (0, "", "evals/mine: dev 24, test 6\n")
    code, out, _ = call("data", "describe", "mine", "--format", "json")
    described = json.loads(out)["findings"]
    assert [finding["state"] for finding in described] == ["ok", "ok"]
    assert "30 questions (dev 24, test 6)" in described[1]["detail"]
    for arguments in (["check", "t.csv"], ["data", "import", "t.csv", "--as", "x"]):
        code, _, error = call(*arguments, "--column", "text")
        assert code == 2
        assert "--column is KEY=NAME" in error


def test_both_a_corpus_and_its_questions_are_checked_at_once() -> None:
    written("mine/documents.jsonl", '{"id": "a"}\n')
    written("mine/questions.jsonl", '{"id": "1", "question": 7, "answers": ["x"]}\n')
    assert [finding.detail for finding in workbench.check(["mine"])] == [
        "mine/documents.jsonl:1: text is missing; every entry needs one",
        "mine/questions.jsonl:1: question is 7; expected a text",
    ]
    assert [finding.state for finding in describe("mine")] == ["bad", "bad"]


def test_a_check_names_the_line_of_a_question_whose_answer_is_not_there() -> None:
    written("t.csv", QA.replace(",number 3,t", ",number 99,t"))
    assert [finding.detail for finding in workbench.check(["t.csv"]) if finding.state == "bad"] == [
        "t.csv:5: question 3: no accepted answer (number 99) occurs in d4; mend the answers or the evidence"
    ]
