"""Every format that is read without conversion, and every kind of damage: an InputError or a correct read, nothing else."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fpdf import FPDF
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import python
from workbench.doctor import check
from workbench.errors import InputError
from workbench.library import holds, load_corpus, load_evalset, read_corpus, read_evalset
from workbench.records import Corpus, Document, Question, Span

SKY, GRASS = "The sky is blue.", "Grass is green."
CORPUS = Corpus(name="c", digest="", documents=(Document(id="a", text=SKY), Document(id="b", text=f"\n  {GRASS}\n")))


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(**contents: str | bytes) -> None:
    """Files by name in the current folder; ``__`` stands for a slash and ``_`` for a dot."""
    for name, content in contents.items():
        path = Path(name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def problems(load: Any, *arguments: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(*arguments)
    return list(caught.value.problems)


def texts(name: str, columns: Mapping[str, str] | None = None) -> dict[str, str]:
    return {document.id: document.text for document in load_corpus(name, columns).documents}


def questions(name: str, corpus: Corpus | None = None, columns: Mapping[str, str] | None = None) -> list[Question]:
    return list(load_evalset(name, corpus, columns=columns).questions)


# ----------------------------------------------------------------------------------------------------------- spans, quotes


def test_spans_of_the_only_document_and_of_named_ones() -> None:
    write(
        q_jsonl=lines(
            {"id": "1", "question": "?", "evidence": ["a"], "spans": [[4, 7], [4, 7]], "spans_exact": True},
            {"id": "2", "question": "?", "spans": [["b", 3, 8], ["a", 0, 7]]},
        )
    )
    first, second = questions("q.jsonl", CORPUS)
    assert first.spans == (Span("a", 4, 7),)
    assert (second.spans, second.evidence) == ((Span("b", 3, 8), Span("a", 0, 7)), ("b", "a"))


@pytest.mark.parametrize(
    ("quote", "start", "end"),
    [("sky is", 4, 10), ("sky\n  is", 4, 10), (" blue. ", 11, 16), ("The  sky   is blue.", 0, 16)],
)
def test_quotes_become_spans_whatever_their_white_space(quote: str, start: int, end: int) -> None:
    write(q_jsonl=lines({"id": "1", "question": "?", "evidence": ["b", "a"], "quotes": [quote]}))
    [question] = questions("q.jsonl", CORPUS)
    assert question.spans == (Span("a", start, end),)


@given(
    words=st.lists(st.text("abé中", min_size=1, max_size=5), min_size=1, max_size=12),
    gaps=st.lists(st.sampled_from([" ", "\n", " \t ", "\u00a0\n"]), min_size=13, max_size=13),
    cut=st.tuples(st.integers(0, 11), st.integers(1, 12)),
)
def test_a_quotes_span_holds_the_quotes_words(words: list[str], gaps: list[str], cut: tuple[int, int]) -> None:
    quoted = words[cut[0] % len(words) :][: cut[1]]
    text = "".join(gap + word for gap, word in zip(gaps, words, strict=False)) + gaps[-1]
    corpus = Corpus(name="c", digest="", documents=(Document(id="a", text=text),))
    with TemporaryDirectory() as folder:
        path = Path(folder, "q.jsonl")
        path.write_text(lines({"id": "1", "question": "?", "evidence": ["a"], "quotes": [" ".join(quoted)]}))
        [span] = load_evalset(path, corpus).questions[0].spans
    assert text[span.start : span.end].split() == " ".join(quoted).split()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"quotes": ["red"], "evidence": ["a", "b"]}, 'quotes holds "red", which does not occur in a, b; mend it'),
        ({"quotes": ["sky"], "answers": ["x"]}, "quotes has no evidence to be found in; name the documents"),
        ({"quotes": "sky", "evidence": ["a"]}, 'quotes is "sky"; expected a list of texts'),
        ({"spans": [[0, 17]], "evidence": ["a"]}, "spans ends at 17, yet 'a' has 16 characters"),
        ({"spans": [[3, 3]], "evidence": ["a"]}, "spans[0] is [3, 3]; expected 0 ≤ start < end, in characters"),
        ({"spans": [[False, True]], "evidence": ["a"]}, "spans[0] is [false, true]; expected 0 ≤ start < end"),
        ({"spans": [[-1, 3]], "evidence": ["a"]}, "spans[0] is [-1, 3]; expected 0 ≤ start < end, in characters"),
        ({"spans": [[0, 3]], "evidence": ["a", "b"]}, "spans[0] names no document, and evidence is not exactly one"),
        ({"spans": [["b", 0, 3]], "evidence": ["a"]}, 'spans[0] names "b", which evidence does not; add it there'),
        ({"spans": [["c", 0, 3]]}, "evidence names 'c', which is no document of corpus c; mend the id"),
        ({"spans": [["a", 0.5, 3]]}, 'spans[0] is ["a", 0.5, 3]; expected [start, end] or ["document", start, end]'),
        ({"spans": {"start": 1}, "evidence": ["a"]}, 'spans is {"start": 1}; expected a list such as [[start, end]]'),
        ({"spans_exact": 1, "evidence": ["a"]}, "spans_exact is 1; expected true or false"),
        ({"grades": [1], "evidence": ["a", "b"]}, "grades holds 1 numbers for 2 documents of evidence; give one each"),
        ({"grades": [0], "evidence": ["a"]}, "grades is [0]; expected a list of numbers above 0"),
        ({"grades": [10**400], "evidence": ["a"]}, "grades is ["),
    ],
)
def test_gold_that_cannot_be(row: dict[str, Any], message: str) -> None:
    write(q_jsonl=lines({"id": "0", "question": "?", "answers": ["x"]}, {"id": "1", "question": "?", **row}))
    [problem] = problems(load_evalset, "q.jsonl", CORPUS)
    assert problem.startswith(f"q.jsonl:2: {message}")


def test_grades_and_metadata_are_kept() -> None:
    write(
        c__documents_jsonl=lines({"id": "a", "text": SKY, "metadata": {"url": ["x"]}}, {"id": "b", "text": GRASS}),
        c__questions_jsonl=lines(
            {"id": "1", "question": "?", "evidence": ["a", "b"], "grades": [2, 0.5]},
            {"id": "2", "question": "?", "evidence": ["a", "b"], "grades": [1, 1]},
        ),
    )
    first, second = questions("c", load_corpus("c"))
    assert (first.grades, second.grades) == ((2, 0.5), ())
    assert [document.metadata for document in load_corpus("c").documents] == [{"url": ["x"]}, {}]


def test_the_digest_knows_gold_and_is_the_same_without_the_corpus() -> None:
    row = {"id": "1", "question": "?", "evidence": ["a"]}
    changes: list[dict[str, Any]] = [
        {},
        {"quotes": ["sky"]},
        {"quotes": ["blue"]},
        {"spans": [[0, 3]]},
        {"grades": [2]},
    ]
    for number, change in enumerate(changes):
        Path(f"{number}.jsonl").write_text(lines(row | change))
    found = [load_evalset(f"{number}.jsonl", CORPUS).digest for number in range(len(changes))]
    assert len(set(found)) == len(found)
    assert found == [load_evalset(f"{number}.jsonl").digest for number in range(len(changes))]


# -------------------------------------------------------------------------------------------------------- public formats


def test_beir_with_grades() -> None:
    write(
        set__corpus_jsonl=lines(*({"_id": id, "text": SKY, "metadata": {"url": "u"}} for id in "abc")),
        set__queries_jsonl=lines(*({"_id": id, "text": f"{id}?"} for id in "xyz")),
        set__qrels__test_tsv="query-id\tcorpus-id\tscore\nx\ta\t2\nx\tb\t1\nx\tc\t0\ny\ta\t1\ny\tb\t1\nz\ta\t-1\n",
    )
    found = {question.id: (question.evidence, question.grades) for question in questions("set", load_corpus("set"))}
    assert found == {"x": (("a", "b"), (2, 1)), "y": (("a", "b"), ()), "z": (None, ())}
    assert load_corpus("set").documents[0].metadata == {"url": "u"}
    write(set__qrels__test_tsv="x\ta\t2\nx\ta\t1\nx\ta\t2\nx\tb\tnan\n")
    assert problems(load_evalset, "set") == [
        "set/qrels/test.tsv:2: 'x' and 'a' were judged 2 before; drop one",
        'set/qrels/test.tsv:4: found "x\\tb\\tnan"; expected query-id, corpus-id and a number, separated by tabs',
    ]


def squad(start: Any) -> dict[str, Any]:
    answers = [{"text": "sky", "answer_start": start}, {"text": "The sky", "answer_start": 0}]
    asked = {"id": "1", "question": "What is blue?", "answers": answers}
    return {"data": [{"title": "Sky", "paragraphs": [{"context": SKY, "qas": [asked]}]}]}


def test_squad_answers_have_spans() -> None:
    write(s_json=json.dumps(squad(4)))
    [question] = questions("s.json", load_corpus("s.json"))
    assert question.spans == (Span("Sky-0", 4, 7), Span("Sky-0", 0, 7))
    assert not read_evalset("s.json")[2]


@pytest.mark.parametrize("start", [5, -3, None, "4", 10**30, 4.0])
def test_squad_answers_that_stand_elsewhere_have_none_and_this_is_said(start: Any) -> None:
    write(s_json=json.dumps(squad(start)))
    evalset, _, notes = read_evalset("s.json")
    assert (evalset.questions[0].spans, evalset.questions[0].evidence) == ((), ("Sky-0",))
    assert notes == (
        "s.json: answers that do not stand at their answer_start have no span; their documents still count",
    )


# ---------------------------------------------------------------------------------------------------------------- tables


def test_a_csv_of_documents_with_usual_names() -> None:
    write(d_csv='Doc-ID,Heading,Body,more\r\na,Sky,"The ""sky"",\r\nis blue.",x\r\nb,,Grass,\r\n')
    corpus, notes = read_corpus("d.csv")
    assert corpus.documents == (
        Document(id="a", title="Sky", text='The "sky",\r\nis blue.'),
        Document(id="b", text="Grass"),
    )
    assert notes == ("d.csv: columns were taken by their names: title from Heading, text from Body, id from Doc-ID",)


def test_a_csv_of_questions_with_lists_in_cells() -> None:
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["query", "answer", "document_id", "tags", "answerable", "spans", "grades", "split"])
    rows.writerow(["1?", "the sky| sky ", "a", '["x", 7]', "", "[[4, 7]]", "2", "test"])
    rows.writerow(["2?", "[sic] blue", "a|b", "", "yes", "", "1|2.5", "dev"])
    rows.writerow(["3?", "", "", "", "No", "", "", "dev"])
    write(q_csv=table.getvalue())
    first, second, third = questions("q.csv", CORPUS)
    assert first == Question(
        id="q1",
        question="1?",
        answers=("the sky", "sky"),
        evidence=("a",),
        grades=(2,),
        spans=(Span("a", 4, 7),),
        split="test",
        tags=("x", "7"),
    )
    assert (second.answers, second.evidence, second.grades) == (("[sic] blue",), ("a", "b"), (1, 2.5))
    assert (third.answerable, third.evidence, third.answers) == (False, (), ())
    assert "q.csv: without an id column, ids are numbers in order: q1, q2, …" in read_evalset("q.csv")[2]


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ";"), ("t.tsv", "\t"), ("T.CSV", ",")])
def test_other_separators(name: str, separator: str) -> None:
    Path(name).write_text(f"id{separator}text\n1{separator}{SKY}\n")
    assert texts(name) == {"1": SKY}


def test_columns_can_be_named() -> None:
    write(d_csv="key,de,en\n1,Himmel,sky\n", q_jsonl=lines({"nr": 7, "ask": "?", "reply": "x", "gold": ["1"]}))
    assert texts("d.csv", {"id": "key", "text": "de"}) == {"1": "Himmel"}
    columns = {"id": "nr", "question": "ask", "answers": "reply", "evidence": "gold"}
    [question] = questions("q.jsonl", load_corpus("d.csv", {"id": "key", "text": "en"}), columns)
    assert (question.id, question.answers, question.evidence) == ("7", ("x",), ("1",))


def test_columns_that_differ_in_case_only_can_be_named() -> None:
    write(d_csv="id,text,Text\n1,small,large\n")
    assert (texts("d.csv", {"text": "Text"}), texts("d.csv")) == ({"1": "large"}, {"1": "small"})


def test_one_table_is_corpus_and_evalset() -> None:
    rows = [["1", "What?", SKY, "sky"], ["2", "Which?", GRASS, "Grass"], ["3", "Who?", SKY, "blue"]]
    table = io.StringIO()
    csv.writer(table).writerows([["id", "question", "context", "answer"], *rows])
    write(t_csv=table.getvalue())
    assert holds("t.csv") == {"documents", "questions"}
    corpus = load_corpus("t.csv")
    assert texts("t.csv") == {"d1": SKY, "d2": GRASS}
    assert [question.evidence for question in questions("t.csv", corpus)] == [("d1",), ("d2",), ("d1",)]
    findings = check(["t.csv"])
    assert {finding.state for finding in findings} == {"ok"}
    assert "note: t.csv: equal texts beside questions are one document each: d1, d2, …" in {
        f"{finding.what}: {finding.detail}" for finding in findings
    }


def test_texts_beside_questions_keep_their_documents_ids() -> None:
    rows = [
        {"question": "1?", "contexts": [SKY, GRASS], "doc_ids": ["a", "b"], "answer": 7},
        {"question": "2?", "contexts": [SKY], "doc_ids": ["a"], "answer": "x"},
    ]
    write(t_jsonl=lines(*rows))
    assert texts("t.jsonl") == {"a": SKY, "b": GRASS}
    first, second = questions("t.jsonl", load_corpus("t.jsonl"))
    assert (first.evidence, first.answers, second.evidence) == (("a", "b"), ("7",), ("a",))
    write(t_jsonl=lines(*rows, rows[1] | {"contexts": [GRASS]}, rows[1] | {"doc_ids": ["a", "b"]}))
    assert problems(load_corpus, "t.jsonl") == [
        't.jsonl:3: document "a" had another text before; an id must stand for one text',
        't.jsonl:4: 1 texts stand beside the documents ["a", "b"]; give one for each',
    ]


def test_answers_as_the_hub_keeps_squad() -> None:
    write(
        t_jsonl=lines(
            {"question": "1?", "context": SKY, "answers": {"text": ["sky"], "answer_start": [4]}},
            {"question": "2?", "context": SKY, "answers": {"text": ["sky"], "answer_start": [5]}},
            {"question": "3?", "context": SKY, "answers": {"text": [], "answer_start": []}},
        )
    )
    first, second, third = questions("t.jsonl", load_corpus("t.jsonl"))
    assert (first.answers, first.spans) == (("sky",), (Span("d1", 4, 7),))
    assert (second.answers, second.spans, second.evidence) == (("sky",), (), ("d1",))
    assert (third.answerable, third.answers, third.evidence) == (False, (), ())


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        (
            "a,b\n1,2\n",
            {},
            "t.csv: no column is known to hold the text; name it with --column text=…; its columns: a, b",
        ),
        ("id,text\n1,x\n", {"text": "bdy"}, "t.csv: there is no column 'bdy' for text; its columns: id, text"),
        ("id,text\n1,x\n", {"txt": "a"}, "column txt=a: txt is not a known field; did you mean text?"),
        ("id,id,text\n1,1,x\n", {}, "t.csv:1: column 'id' stands twice in the header; rename one"),
        ("id,text\n1,x\n2\n", {}, "t.csv:3: found 1 cells where the header has 2; mend or quote the row"),
        ('id,text\n1,"x\n\n2,y\n', {}, "t.csv:2: not a valid row: unexpected end of data; the rest of the file was"),
        ("id,text\n1,x\n1,y\n", {}, "t.csv:3: id '1' stands already at t.csv:2; ids must be unique, so rename one"),
        ("id,text\n1, \n", {}, "t.csv:2: text is missing; every entry needs one"),
        ("id,text\n,x\n", {}, "t.csv:2: id is missing; every entry needs one"),
        ("", {}, "t.csv: the corpus is empty; add at least one document"),
    ],
)
def test_bad_tables(table: str, columns: dict[str, str], message: str) -> None:
    write(t_csv=table)
    [problem] = problems(load_corpus, "t.csv", columns)
    assert problem.startswith(message)


def test_only_tables_have_columns_to_name() -> None:
    write(s_json=json.dumps(squad(4)))
    [problem] = problems(load_corpus, "s.json", {"text": "context"})
    assert problem.startswith("s.json: its columns have fixed names; columns are named only for .csv")


def test_a_slip_in_our_own_keys_is_told_and_strange_ones_make_a_table() -> None:
    write(d_jsonl=lines({"id": "1", "text": "x", "titel": "y"}), e_jsonl=lines({"id": "1", "text": "x", "url": "y"}))
    assert problems(load_corpus, "d.jsonl") == ["d.jsonl:1: titel is not a known key; did you mean title?"]
    assert texts("e.jsonl") == {"1": "x"}


# ---------------------------------------------------------------------------------------------------------------- folders


def pdf(*pages: str, title: str = "") -> bytes:
    made = FPDF()
    made.set_font("helvetica", size=12)
    if title:
        made.set_title(title)
    for page in pages:
        made.add_page()
        if page:
            made.cell(text=page)
    return bytes(made.output())


def test_a_folder_of_files_is_a_corpus() -> None:
    write(
        f__sky_md="---\nx: 1\n---\n```\n# no\n```\n## The *sky* ##\nIt is blue.\n",
        f__sub__grass_rst="=====\nGrass\n=====\n\nGrass is green.\n",
        f__sub__sea_html="<h1>no</h1><title>Sea &amp;\n salt</title><p>The <b>sea</b> is salty.<script>x()</script>",
        f__moon_pdf=pdf("The moon has craters.", "", "It is far.", title="The moon"),
        f__untitled_pdf=pdf("A page."),
        f__plain_txt="\ufeffIt is\r\nplain.",
        f__old_htm='<meta charset="windows-1252">caf\xe9'.encode("cp1252"),
        f__picture_png=b"\x89PNG",
    )
    Path("f/.hidden.md").write_text("# Hidden")
    Path("f/.git").mkdir()
    Path("f/.git/config.txt").write_text("hidden")
    Path("f/loop").symlink_to(Path.cwd() / "f")
    os.mkfifo("f/waits.md")
    corpus, notes = read_corpus("f")
    found = {document.id: (document.title, document.text) for document in corpus.documents}
    assert {id: title for id, (title, _) in found.items()} == {
        "moon.pdf": "The moon",
        "old.htm": "old",
        "plain.txt": "plain",
        "sky.md": "The sky",
        "sub/grass.rst": "Grass",
        "sub/sea.html": "Sea & salt",
        "untitled.pdf": "untitled",
    }
    assert found["moon.pdf"][1] == "The moon has craters.\n\nIt is far."
    assert found["plain.txt"][1] == "It is\nplain."
    assert found["old.htm"][1] == "café"
    assert "The sea is salty." in found["sub/sea.html"][1]
    assert "x()" not in found["sub/sea.html"][1]
    assert notes == (
        "f/moon.pdf: 1 of 3 pages hold no text, as scanned ones do",
        "f: passed over 1 files of other kinds: 1 .png",
    )
    assert texts("f/plain.txt") == {"plain.txt": "It is\nplain."}


def test_files_without_text_or_that_cannot_be_read_are_told_together() -> None:
    locked = FPDF()
    locked.add_page()
    locked.set_encryption("owner", "user")
    write(
        f__a_pdf=pdf(""),
        f__b_pdf=b"%PDF-1.7 truncated",
        f__c_txt=b"caf\xe9",
        f__d_md="  \n",
        f__e_pdf=bytes(locked.output()),
    )
    found = [problem.partition(";")[0].partition(": Empty")[0] for problem in problems(load_corpus, "f")]
    assert [problem.partition(" ")[0] for problem in found] == [
        "f/a.pdf:",
        "f/b.pdf:",
        "f/c.txt:1:",
        "f/d.md:",
        "f/e.pdf:",
    ]
    assert found[0] == "f/a.pdf: there is no text in it"
    assert found[1].startswith("f/b.pdf: not a PDF that can be read: ")
    assert found[2] == "f/c.txt:1: not UTF-8 at byte 3 (0xe9)"
    assert found[4].startswith("f/e.pdf: ")


def test_a_file_name_that_is_no_text_is_told() -> None:
    os.mkdir("f")
    with open(b"f/caf\xe9.txt", "w") as file:
        file.write("x")
    assert problems(load_corpus, "f") == [
        "f/caf?.txt: the file's name is not UTF-8; rename it, as the name becomes the document's id"
    ]


def test_questions_beside_files() -> None:
    write(f__a_md=SKY, f__questions_jsonl=lines({"id": "1", "question": "?", "evidence": ["a.md"], "quotes": ["sky"]}))
    assert holds("f") == {"documents", "questions"}
    [question] = questions("f", load_corpus("f"))
    assert question.spans == (Span("a.md", 4, 7),)
    assert {finding.state for finding in check(["f"])} == {"ok"}


# --------------------------------------------------------------------------------------------------------------------- hub

HUB = """
import json, sys
from workbench.errors import WorkbenchError
from workbench.library import load_corpus, load_evalset
found = []
for name in sys.argv[1:]:
    try:
        corpus = load_corpus(name)
        asked = load_evalset(name, corpus).questions
        found.append([corpus.name, len(corpus.documents), [[q.id, q.split, q.answers, q.spans] for q in asked]])
    except WorkbenchError as error:
        found.append([type(error).__name__, str(error)])
