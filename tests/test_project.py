"""What the app writes into the project folder: uploads, experiments, questions; nothing outside, nothing silently over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import workbench
from tests.conftest import DOCUMENTS, QUESTIONS
from workbench import forms
from workbench.errors import InputError
from workbench.project import add_question, import_upload, own_evalsets, save_experiment
from workbench.specification import read_experiment

NATIVE = (
    (
        "documents.jsonl",
        "".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in DOCUMENTS.items()).encode(),
    ),
    ("questions.jsonl", "".join(json.dumps(row) + "\n" for row in QUESTIONS).encode()),
)
EXPERIMENT: dict[str, Any] = {"corpus": "tiny", "evalset": "tiny", "space": {"retriever": ["bm25"]}}


def everything(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_native_pair_becomes_data_that_can_be_run(own_folder: Path) -> None:
    imported = import_upload(NATIVE, "tiny", licence="CC0-1.0")
    assert (imported.documents, imported.splits) == (5, {"dev": 8, "test": 4})
    assert everything(own_folder) == {
        "corpora/tiny/documents.jsonl",
        "corpora/tiny/corpus.yaml",
        "evals/tiny/questions.jsonl",
        "evals/tiny/evalset.yaml",
        "evals/tiny/experiment.yaml",
    }
    assert not [finding for finding in workbench.check(["tiny"]) if finding.state == "bad"]
    assert "uploaded: documents.jsonl, questions.jsonl" in Path("corpora/tiny/corpus.yaml").read_text()
    assert read_experiment("tiny").corpus == "tiny"


def test_texts_with_questions_apart_and_columns_of_their_own(own_folder: Path) -> None:
    texts = [(f"{id}.md", text.encode()) for id, text in DOCUMENTS.items()]
    table = b"id,ask,answers\n1,When was it lit?,1894\n"
    imported = import_upload(texts, "mine", questions=[("q.csv", table)], columns={"question": "ask"})
    assert imported.documents == 5
    assert workbench.load_evalset("mine").questions[0].question == "When was it lit?"
    assert not list(own_folder.glob(".upload-*"))


def test_a_beir_set_finds_its_judgements(own_folder: Path) -> None:
    files = [
        ("corpus.jsonl", b'{"_id": "d1", "text": "The lamp was lit in 1894."}\n'),
        ("queries.jsonl", b'{"_id": "q1", "text": "When was the lamp lit?"}\n'),
        ("test.tsv", b"query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
    ]
    import_upload(files, "beir")
    assert workbench.load_evalset("beir").questions[0].evidence == ("d1",)


@pytest.mark.parametrize(
    "name", ["../../up.md", "/etc/passwd.md", "..\\..\\up.md", "a/b/<script>.md", ".hidden.md", "x" * 300 + ".md"]
)
def test_no_name_leads_out_of_the_folder(name: str, own_folder: Path) -> None:
    before = everything(own_folder.parent)
    import_upload([(name, b"A text."), ("other.md", b"Another one.")], "mine")
    grown = everything(own_folder.parent) - before
    assert {Path(each).parts[1:3] for each in grown} == {("corpora", "mine")}


def test_what_is_wrong_is_told_of_the_uploaded_file_and_nothing_is_written(own_folder: Path) -> None:
    broken = [NATIVE[0], ("questions.jsonl", b'{"id": "q", "question": "?"}\nnot json\n')]
    with pytest.raises(InputError) as error:
        import_upload(broken, "tiny")
    assert str(own_folder) not in str(error.value)
    assert ".upload" not in str(error.value)
    assert "questions.jsonl:2" in str(error.value)
    assert everything(own_folder) == set()


def test_only_what_the_readers_know_and_only_so_much(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as error:
        import_upload([("run.py", b"print()"), ("b.exe", b"")], "mine")
    assert [problem.partition(":")[0] for problem in error.value.problems] == ["run.py", "b.exe"]
    with pytest.raises(InputError, match="there are no documents"):
        import_upload([], "mine")
    monkeypatch.setattr("workbench.project.UPLOAD_MEGABYTES", 0.001)
    with pytest.raises(InputError, match="can be uploaded"):
        import_upload([("a.md", b"x" * 2000)], "mine")
    monkeypatch.setattr("workbench.project.UPLOAD_MEGABYTES", forms.UPLOAD_MEGABYTES)
    with pytest.raises(InputError, match="dropped twice"):
        import_upload([("a.md", b"x"), ("a.md", b"y")], "mine")
    assert everything(own_folder) == set()


def test_data_is_replaced_only_when_told(own_folder: Path) -> None:
    import_upload(NATIVE, "tiny")
    with pytest.raises(InputError, match="it is taken"):
        import_upload(NATIVE, "tiny")
    assert import_upload(NATIVE, "tiny", force=True).documents == 5


def test_an_experiment_is_saved_and_never_silently_over_another(own_folder: Path) -> None:
    path = save_experiment(EXPERIMENT, "first")
    assert path == Path("evals/first/experiment.yaml")
    assert save_experiment(EXPERIMENT, "first") == path  # just the same again is no other one
    assert read_experiment("first").space.retriever == ["bm25"]
    with pytest.raises(InputError, match="is there already"):
        save_experiment({**EXPERIMENT, "seed": 8}, "first")
    assert read_experiment("first").seed == 7
    save_experiment({**EXPERIMENT, "seed": 8}, "first", replace=True)
    assert read_experiment("first").seed == 8


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", ".hidden", "x" * 101, "<b>", "a\n"])
def test_a_name_is_a_name(name: str, own_folder: Path) -> None:
    with pytest.raises(InputError, match="name is"):
        save_experiment(EXPERIMENT, name)
    assert everything(own_folder) == set()


def test_everything_wrong_with_an_experiment_is_said_at_once(own_folder: Path) -> None:
    with pytest.raises(InputError) as error:
        save_experiment({"corpus": "c", "space": {"temperature": ["hot"]}}, "a b")
    assert len(error.value.problems) == 3
    assert everything(own_folder) == set()


def test_a_question_is_added_with_an_id_of_its_own(own_folder: Path) -> None:
    import_upload(NATIVE, "tiny")
    assert own_evalsets() == ["tiny"]
    before = workbench.load_evalset("tiny").questions
    assert (
        add_question("tiny", " Who bakes in\nSkerry? ", ["Tom", " ", "the baker Tom"], evidence=["bakery"]) == "added-1"
    )
    assert add_question("tiny", "Who rings the bell?", []) == "added-2"
    after = {
        question.id: question for question in workbench.load_evalset("tiny", workbench.load_corpus("tiny")).questions
    }
    assert len(after) == len(before) + 2
    assert after["added-1"].question == "Who bakes in Skerry?"
    assert after["added-1"].answers == ("Tom", "the baker Tom")
    assert after["added-1"].evidence == ("bakery",)
    assert not after["added-2"].answerable
    assert [after[question.id].answers for question in before] == [question.answers for question in before]
    with pytest.raises(InputError, match="asks this already, as question added-1"):
        add_question("tiny", "who bakes in skerry?", ["Tom"])


def test_questions_go_into_own_sets_only(own_folder: Path) -> None:
    for name in ("python-reference", "../up", "gone"):
        with pytest.raises(InputError):
            add_question(name, "Who?", ["I"])
    import_upload(NATIVE, "tiny")
    with pytest.raises(InputError, match="the question is empty"):
        add_question("tiny", "  ", ["I"])
