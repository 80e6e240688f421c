"""The HTML export: one file that fetches nothing, runs nothing, and shows every text as text."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import workbench
from tests.conftest import python
from tests.stores import SETUPS, filled_store
from workbench.errors import MissingLibrary

INJECTION = '</svg><script>alert(1)</script><img src=x onerror="alert(2)"> \' " {{datum}} http://evil.example/ javascript:alert(3)'
FETCHING = {
    "script",
    "link",
    "img",
    "image",
    "iframe",
    "object",
    "embed",
    "a",
    "use",
    "foreignobject",
    "audio",
    "video",
    "form",
    "base",
}


class Page(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def page(folder: Path, **made: object) -> Page:
    store = filled_store(folder / "store.db", **made)  # type: ignore[arg-type]
    return Page(workbench.export(workbench.compare(store=store), "html"))


@pytest.fixture(scope="module", params=["plain", "injected"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "plain":
        yield page(folder)
    else:
        yield page(
            folder, name=f"run {INJECTION}", injection=INJECTION, setups=SETUPS[:4], questions=4, model_failures=1
        )


def test_nothing_is_fetched_or_run(either: Page) -> None:
    assert not FETCHING.intersection(either.tags)
    for tag, name, value in either.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"src", "href", "xlink:href", "srcset", "action", "background", "style"}, (tag, name, value)
        assert "url(" not in value
        if "://" in value:
            assert name.startswith("xmlns") or name == "aria-label", (tag, name, value)
    style = either.texts[either.tags.index("style")]
    assert "@import" not in style
    assert "url(" not in style


def test_no_identifier_can_clash(either: Page) -> None:
    assert not [value for _, name, value in either.attributes if name == "id"]


def test_the_chart_is_inside(either: Page) -> None:
    assert either.tags.count("svg") == 1
    assert "energy per answer (J, estimated from CPU time)" in either.text
    assert "token_f1 (95% interval)" in either.text
    assert "recommended" in either.text or "provisional choice" in either.text


def test_hostile_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    shown = page(tmp_path, name=f"run {INJECTION}", injection=INJECTION, setups=SETUPS[:4], questions=4)
    assert f"Run run {INJECTION}" in shown.texts
    assert f"{INJECTION} 0" in shown.texts  # an axis, in its column of the table
    assert any(
        INJECTION in text and text.startswith("embedded:smollm2-135m(") for text in shown.texts
    )  # the chart's legend


def test_verdict_table_reasons_and_origins_are_inside(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "store.db", name="plain")
    comparison = workbench.compare(store=store)
    recommendation = workbench.recommend(comparison)
    shown = Page(workbench.export(comparison, "html"))
    for sentence in (*workbench.sentences(recommendation), *workbench.notes(comparison)):
        assert sentence in shown.texts
    for figures in comparison.figures:
        assert figures.configuration.id in shown.texts
    for rejection in recommendation.rejections:
        assert f"{rejection.configuration.label} [{rejection.configuration.id}]: {rejection.reason}" in shown.texts
    assert ("tr", "class", "chosen") in shown.attributes


def test_a_run_without_joules_still_makes_a_page(tmp_path: Path) -> None:
    shown = page(tmp_path, metered=False)
    assert "not measured" in shown.texts
    assert "no configuration has both token_f1 and measured joules" in shown.text


def test_only_html_needs_the_chart_library(tmp_path: Path) -> None:
    filled_store(tmp_path / "store.db").close()
    code = (
        "import sys, workbench\n"
        "for library in ('altair', 'vl_convert'): sys.modules[library] = None\n"
        "comparison = workbench.compare(store=workbench.Store(sys.argv[1], create=False))\n"
        "for format in ('csv', 'json', 'markdown'): assert workbench.export(comparison, format)\n"
        "try: workbench.export(comparison, 'html')\n"
        "except workbench.WorkbenchError as error: print(type(error).__name__, error)\n"
    )
    found = python("-c", code, str(tmp_path / "store.db"))
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(MissingLibrary.__name__)
    assert "pip install 'rag-workbench[charts]'" in found.stdout
