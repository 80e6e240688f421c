"""The workbook: the figures of the CSV as numbers, and no cell that is a formula or a link."""

from __future__ import annotations

import csv
import io
import re
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest

import workbench
from tests.test_exports import FORMULAS, small
from tests.test_recommendation import comparison
from workbench.comparison import Comparison
from workbench.exports import export

_SPACE = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def cells(found: Comparison, sheet: int = 1) -> dict[str, str | float | bool]:
    """The cells of a sheet by their place, read from the file itself."""
    content = export(found, "xlsx")
    assert isinstance(content, bytes)
    with ZipFile(io.BytesIO(content)) as file:
        shared = [
            "".join(text.text or "" for text in entry.iterfind(".//x:t", _SPACE))
            for entry in ElementTree.fromstring(file.read("xl/sharedStrings.xml"))  # noqa: S314 - our own file
        ]
        page = file.read(f"xl/worksheets/sheet{sheet}.xml").decode()
        assert "<f>" not in page
        assert "<hyperlink" not in page
        assert not [name for name in file.namelist() if "external" in name.lower()]
        tree = ElementTree.fromstring(page)  # noqa: S314
    read = {}
    for cell in tree.iterfind(".//x:c", _SPACE):
        value = cell.findtext("x:v", namespaces=_SPACE)
        if value is not None:
            kind = cell.get("t")
            read[cell.attrib["r"]] = (
                shared[int(value)] if kind == "s" else value == "1" if kind == "b" else float(value)
            )
    return read


def test_it_holds_the_figures_of_the_csv_as_numbers() -> None:
    found = cells(small())
    text = export(small(), "csv")
    assert isinstance(text, str)
    heads, *lines = csv.reader(io.StringIO(text))
    letters = [place.rstrip("1") for place in found if re.fullmatch(r"[A-Z]+1", place)]
    assert [found[f"{letter}1"] for letter in letters] == heads
    for number, line in enumerate(lines, start=2):
        for letter, value in zip(letters, line, strict=True):
            cell = found.get(f"{letter}{number}", "")
            assert cell == (pytest.approx(float(value)) if isinstance(cell, float) else value) or str(cell) == value
    assert sum(isinstance(cell, float) for cell in found.values()) > 2 * 10


def test_what_was_not_measured_is_an_empty_cell() -> None:
    found = cells(small(known=1.0, unknown=None))
    [letter] = [place.rstrip("1") for place, value in found.items() if value == "joules_central"]
    assert f"{letter}2" in found
    assert f"{letter}3" not in found


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula(formula: str) -> None:
    hostile = comparison({formula: [1.0], "x": [0.0]}, {formula: 1.0, "x": 2.0})
    texts = [value for value in cells(hostile).values() if isinstance(value, str)]
    assert not [text for text in texts if text.startswith(("=", "@", "+", "-", "\t"))]
    assert [text for text in texts if text.startswith("'")]


def test_links_stay_texts_and_the_second_sheet_says_what_the_figures_mean() -> None:
    hostile = comparison({"http://evil.example/": [1.0], "x": [0.0]}, {"http://evil.example/": 1.0, "x": 2.0})
    assert "http://evil.example/" in cells(hostile).values()
    words = list(cells(hostile, sheet=2).values())
    assert workbench.sentences(workbench.recommend(hostile))[0] in words
    assert set(workbench.notes(hostile)) <= set(words)
