"""The whole job in a real browser, and what may come between: a refresh, a second tab, a crash of the app, hostile files."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

import workbench
from tests.browsers import (
    PATIENCE,
    Server,
    another,
    asked_elsewhere,
    context,
    downloaded,
    drawn,
    heading,
    page,
    processes,
    server,
)
from tests.conftest import DOCUMENTS, QUESTIONS, needs_embedded
from workbench.launch import RunProgress

__all__ = ["asked_elsewhere", "context", "page", "server"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

if importlib.util.find_spec("playwright") is not None:
    from playwright.sync_api import Locator, Page, expect

FILES = ("setup.yaml", "certificate.json", "certificate.html", "csv", "html")
ROW_PIXELS = 35  # of a row of a table, and of its head
DOUBLE = 100  # milliseconds between the clicks of people who click twice


def tried(page: Page, axis: str, *values: str) -> None:
    """Let an axis have these values and no others."""
    field = page.get_by_test_id("stMultiSelect").filter(has=page.get_by_text(axis, exact=True))
    clear = field.get_by_role("button", name=re.compile("clear", re.IGNORECASE))
    if clear.count():
        clear.click()
        drawn(page)
    for value in values:
        field.get_by_role("combobox").fill(value)
        page.get_by_role("option", name=value, exact=True).click()
        drawn(page)
    page.keyboard.press("Escape")


def cells(page: Page, having: str) -> Locator:
    """What a table holds, for those who cannot see its canvas; it is there once the table is in sight."""
    page.get_by_test_id("stDataFrame").first.scroll_into_view_if_needed()
    return page.locator("canvas table").filter(has_text=having)


def upload(page: Page, name: str, documents: tuple[str, bytes], questions: tuple[str, bytes]) -> None:
    """Bring data in, from the page Experiment."""
    heading(page, "Experiment")
    drawn(page)
    page.get_by_text("Bring your own data").click()
    for place, (file, content) in enumerate((documents, questions)):
        uploader = page.get_by_test_id("stFileUploader").nth(place)
        uploader.locator("input[type=file]").set_input_files(
            {"name": file, "mimeType": "text/plain", "buffer": content}
        )
        # Its size, once it is there.
        expect(uploader.get_by_test_id("stFileChip")).to_have_text(re.compile(r"\d ?K?B$"))
        drawn(page)
    entered(page, "Name of the data", name)
    page.get_by_role("button", name="Import", exact=True).click()


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a file of JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def entered(page: Page, label: str, value: str) -> None:
    """Write into a field, and let the page know."""
    field = page.get_by_role("textbox", name=label, exact=True)
    field.fill(value)
    field.press("Tab")
    drawn(page)


@needs_embedded
def test_from_documents_to_a_setup_taken_along(server: Server, page: Page) -> None:
    documents = io.StringIO()
    csv.writer(documents).writerows([("id", "text"), *DOCUMENTS.items()])
    page.goto(f"{server.address}/experiment")
    upload(page, "skerry", ("island.csv", documents.getvalue().encode()), ("asked.jsonl", lines(QUESTIONS)))
    expect(page.get_by_text("skerry: 5 documents; questions: 8 dev, 4 test")).to_be_visible()
    expect(page).to_have_url(re.compile(r"from=skerry"))
    drawn(page)
    tried(page, "Model", "embedded:smollm2-135m")
    tried(page, "Max tokens", "16")
    tried(page, "Passages", "1", "2")
    page.get_by_text("Documents and index").click()
    tried(page, "Chunk tokens")

    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.get_by_text("2 configurations × 8 questions")).to_be_visible()
    entered(page, "Name", "island")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved;")).to_be_visible()
    planned = cells(page, "tokens in")
    for row in workbench.plan_rows(workbench.plan("island", calibrate=False)):
        expect(planned).to_contain_text(row["quantity"])
        expect(planned).to_contain_text(row["full grid"])
    drawn(page)
    page.get_by_role("button", name="Plan and time", exact=True).click()
    expect(cells(page, "tokens in")).not_to_contain_text("not estimated", timeout=3 * PATIENCE)
    drawn(page)
    page.get_by_role("button", name="Save and start").dblclick(delay=DOUBLE)
    expect(page.get_by_text("Run island was started.")).to_be_visible()
    drawn(page)

    page.get_by_role("link", name="Watch it").click()
    heading(page, "Run")
    expect(page).to_have_url(re.compile(r"/run\?run=island"))
    expect(page.get_by_text("The race", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    expect(page.get_by_text("finished", exact=True).first).to_be_visible(timeout=3 * PATIENCE)
    drawn(page)
    assert [run.record.name for run in workbench.runs()] == ["island"]
    found = workbench.recommend("island")
    assert found.chosen is not None
    page.get_by_role("link", name="Overview", exact=True).click()
    heading(page, "Overview")
    first = workbench.sentences(found)[0]
    expect(page.get_by_text(first)).to_be_visible()
    for tile in workbench.headlines(workbench.compare("island"), found.chosen):
        expect(page.get_by_test_id("stMetric").filter(has_text=tile.label).first).to_contain_text(tile.value)
    drawn(page)

    page.get_by_role("link", name="Read its answers").click()
    heading(page, "Answers")
    drawn(page)
    configuration = workbench.watch("island").trials[0].configuration.id
    fourth = workbench.answer_page("island", configuration=configuration).rows[3]["id"]
    page.get_by_test_id("stDataFrame").first.click(position={"x": 16, "y": 4.5 * ROW_PIXELS})
    expect(page).to_have_url(re.compile(f"question={fourth}"))
    [(question, scored)] = workbench.answers("island", configuration=configuration, question=fourth)
    for text in (question.question, *question.answers, scored.answer.text):
        expect(page.get_by_test_id("stText").get_by_text(text, exact=True).first).to_be_visible()
    passage = scored.answer.passages[0].chunk.text
    expect(page.get_by_test_id("stHtml").filter(has_text=passage).first).to_be_visible()
    expect(page.get_by_test_id("stCode").last).to_contain_text(question.question)
    drawn(page)

    page.get_by_role("link", name="Recommend", exact=True).click()
    heading(page, "Recommend")
    expect(page.get_by_text(first)).to_be_visible()
    drawn(page)
    assert_they_hold({name: downloaded(page, name) for name in FILES}, found)
    for name in ("html", "certificate.html"):
        alone = page.context.new_page()
        alone.set_content(downloaded(page, name).decode())
        expect(alone.get_by_text(first).first).to_be_visible()
        alone.close()


def assert_they_hold(files: dict[str, bytes], found: workbench.Recommendation) -> None:
    """The files of a recommendation say what it says, and its certificate can be made anew from the answers."""
    assert found.chosen is not None
    setup = yaml.safe_load(files["setup.yaml"])
    assert setup["configuration"] == dict(found.chosen.axes)
    assert setup["chosen_by"]["exploratory"] is False
    Path("certificate.json").write_bytes(files["certificate.json"])
    verified = workbench.verify("certificate.json")
    assert (verified.run, verified.verdict, verified.differences) == ("island", found.verdict, ())
    rows = list(csv.DictReader(io.StringIO(files["csv"].decode("utf-8-sig"))))
    assert {row["configuration"] for row in rows} == {
        each.configuration.id for each in workbench.watch("island").trials
    }


# --------------------------------------------------------------------------------------------- what may come between


def slow(seconds: float, questions: int) -> None:
    """Write an experiment of one setup that takes so many seconds for each of so many questions."""
    content = {
        "corpus": "python-reference",
        "evalset": "python-reference",
        "strategy": "grid",
        "questions": {"split": "all", "limit": questions},
        "metrics": ["token_f1"],
        "goal": {"metric": "token_f1", "margin": 0.05, "minimise": "tokens"},
        "space": {"model": [{"name": "scripted", "seconds": seconds}], "retriever": ["none"]},
    }
    saved("slow", content)


def saved(name: str, content: Mapping[str, Any]) -> None:
    """An experiment file of the folder, under a name."""
    path = Path("evals", name, "experiment.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def until(condition: Callable[[RunProgress], bool], run: str = "slow") -> RunProgress:
    """Wait for what the store says of a run."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition(progress := workbench.watch(run)):
        assert time.monotonic() < deadline, progress
        time.sleep(0.1)
    return progress


