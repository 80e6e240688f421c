"""Reading corpora and evaluation sets: every format, every kind of bad input, all problems at once."""

import json
import time
import tracemalloc

import pytest

from workbench import tokens
from workbench.errors import InputError
from workbench.library import available, check_data, load_corpus, load_evalset, locate
from workbench.records import Corpus, Document, EvalSet, Question, digest

DOCUMENTS = [{"id": "a", "title": "First", "text": "The sky is blue."}, {"id": "b", "text": "Grass is green."}]
QUESTIONS = [
    {"id": "q1", "question": "What is blue?", "answers": ["the sky", "sky"], "evidence": ["a"], "split": "test"},
    {"id": "q2", "question": "What is red?", "answerable": False, "split": "dev", "tags": ["far"]},
]
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "The_Sky",
            "paragraphs": [
                {
                    "context": "The sky is blue.",
                    "qas": [
                        {
                            "id": "s1",
                            "question": "What is blue?",
                            "answers": [{"text": "The sky", "answer_start": 0}, {"text": "The sky", "answer_start": 0}],
                        },
                        {
                            "id": 2,
                            "question": "What is red?",
                            "answers": [],
                            "is_impossible": True,
                            "plausible_answers": [{"text": "The sky", "answer_start": 0}],
                        },
                    ],
                },
                {"context": "Grass is green.", "qas": []},
            ],
        }
    ],
}


