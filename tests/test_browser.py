"""The app in a real browser: from starting a run to reading its answers; screenshots go to the test's folder."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import workbench
from tests.browsers import Server, asked_elsewhere, context, drawn, heading, page, server
from tests.stores import filled_store

__all__ = ["asked_elsewhere", "context", "page", "server"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

if importlib.util.find_spec("playwright") is not None:
    from playwright.sync_api import Page, expect

EXPERIMENT = {
    "corpus": "python-reference",
    "evalset": "python-reference",
    "strategy": "grid",
    "questions": {"limit": 24},
    "metrics": ["token_f1", "contains", "recall@5"],
    "goal": {"metric": "token_f1", "margin": 0.05},
    "space": {
        "model": ["none", {"name": "scripted", "seconds": 0.05}],
        "retriever": ["none", "bm25"],
        "passages": [1, 3],
    },
}
TOTAL = 4 * 24


@pytest.fixture
def app(server: Server, own_folder: Path) -> str:
    """The address of an app over a store of the test's own, with one slow experiment to run."""
    folder = own_folder / "evals" / "slow"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    return server.address


@pytest.fixture
def shot(page: Page, own_folder: Path) -> Callable[[str], None]:
    """Keep a picture of the page under a name."""

    def keep(name: str) -> None:
        page.screenshot(path=own_folder / "pictures" / f"{name}.png")

    return keep


def test_an_experiment_is_started_watched_and_read(app: str, page: Page, shot: Callable[[str], None]) -> None:
    page.goto(app)
    heading(page, "Overview")
    expect(page.get_by_text("Nothing here is yours yet")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_text("There is no run yet")).to_be_visible()
    shot("empty")
    page.get_by_role("link", name="Start a run").click()
    heading(page, "Run")

    page.goto(f"{app}/run?experiment=slow")
    page.get_by_role("textbox", name="Name of the run").fill("story")
    page.get_by_role("textbox", name="Name of the run").press("Tab")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text(f"of {TOTAL} answers").first).to_be_visible()
    shot("running")
    page.reload()
    expect(page).to_have_url(re.compile(r"run=story"))
    expect(page.get_by_text(f"of {TOTAL} answers").first).to_be_visible()
    expect(page.get_by_text(f"{TOTAL} of {TOTAL} answers").first).to_be_visible()
    expect(page.get_by_text("finished", exact=True).first).to_be_visible()
    expect(page.get_by_role("button", name="Stop the run", exact=True)).to_have_count(0)
    shot("finished")

    drawn(page)
    expect(page.get_by_role("link", name="Compare its setups")).to_have_count(1)
    page.get_by_role("link", name="Compare its setups").click()
    heading(page, "Compare")
    expect(page).to_have_url(re.compile(r"/compare\?run=story"))
    first = workbench.sentences(workbench.recommend("story"))[0]
    expect(page.get_by_text(first)).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    drawn(page)
    page.get_by_role("radio", name="tokens").or_(page.get_by_role("button", name="tokens")).first.click()
    expect(page).to_have_url(re.compile(r"cost=tokens"))
    drawn(page)  # a page that is being drawn anew forgets its downloads
    shot("compare")
    with page.expect_download() as download:
        page.get_by_role("button", name="html").click()
    assert "<svg" in Path(download.value.path()).read_text(encoding="utf-8")

    drawn(page)
    page.get_by_role("link", name="Answers", exact=True).click()
    heading(page, "Answers")
    [(question, scored), *_] = workbench.answers(
        "story", configuration=workbench.watch("story").trials[0].configuration.id
    )
    expect(
        page.get_by_test_id("stText").get_by_text(question.question, exact=True)
    ).to_be_visible()  # not the table's cell
    expect(page.get_by_text(scored.answer.passages[0].chunk.text[:40]).first).to_be_visible()
    shot("answers")


def test_what_if_is_asked_and_the_choice_is_taken_along(app: str, page: Page) -> None:
    filled_store(Path(os.environ["WORKBENCH_STORE"])).close()
    page.goto(f"{app}/recommend?run=demo&margin=0.3")
    heading(page, "Recommend")
    expect(page.get_by_text("This is not the goal that was declared before the run, so")).to_be_visible()
    drawn(page)
    files = {}
    for name in ("setup.yaml", "certificate.json", "certificate.html", "ask_setup.py", "xlsx"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        files[name] = Path(download.value.path()).read_bytes()
    chosen = yaml.safe_load(files["setup.yaml"])
    assert chosen["chosen_by"]["exploratory"] is True
    certificate = json.loads(files["certificate.json"])
    assert (certificate["goal"]["exploratory"], certificate["goal"]["judged"]["margin"]) == (True, 0.3)
    assert b"Exploratory" in files["certificate.html"]
    assert b"load_setup" in files["ask_setup.py"]
    assert files["xlsx"].startswith(b"PK")
    page.get_by_role("button", name="Back to the declared goal").click()
    expect(page).to_have_url(re.compile(r"/recommend\?run=demo$"))


@pytest.mark.parametrize("name", ["overview", "compare", "answers", "run", "recommend"])
def test_the_first_thing_opened_may_be_a_link(name: str, app: str, page: Page) -> None:
    filled_store(Path(os.environ["WORKBENCH_STORE"])).close()
    page.goto(f"{app}/{name}?run=demo")
    heading(page, name.title())
    expect(page.get_by_test_id("stTopNavLink")).to_contain_text(["Overview", "Run", "Compare", "Answers", "Recommend"])
    page.set_viewport_size({"width": 820, "height": 1180})
    heading(page, name.title())