def state(page: Page, word: str) -> None:
    """Wait until the page shows a run in this state."""
    expect(page.locator(".stMarkdownBadge").first).to_have_text(word)


def test_a_run_is_one_run_in_every_tab(
    server: Server,
    page: Page,
    asked_elsewhere: list[str],
    own_folder: Path,
) -> None:
    slow(0.5, 240)
    page.goto(f"{server.address}/run?experiment=slow")
    drawn(page)
    page.get_by_role("button", name="Start", exact=True).dblclick(delay=DOUBLE)
    expect(page.get_by_text("of 240 answers").first).to_be_visible()
    page.reload()
    expect(page).to_have_url(re.compile(r"run=slow(&|$)"))
    tab = page.context.new_page()
    tab.goto(f"{server.address}/run")
    assert page.context.browser is not None
    elsewhere = another(page.context.browser.new_context(), asked_elsewhere).new_page()
    elsewhere.goto(f"{server.address}/run?run=slow")
    everywhere = (page, tab, elsewhere)
    for each in everywhere:
        state(each, "running")
        expect(each.get_by_text("of 240 answers").first).to_be_visible()
        for control in ("Stop the run", "Pause"):
            expect(each.get_by_role("button", name=control, exact=True)).to_be_enabled()
    assert [run.record.name for run in workbench.runs()] == ["slow"]
    assert len(processes(own_folder)) == 1

    tab.get_by_role("button", name="Pause", exact=True).click()
    for each in everywhere:
        state(each, "paused")
    paused = workbench.watch("slow").answers
    for each in everywhere:
        expect(each.get_by_text(f"{paused} of 240 answers").first).to_be_visible()
    drawn(elsewhere)
    elsewhere.get_by_role("button", name="Go on", exact=True).click()
    for each in everywhere:
        state(each, "running")
    until(lambda progress: progress.answers > paused)
    drawn(page)
    page.get_by_role("button", name="Stop the run", exact=True).click()
    for each in everywhere:
        state(each, "stopped")
        expect(each.get_by_role("button", name="Continue", exact=True)).to_be_visible()
        expect(each.get_by_role("button", name="Stop the run", exact=True)).to_have_count(0)
    assert not workbench.watch("slow").live
    assert [run.record.name for run in workbench.runs()] == ["slow"]
    assert processes(own_folder) == []