def lines(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files, by path, into an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def files(contents):
        for name, content in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return files


def native(write, documents=DOCUMENTS, questions=QUESTIONS):
    write({"c/documents.jsonl": lines(*documents), "c/questions.jsonl": lines(*questions)})


def problems(load, *arguments):
    with pytest.raises(InputError) as caught:
        load(*arguments)
    return list(caught.value.problems)


# ---------------------------------------------------------------------------------------------------------- formats


def test_native_folders(write):
    native(write)
    write({"c/corpus.yaml": "title: Colours\nlicence: CC0\nsource: made up\n"})
    write({"c/evalset.yaml": "title: Which colour\ncorpus: c\n"})
    corpus = load_corpus("c")
    assert (corpus.name, corpus.title, corpus.licence, corpus.source) == ("c", "Colours", "CC0", "made up")
    assert corpus.documents == (
        Document(id="a", title="First", text="The sky is blue."),
        Document(id="b", title="", text="Grass is green."),
    )
    evalset = load_evalset("c", corpus)
    assert (evalset.name, evalset.title, evalset.corpus) == ("c", "Which colour", "c")
    first, second = evalset.questions
    assert first == Question(
        id="q1", question="What is blue?", answers=("the sky", "sky"), evidence=("a",), split="test"
    )
    assert (second.answerable, second.answers, second.evidence, second.tags) == (False, (), (), ("far",))


def test_single_files(write):
    write({"docs.jsonl": lines(*DOCUMENTS), "asked.jsonl": lines(*QUESTIONS)})
    assert load_corpus("docs.jsonl").name == "docs"
    assert [question.id for question in load_evalset("asked.jsonl").questions] == ["q1", "q2"]


def test_blank_lines_a_byte_order_mark_and_line_separators_are_no_problem(write):
    text = "one\u2028two\x85three"
    write({"d.jsonl": b"\xef\xbb\xbf" + lines({"id": "a", "text": text}, "", "  ").replace("\n", "\r\n").encode()})
    assert [document.text for document in load_corpus("d.jsonl").documents] == [text]


def test_beir_folders(write):
    write(
        {
            "set/corpus.jsonl": lines(
                {"_id": "1", "title": "Sky", "text": "The sky is blue.", "metadata": {}},
                {"_id": "2", "title": "Only a title", "text": ""},
            ),
            "set/queries.jsonl": lines(
                {"_id": "x", "text": "blue?"}, {"_id": "y", "text": "title?"}, {"_id": "z", "text": "not judged"}
            ),
            "set/qrels/test.tsv": "query-id\tcorpus-id\tscore\nx\t1\t2\nx\t2\t0\n",
            "set/qrels/dev.tsv": "query-id\tcorpus-id\tscore\r\ny\t2\t1\r\n",
        }
    )
    corpus = load_corpus("set")
    assert [document.text for document in corpus.documents] == ["The sky is blue.", "Only a title"]
    found = {question.id: (question.evidence, question.split) for question in load_evalset("set", corpus).questions}
    assert found == {"x": (("1",), "test"), "y": (("2",), "dev")}


def test_squad_files(write):
    write({"dev-v2.0.json": json.dumps(SQUAD)})
    corpus = load_corpus("dev-v2.0.json")
    assert [(document.id, document.title) for document in corpus.documents] == [
        ("The_Sky-0", "The Sky"),
        ("The_Sky-1", "The Sky"),
    ]
    first, second = load_evalset("dev-v2.0.json", corpus).questions
    assert (first.answers, first.evidence, first.answerable) == (("The sky",), ("The_Sky-0",), True)
    assert (second.id, second.answers, second.evidence, second.answerable) == ("2", (), (), False)


def test_a_shipped_loader(write):
    write({"c/corpus.yaml": "title: T\nloader: python-topics\n"})
    assert {"assert", "with"} <= {document.id for document in load_corpus("c").documents}
    write({"c/corpus.yaml": "loader: ruby-topics\n"})
    assert problems(load_corpus, "c") == ["c/corpus.yaml: loader is 'ruby-topics'; expected one of python-topics"]


# ------------------------------------------------------------------------------------------------- splits, digests


def test_questions_without_a_split_get_a_stable_one(write):
    rows = [{"id": f"q{number}", "question": f"{number}?", "answers": ["x"]} for number in range(3000)]
    write({"q.jsonl": lines(*rows), "r.jsonl": lines(*rows[::-2])})
    splits = {question.id: question.split for question in load_evalset("q.jsonl").questions}
    assert set(splits.values()) == {"dev", "test"}
    assert 900 < list(splits.values()).count("test") < 1100
    assert all(splits[question.id] == question.split for question in load_evalset("r.jsonl").questions)
    other = {question.id: question.split for question in load_evalset("q.jsonl", seed=1).questions}
    assert 0 < sum(other[id] != split for id, split in splits.items()) < 3000


@pytest.mark.parametrize("change", [{"id": "z"}, {"title": "Z"}, {"text": "Z"}])
def test_the_digest_changes_with_any_content(write, change):
    write(
        {
            "one.jsonl": lines(*DOCUMENTS),
            "same.jsonl": lines(*DOCUMENTS),
            "two.jsonl": lines(DOCUMENTS[0] | change, DOCUMENTS[1]),
        }
    )
    assert load_corpus("one.jsonl").digest == load_corpus("same.jsonl").digest != load_corpus("two.jsonl").digest


@pytest.mark.parametrize(
    "change", [{"question": "Z?"}, {"answers": ["z"]}, {"evidence": ["b"]}, {"split": "dev"}, {"tags": ["z"]}]
)
def test_the_digest_of_questions_too(write, change):
    write({"one.jsonl": lines(QUESTIONS[0]), "two.jsonl": lines(QUESTIONS[0] | change)})
    assert load_evalset("one.jsonl").digest != load_evalset("two.jsonl").digest


# -------------------------------------------------------------------------------------------------------- locating


def test_a_name_is_a_path_then_the_projects_then_what_ships(write):
    assert locate("corpora", "python-reference").is_absolute()
    write({"corpora/python-reference/documents.jsonl": lines(*DOCUMENTS)})
    assert len(load_corpus("python-reference").documents) == 2
    write({"python-reference/documents.jsonl": lines(DOCUMENTS[0])})
    assert len(load_corpus("python-reference").documents) == 1


def test_what_does_not_exist_is_named_with_what_there_is(write):
    write({"corpora/mine/documents.jsonl": lines(*DOCUMENTS)})
    names = available("corpora")
    assert {"mine", "python-reference"} <= set(names)
    [problem] = problems(load_corpus, "yours")
    assert problem == (
        "corpus 'yours' was not found: neither a path nor a name in ./corpora or in what ships; "
        f"available by name: {', '.join(names)}"
    )
    [problem] = problems(load_evalset, "no/such/set")
    assert problem.startswith("evaluation set 'no/such/set' was not found: there is no such file or folder; ")


def test_a_folder_in_no_known_format_is_told_with_what_it_holds(write):
    write({"c/notes.docx": "x", "c/data.parquet": "x", "data.parquet": "x"})
    [problem] = problems(load_corpus, "c")
    assert problem.startswith("c: expected documents.jsonl, ")
    assert problem.endswith("it holds data.parquet, notes.docx")
    assert problems(load_evalset, "c") == [
        "c: expected questions.jsonl, or queries.jsonl with qrels/*.tsv (BEIR); it holds data.parquet, notes.docx"
    ]
    assert problems(load_corpus, "data.parquet")[0].startswith("data.parquet: not a format that can be read; expected")


# -------------------------------------------------------------------------------------------------------- bad input

BAD_DOCUMENTS = {
    "id missing": ({"text": "x"}, "id is missing; every entry needs one"),
    "id empty": ({"id": " ", "text": "x"}, "id is empty; give it a text or drop the entry"),
    "id a number": ({"id": 7, "text": "x"}, "id is 7; expected a text"),
    "text missing": ({"id": "z"}, "text is missing; every entry needs one"),
    "text empty": ({"id": "z", "text": " \n"}, "text is empty; give it a text or drop the entry"),
    "text null": ({"id": "z", "text": None}, "text is null; expected a text"),
    "title a list": ({"id": "z", "text": "x", "title": []}, "title is []; expected a text"),
    "unknown key": ({"id": "z", "text": "x", "titel": "y"}, "titel is not a known key; did you mean title?"),
    "id twice": ({"id": "a", "text": "x"}, "id 'a' stands already at d.jsonl:1; ids must be unique, so rename one"),
    "no object": (["z"], 'found ["z"]; expected an object such as {"id": …}'),
    "broken": ('{"id": "z", "text"', "not valid JSON: Expecting ':' delimiter at column 19; every line must hold one"),
    "half a character": (r'{"id": "z", "text": "\ud83d"}', "not valid JSON: an escape such as \\ud83d stands alone"),
}


@pytest.mark.parametrize(("row", "message"), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_bad_documents(write, row, message):
    write({"d.jsonl": lines(DOCUMENTS[0], row, DOCUMENTS[1])})
    [problem] = problems(load_corpus, "d.jsonl")
    assert problem.startswith(f"d.jsonl:2: {message}")


BAD_QUESTIONS = {
    "question missing": ({"id": "z", "answers": ["x"]}, "question is missing"),
    "answers a text": ({"id": "z", "question": "?", "answers": "x"}, 'answers is "x"; expected a list of texts'),
    "answer empty": ({"id": "z", "question": "?", "answers": ["x", ""]}, 'answers[1] is ""; expected a text that is'),
    "nothing to score": ({"id": "z", "question": "?"}, "there is neither an answer nor evidence; give answers"),
    "answerable a text": (
        {"id": "z", "question": "?", "answerable": "no"},
        'answerable is "no"; expected true or false',
    ),
    "unanswerable yet answered": (
        {"id": "z", "question": "?", "answers": ["x"], "answerable": False},
        'answerable is false, yet answers holds "x"; drop one of them',
    ),
    "split empty": ({"id": "z", "question": "?", "answers": ["x"], "split": ""}, "split is empty"),
    "unknown document": (
        {"id": "z", "question": "?", "answers": ["x"], "evidence": ["a", "nowhere"]},
        "evidence names 'nowhere', which is no document of corpus c; mend the id",
    ),
    "unknown key": ({"id": "z", "question": "?", "answer": ["x"], "evidence": ["a"]}, "answer is not a known key; did"),
    "id twice": ({"id": "q1", "question": "?", "answers": ["x"]}, "id 'q1' stands already at c/questions.jsonl:1"),
}


@pytest.mark.parametrize(("row", "message"), BAD_QUESTIONS.values(), ids=BAD_QUESTIONS)
def test_bad_questions(write, row, message):
    native(write, questions=[QUESTIONS[0], row, QUESTIONS[1]])
    [problem] = problems(load_evalset, "c", load_corpus("c"))
    assert problem.startswith(f"c/questions.jsonl:2: {message}")


def test_all_problems_at_once(write):
    write({"d.jsonl": lines({"id": 1}, DOCUMENTS[0], "{", {"id": "a", "text": "x"})})
    assert [problem.partition(";")[0] for problem in problems(load_corpus, "d.jsonl")] == [
        "d.jsonl:1: id is 1",
        "d.jsonl:1: text is missing",
        "d.jsonl:3: not valid JSON: Expecting property name enclosed in double quotes at column 2",
        "d.jsonl:4: id 'a' stands already at d.jsonl:2",
    ]


def test_at_most_fifty_problems_are_shown(write):
    write({"d.jsonl": lines(*[{"id": str(number)} for number in range(53)])})
    found = problems(load_corpus, "d.jsonl")
    assert len(found) == 51
    assert found[-1] == "… and 3 more"


def test_a_wrong_encoding_is_named_by_its_byte(write):
    write({"d.jsonl": b'{"id": "a", "text": "x"}\n{"id": "b", "text": "caf\xe9"}\n'})
    assert problems(load_corpus, "d.jsonl") == ["d.jsonl:2: not UTF-8 at byte 49 (0xe9); save the file as UTF-8"]
    write({"d.jsonl": lines(*DOCUMENTS).encode("utf-16")})
    assert problems(load_corpus, "d.jsonl") == [
        "d.jsonl: not UTF-8 at byte 0: it looks like UTF-16; save the file as UTF-8"
    ]


def test_nothing_is_a_problem_too(write):
    write({"c/documents.jsonl": "", "c/questions.jsonl": "\n\n"})
    assert problems(load_corpus, "c") == ["c: the corpus is empty; add at least one document"]
    assert problems(load_evalset, "c") == ["c: the evaluation set is empty; add at least one question"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [", "c/corpus.yaml:1: not valid YAML: "),
        ("- a", 'c/corpus.yaml: found ["a"]; expected lines of the form key: value'),
        ("license: MIT", "c/corpus.yaml: license is not a known key; did you mean licence?"),
        ("title: 7", "c/corpus.yaml: title is 7; expected a text"),
    ],
)
def test_bad_properties(write, text, message):
    native(write)
    write({"c/corpus.yaml": text})
    [problem] = problems(load_corpus, "c")
    assert problem.startswith(message)


def test_bad_beir_folders(write):
    write(
        {
            "c/corpus.jsonl": lines({"_id": "1", "text": "x"}, {"_id": "1", "text": "y"}, {"_id": "2", "text": ""}),
            "c/queries.jsonl": lines({"_id": "q", "text": "?"}, {"_id": "q", "text": "?"}),
        }
    )
    assert [problem.partition(";")[0] for problem in problems(load_corpus, "c")] == [
        "c/corpus.jsonl:2: id '1' stands already at c/corpus.jsonl:1",
        "c/corpus.jsonl:3: text is empty",
    ]
    assert [problem.partition(";")[0] for problem in problems(load_evalset, "c")] == [
        "c/queries.jsonl:2: _id 'q' stands already at c/queries.jsonl:1",
        "c: there is no qrels/*.tsv, so nothing says which documents answer which query",
    ]
    write(
        {
            "c/queries.jsonl": lines({"_id": "q", "text": "?"}),
            "c/qrels/dev.tsv": "query-id\tcorpus-id\tscore\nq\t1\t1\nnone\t1\t1\nq 1 1\nq\t1\tyes\n\n",
            "c/qrels/test.tsv": "q\t1\t1\n",
        }
    )
    assert [problem.partition(";")[0] for problem in problems(load_evalset, "c")] == [
        "c/qrels/dev.tsv:3: query-id 'none' is not in queries.jsonl",
        'c/qrels/dev.tsv:4: found "q 1 1"',
        'c/qrels/dev.tsv:5: found "q\\t1\\tyes"',
        "c/qrels/test.tsv:1: query-id 'q' is judged in dev.tsv, too",
    ]
    corpus = Corpus(name="other", documents=(Document(id="9", text="x"),), digest="")
    write({"c/qrels/dev.tsv": "q\t1\t1\n", "c/qrels/test.tsv": ""})
    assert problems(load_evalset, "c", corpus) == [
        "c/queries.jsonl:1: evidence names '1', which is no document of corpus other; mend the id"
    ]


def test_bad_squad_files(write):
    write({"s.json": "{\n  broken"})
    assert problems(load_corpus, "s.json")[0].startswith("s.json:2: not valid JSON: ")
    write({"s.json": "[]"})
    assert problems(load_corpus, "s.json")[0].startswith("s.json: not in SQuAD's format; expected")
    bad = json.loads(json.dumps(SQUAD))
    paragraph = bad["data"][0]["paragraphs"][0]
    paragraph["context"] = " "
    paragraph["qas"][0] |= {"answers": []}
    paragraph["qas"][1] |= {"id": None, "answers": "x"}
    bad["data"].append("x")
    write({"s.json": json.dumps(bad)})
    assert [problem.partition(";")[0] for problem in problems(load_corpus, "s.json")] == [
        "s.json: data[0].paragraphs[0]: context is empty",
        's.json: data[1]: found "x"',
    ]
    assert [problem.partition(";")[0] for problem in problems(load_evalset, "s.json")] == [
        "s.json: data[0].paragraphs[0].qas[0]: answers is empty",
        "s.json: data[0].paragraphs[0].qas[1]: id is null",
        's.json: data[0].paragraphs[0].qas[1]: answers is "x"',
        's.json: data[1]: found "x"',
    ]


def test_a_digest_is_that_of_the_parts_in_order(write):
    write({"d.jsonl": lines(*DOCUMENTS)})
    assert load_corpus("d.jsonl").digest == digest("a", "First", "The sky is blue.", "b", "", "Grass is green.")


def test_documents_are_read_one_by_one(write):
    row = {"id": "d", "title": "t", "text": "some short text " * 60}
    write({"d.jsonl": lines(*[row | {"id": f"d{number}"} for number in range(20_000)])})
    tracemalloc.start()
    corpus = load_corpus("d.jsonl")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept > sum(len(document.text) for document in corpus.documents)
    assert peak < 1.1 * kept + 2**20
    assert len({id(document.metadata) for document in corpus.documents}) == 1


def test_a_hundred_thousand_documents_load_in_two_seconds(write):
    write(
        {
            "d.jsonl": lines(
                *[{"id": f"d{number}", "title": "t", "text": "some short text " * 8} for number in range(100_000)]
            )
        }
    )
    started = time.process_time()
    assert len(load_corpus("d.jsonl").documents) == 100_000
    assert time.process_time() - started < 2


# ------------------------------------------------------------------------------------------------------------ check


def test_check_counts_and_measures():
    texts = ["word " * 10, "word " * 20, "word " * 30, "Word " * 10]
    corpus = Corpus(
        name="c", digest="", documents=tuple(Document(id=str(n), text=text) for n, text in enumerate(texts))
    )
    report = check_data(corpus)
    assert (report.documents, report.evalset, report.unanswerable_share) == (4, None, None)
    assert report.document_tokens_max == tokens.count(texts[2])
    assert report.document_tokens_p50 < report.document_tokens_p95 == report.document_tokens_max
    assert report.duplicate_texts == (("0", "3"),)


def test_check_finds_questions_that_cannot_be_answered_rightly():
    corpus = Corpus(
        name="c",
        digest="",
        documents=(Document(id="a", text="The SKY\n  is blue."), Document(id="b", text="Grass is green.")),
    )
    questions = (
        Question(id="1", question="What?", answers=("nothing", "the sky is"), evidence=("b", "a")),
        Question(id="2", question="Which?", answers=("the sky",), evidence=("b",), split="test"),
        Question(id="3", question="Who?", answerable=False, evidence=()),
        Question(id="4", question="Where?", answers=("there",)),
        Question(id="5", question="  WHAT? ", answers=("grass",), evidence=("b",), split="test"),
        Question(id="6", question="Lost?", answers=("x",), evidence=("gone",)),
    )
    report = check_data(corpus, EvalSet(name="e", questions=questions, digest=""))
    assert (report.questions, report.splits) == (6, {"dev": 4, "test": 2})
    assert report.unanswerable_share == pytest.approx(1 / 6)
    assert report.problems == (
        "e: question 2: no accepted answer (the sky) occurs in b; mend the answers or the evidence",
        "e: question 6: evidence names 'gone', which is no document of corpus c",
        "the same question stands in several splits: 1 (dev), 5 (test); keep one of them",
    )
    assert (report.without_evidence, report.with_spans) == (1, 0)
    placed = check_data(corpus, EvalSet(name="e", questions=questions, digest=""), {"2": "e.jsonl:7"})
    assert placed.problems[0].startswith("e.jsonl:7: question 2: no accepted answer (the sky) occurs in b")