print(json.dumps(found))
"""


def test_data_sets_of_the_hub() -> None:
    # The library takes a folder of that name for the data set: all but the network is real.
    pytest.importorskip("datasets")
    row = {"question": "What?", "context": SKY, "answers": {"text": ["sky"], "answer_start": [4]}}
    write(
        owner__name__train_jsonl=lines({"id": 1, **row}, {"id": 2, **row}),
        owner__name__validation_jsonl=lines({"id": 3, **row}),
    )
    names = ["hf:owner/name", "hf:owner/name@validation", "hf:owner/name@none", "hf:owner/gone", "hf:../owner/name"]
    ran = python("-c", HUB, *names, HF_HOME=str(Path("cache").resolve()), HF_HUB_OFFLINE="1")
    assert ran.returncode == 0, ran.stderr
    whole, part, no_split, gone, trick = json.loads(ran.stdout)
    answer = [["sky"], [["d1", 4, 7]]]
    splits = [["1", "train", *answer], ["2", "train", *answer], ["3", "validation", *answer]]
    assert whole == ["hf:owner/name", 1, splits]
    assert [question[0] for question in part[2]] == ["3"]
    assert part[2][0][1] in ("dev", "test")
    assert no_split[0] == "InputError"
    assert 'Unknown split "none"' in no_split[1]
    assert gone[0] == "MachineError"
    assert "hf:owner/gone could not be fetched: " in gone[1]
    assert trick == [
        "InputError",
        "hf:../owner/name: not an id of a data set; expected hf:owner/name, hf:owner/name/configuration, or either with @split",
    ]


# ------------------------------------------------------------------------------------------------------------------ damage

VALID: dict[str, bytes] = {
    "d.jsonl": lines({"id": "a", "title": "t", "text": SKY, "metadata": {"x": 1}}, {"id": "b", "text": "é"}).encode(),
    "q.jsonl": lines({"id": "1", "question": "?", "answers": ["x"], "evidence": ["a"], "spans": [[0, 3]]}).encode(),
    "t.jsonl": lines({"query": "?", "answer": "x", "passage": SKY}).encode(),
    "s.json": json.dumps(squad(4)).encode(),
    "t.csv": b'id,question,context,answers,tags\n1,"What, then?",The sky,a|b,"[""x""]"\n2,Who?,"a\nb",c,\n',
    "t.tsv": b"doc_id\tbody\n1\tThe sky\n2\tGrass\n",
    "set/corpus.jsonl": lines({"_id": 1, "title": "t", "text": SKY}).encode(),
    "set/queries.jsonl": lines({"_id": "q", "text": "?"}).encode(),
    "set/qrels/test.tsv": b"query-id\tcorpus-id\tscore\nq\t1\t2\n",
    "c/documents.jsonl": lines({"id": "a", "text": SKY}).encode(),
    "c/questions.jsonl": lines({"id": "1", "question": "?", "evidence": ["a"], "quotes": ["The sky"]}).encode(),
    "c/corpus.yaml": b"title: T\nlicence: CC0\n",
    "c/evalset.yaml": b"corpus: c\n",
    "f/a.md": b"# Sky\n\nblue\n",
    "f/b.html": b"<html><title>Sky</title><body><p>blue</p></body></html>",
    "f/c.rst": b"Sky\n===\n\nblue\n",
    "f/d.pdf": pdf("The sky."),
}
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["a", "1", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *(
            "id",
            "_id",
            "doc_id",
            "title",
            "text",
            "body",
            "context",
            "metadata",
            "question",
            "query",
            "answers",
            "answer",
        ),
        *("evidence", "answerable", "split", "tags", "spans", "quotes", "grades"),
        *("data", "paragraphs", "qas", "answer_start", "is_impossible"),
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of some format with something wrong: cut off, bytes changed, or other bytes altogether."""
    name = draw(st.sampled_from(sorted(VALID)))
    data = VALID[name]
    kind = draw(st.sampled_from(["cut", "changed", "spliced", "random", "utf-16", "long"]))
    position = draw(st.integers(0, len(data)))
    if kind == "cut":
        return name, data[:position]
    if kind == "changed":
        return name, data[:position] + draw(st.binary(min_size=1, max_size=8)) + data[position + 1 :]
    if kind == "spliced":
        return name, data[:position] + VALID[draw(st.sampled_from(sorted(VALID)))] + data[position:]
    if kind == "utf-16":
        return name, data.decode("latin-1").encode(draw(st.sampled_from(["utf-16", "utf-16-le", "utf-32"])))
    if kind == "long":
        return name, data[:position] + draw(
            st.sampled_from([b"[", b'"', b"9", b" ", b"\n", b"<b>", b"#"])
        ) * 50_000 + data[position:]
    return name, draw(st.binary(max_size=300))