def test_the_app_is_killed_and_started_anew_while_a_run_goes_on(server: Server, page: Page) -> None:
    slow(0.25, 72)
    page.goto(f"{server.address}/run?experiment=slow")
    drawn(page)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("of 72 answers").first).to_be_visible()
    server.kill()
    before = workbench.watch("slow").answers
    since = until(lambda progress: progress.answers > before)
    assert since.live
    server.start()
    back = workbench.watch("slow")
    assert back.state == "running"
    shown = page.get_by_text(re.compile(r"\d+ of 72 answers")).first  # the page comes back by itself
    until(lambda progress: int((shown.text_content() or "0").split()[0]) > back.answers)
    drawn(page)
    page.get_by_role("button", name="Stop the run", exact=True).click()
    expect(page.get_by_text("asked to stop").first).to_be_visible()
    stopped = workbench.watch("slow")
    assert back.answers < stopped.answers < 72
    drawn(page)
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.get_by_text("72 of 72 answers").first).to_be_visible()
    state(page, "finished")
    given = Counter(question.id for question, _ in workbench.answers("slow"))
    assert len(given) == 72
    assert set(given.values()) == {1}


# ------------------------------------------------------------------------------------------------------ hostile files

HOSTILE = (
    '<img src="http://evil.example/1.png" onerror="alert(1)"> <script>alert(2)</script> '
    "![x](http://evil.example/2.png) [y](http://evil.example/3) www.evil.example $x^2$ :smile: **z**"
)
HOSTILE_NAME = "<img src=x onerror=alert(3)> ![x](x.png) [y](javascript:alert(4)) **z**"


