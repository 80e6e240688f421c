"""Every format people have, swept as it is: bm25, dense, hybrid and a reranker over the README's own lines."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fpdf import FPDF

import workbench
from tests.conftest import DOCUMENTS, QUESTIONS, ROOT, needs_minilm, python

ANSWERABLE = [question for question in QUESTIONS if question.get("answers")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def beir(folder: Path) -> tuple[Any, Any]:
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": id, "title": id, "text": text} for id, text in DOCUMENTS.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": each["id"], "text": each["question"]} for each in ANSWERABLE]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    lines = ["query-id\tcorpus-id\tscore", *(f"{each['id']}\t{each['evidence'][0]}\t2" for each in ANSWERABLE)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return str(folder), str(folder)


def squad(folder: Path) -> tuple[Any, Any]:
    folder.mkdir()
    paragraphs = []
    for id, text in DOCUMENTS.items():
        asked = [each for each in QUESTIONS if each.get("evidence") == [id]]
        found = [
            {
                "id": each["id"],
                "question": each["question"],
                "is_impossible": False,
                "answers": [{"text": each["answers"][0], "answer_start": text.index(each["answers"][0])}],
            }
            for each in asked
        ]
        paragraphs.append({"context": text, "qas": found})
    paragraphs[0]["qas"].append({"id": "no", "question": "Who paid?", "is_impossible": True, "answers": []})
    content = {"version": "v2.0", "data": [{"title": "Skerry", "paragraphs": paragraphs}]}
    (folder / "squad.json").write_text(json.dumps(content))
    return str(folder / "squad.json"), str(folder / "squad.json")


def table(folder: Path) -> tuple[Any, Any]:
    folder.mkdir()
    with (folder / "faq.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ask", "page", "reply"])
        writer.writerows([each["question"], DOCUMENTS[each["evidence"][0]], each["answers"][0]] for each in ANSWERABLE)
    columns = {"question": "ask", "text": "page", "answers": "reply"}
    source = {"path": str(folder / "faq.csv"), "columns": columns}
    return source, source


def files(folder: Path) -> tuple[Any, Any]:
    docs = folder / "docs"
    docs.mkdir(parents=True)
    for number, (id, text) in enumerate(DOCUMENTS.items()):
        if number % 2:
            (docs / f"{id}.md").write_text(f"# {id.title()}\n\n{text}\n")
            continue
        page = FPDF()
        page.add_page()
        page.set_font("Helvetica", size=12)
        page.multi_cell(0, text=text)
        page.output(str(docs / f"{id}.pdf"))
    with (folder / "faq.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        writer.writerows([each["question"], each["answers"][0]] for each in ANSWERABLE)
    return str(docs), str(folder / "faq.csv")


@needs_minilm
@pytest.mark.parametrize("make", [beir, squad, table, files])
def test_every_format_is_swept_with_the_lines_of_the_readme(make: Any, shared_cache: Path, own_folder: Path) -> None:
    corpus, evalset = make(own_folder / "source")
    shown = re.search(r"<!-- example: sweep.yaml -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    experiment = yaml.safe_load(shown[1]) | {"corpus": corpus, "evalset": evalset}
    if make is files:  # nothing says which document answers which question
        experiment |= {"metrics": ["contains", "token_f1"], "goal": {"metric": "contains", "minimise": "joules"}}
    experiment["space"]["chunk_tokens"] = 64
    Path("sweep.yaml").write_text(yaml.safe_dump(experiment))
    result = python("-m", "workbench", "run", "sweep.yaml", "--name", "sweep", timeout=240)
    assert result.returncode == 0, result.stderr
    figures = workbench.compare("sweep").figures
    assert len(figures) == 8
    assert all(each.answers >= len(ANSWERABLE) and each.state == "finished" for each in figures)
    assert all(not each.failures for each in figures)
    metric = experiment["goal"]["metric"]
    best = max(found.mean for each in figures if (found := each.scores[metric]) is not None)
    assert best > (0.5 if make is files else 0.8)