def read_everything(folder: Path, name: str) -> None:
    """Load and check whatever the file belongs to; only InputError may come of it."""
    path = folder / name
    target = folder / Path(name).parts[0] if "/" in name else path
    corpus = None
    with contextlib.suppress(InputError):
        corpus = load_corpus(target)
        assert corpus.documents
        assert len({document.id for document in corpus.documents}) == len(corpus.documents)
        assert all(document.id.strip() and document.text.strip() for document in corpus.documents)
        "".join(document.id + document.title + document.text for document in corpus.documents).encode()
    with contextlib.suppress(InputError):
        for question in load_evalset(target, corpus).questions:
            lengths = {document.id: len(document.text) for document in corpus.documents} if corpus else {}
            assert question.id
            assert question.split
            assert len(question.grades) in (0, len(question.evidence or ()))
            assert all(0 <= span.start < span.end for span in question.spans)
            assert corpus is None or all(span.end <= lengths[span.document_id] for span in question.spans)
    for finding in check([target]):
        finding.detail.encode()


def laid_out(folder: Path, changed: Mapping[str, bytes]) -> None:
    for name, data in {**VALID, **changed}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@settings(max_examples=150)
@given(case=damaged())
def test_a_damaged_file_is_an_input_error_or_a_correct_read(case: tuple[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        laid_out(Path(folder), dict([case]))
        read_everything(Path(folder), case[0])


@settings(max_examples=150)
@given(
    name=st.sampled_from(
        ["d.jsonl", "q.jsonl", "c/documents.jsonl", "c/questions.jsonl", "set/corpus.jsonl", "set/queries.jsonl"]
    ),
    rows=st.lists(st.dictionaries(KEYS, JUNK, max_size=6) | JUNK, min_size=1, max_size=4),
)
def test_rows_of_any_shape(name: str, rows: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        laid_out(Path(folder), {name: "".join(json.dumps(row) + "\n" for row in rows).encode()})
        read_everything(Path(folder), name)


@settings(max_examples=60)
@given(
    content=st.dictionaries(
        KEYS, st.lists(st.dictionaries(KEYS, JUNK, max_size=4) | JUNK, max_size=3) | JUNK, max_size=3
    )
)
def test_squad_of_any_shape(content: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        laid_out(
            Path(folder), {"s.json": json.dumps({"data": [content, {"title": "x", "paragraphs": [content]}]}).encode()}
        )
        read_everything(Path(folder), "s.json")


@settings(max_examples=60)
@given(
    header=st.lists(KEYS | st.text(max_size=4), max_size=5),
    rows=st.lists(st.lists(st.text(max_size=6) | JUNK.map(str), max_size=5), max_size=4),
    columns=st.dictionaries(KEYS, KEYS, max_size=2),
)
def test_tables_of_any_shape(header: list[str], rows: list[list[str]], columns: dict[str, str]) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([header, *rows])
    with TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        path.write_bytes(table.getvalue().encode(errors="replace"))
        read_everything(Path(folder), "t.csv")
        for load in (load_corpus, load_evalset):
            with contextlib.suppress(InputError):
                assert load(path, columns=columns).digest


YAML = [
    "title: x",
    "? {a: b}",
    "[",
    "2001-99-99",
    'title: "\\ud83d"',
    "&a [*a]",
    "!!set {a}",
    "a: !!binary x",
    "licence: [1]",
]


@settings(max_examples=40)
@given(text=st.lists(st.sampled_from(YAML) | st.text(max_size=20), max_size=3).map("\n".join))
def test_properties_of_any_shape(text: str) -> None:
    with TemporaryDirectory() as folder:
        laid_out(
            Path(folder),
            {"c/corpus.yaml": text.encode(errors="replace"), "c/evalset.yaml": text.encode(errors="replace")},
        )
        read_everything(Path(folder), "c/documents.jsonl")