def inert(page: Page) -> None:
    """Wait until the page is drawn, and see that no text has become an element of it."""
    drawn(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    main = page.get_by_test_id("stMain")
    assert main.locator("img, script, iframe, [onerror]").count() == 0
    targets = [link.get_attribute("href") or "" for link in page.locator("a").all()]
    assert not [target for target in targets if re.search("evil|javascript:", target.partition("?")[0])]
    assert main.locator("strong").get_by_text("z", exact=True).count() == 0


def test_hostile_files_are_texts_from_upload_to_answer(server: Server, page: Page) -> None:
    saved("broken", {"corpus": HOSTILE, HOSTILE: 1, "space": {"retreiver": [HOSTILE], "temperature": [HOSTILE]}})
    saved(
        HOSTILE_NAME,
        {
            "corpus": "odd",
            "evalset": "odd",
            "strategy": "grid",
            "metrics": ["token_f1", "contains"],
            "goal": {"metric": "token_f1", "margin": 0.05, "minimise": "tokens"},
            "space": {"model": ["none", {"name": "scripted", "replies": {"": HOSTILE}}], "retriever": ["bm25"]},
        },
    )
    documents = [{"id": f"d{n} {HOSTILE_NAME}", "title": HOSTILE, "text": f"Lamp {n}. {HOSTILE}"} for n in range(3)]
    questions = [
        {"id": f"q{n}", "question": f"Lamp {n}? {HOSTILE}", "answers": [HOSTILE], "evidence": [documents[n]["id"]]}
        for n in range(3)
    ]
    page.goto(f"{server.address}/experiment?from=broken")
    expect(page.get_by_text("The experiment to begin with cannot be read")).to_be_visible()
    expect(page.get_by_test_id("stText").filter(has_text=HOSTILE).first).to_be_visible()
    upload(page, "odd", (f"{HOSTILE_NAME}.jsonl", HOSTILE.encode()), ("asked.jsonl", lines(questions)))
    expect(page.get_by_text("These files were not imported")).to_be_visible()
    inert(page)

    page.goto(f"{server.address}/experiment?{urlencode({'from': HOSTILE_NAME})}")
    upload(page, "odd", ("documents.jsonl", lines(documents)), ("asked.jsonl", lines(questions)))
    expect(page.get_by_text("odd: 3 documents; questions: ")).to_be_visible()
    inert(page)
    run = HOSTILE[:200].strip()
    page.goto(f"{server.address}/run?{urlencode({'experiment': HOSTILE_NAME})}")
    entered(page, "Name of the run", run)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("finished", exact=True).first).to_be_visible()
    inert(page)
    first, second = (trial.configuration.id for trial in workbench.watch(run).trials)
    for path, view in (
        ("overview", {}),
        ("run", {}),
        ("compare", {"view": "two figures"}),
        ("compare", {"view": "face to face", "configuration": second, "other": first}),
        ("answers", {"configuration": second}),
        ("answers", {"view": "side by side"}),
        ("recommend", {"floor": "0.9"}),
        ("footprint", {}),
        ("playground", {}),
    ):
        page.goto(f"{server.address}/{path}?{urlencode({'run': run, **view})}")
        heading(page, path.title())
        inert(page)
        if view == {"configuration": second}:
            expect(page.get_by_test_id("stText").get_by_text(HOSTILE, exact=True).first).to_be_visible()
    page.get_by_role("textbox", name="Question", exact=True).fill(f"Lamp 1? {HOSTILE}")
    page.keyboard.press("Control+Enter")
    drawn(page)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_test_id("stCode").filter(has_text=HOSTILE).first).to_be_visible()
    inert(page)
    page.set_content(workbench.export(workbench.compare(run), "html"))
    assert page.locator("img, script, iframe, a, [onerror]").count() == 0
