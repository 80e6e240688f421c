"""Exports carry every figure, open safely in a spreadsheet, and never show absence as zero."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from tests.test_recommendation import comparison
from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.exports import csv_text, export
from workbench.texts import NOT_MEASURED, significant

FORMULAS = ["=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]


def small(**cpu: Any) -> Comparison:
    costs = cpu or {"dear": 3.0, "cheap": 1.0}
    return comparison({name: [1.0, 0.0, 1.0, 0.5] for name in costs}, costs)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_has_a_row_per_configuration_cheapest_first() -> None:
    rows = rows_of(export(small(), "csv"))
    assert [row["configuration"] for row in rows] == ["cheap", "dear"]
    assert float(rows[0]["joules_central"]) == pytest.approx(2.0)
    assert float(rows[0]["token_f1"]) == pytest.approx(0.625)
    assert rows[0]["joules_source"] == "cpu_time"
    assert float(rows[0]["joules_per_correct"]) == pytest.approx(2.0 * 4 / 3)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_a_csv_is_a_formula(formula: str) -> None:
    text = csv_text([formula], [[formula], ["plain"], [-2.5]])
    cells = [row[0] for row in csv.reader(io.StringIO(text))]
    kept = formula.replace("\r", "\n")
    assert cells == [f"'{kept}", f"'{kept}", "plain", "-2.5"]
    hostile = comparison({formula: [1.0], "x": [0.0]}, {formula: 1.0, "x": 2.0})
    assert all(
        not value.startswith(("=", "@", "\t", "\r"))
        for row in rows_of(export(hostile, "csv"))
        for value in row.values()
    )


def test_what_was_not_measured_is_never_zero() -> None:
    built = small(known=1.0, unknown=None)
    row = rows_of(export(built, "csv"))[-1]
    assert row["configuration"] == "unknown"
    assert (row["joules_central"], row["joules_source"]) == ("", NOT_MEASURED)
    figures = json.loads(export(built, "json"))["configurations"][-1]
    assert figures["joules"] is None
    assert figures["joules_per_correct"] is None
    assert NOT_MEASURED in export(built, "markdown")


def test_markdown_cells_cannot_break_the_table_or_carry_markup() -> None:
    hostile = comparison({"a|b<script>": [1.0], "[x](http://y)": [0.0]}, {"a|b<script>": 1.0, "[x](http://y)": 2.0})
    lines = [line for line in export(hostile, "markdown").splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    table = "\n".join(lines)
    assert "<script>" not in table
    assert "[x](" not in table


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(InputError, match="csv, json, markdown, html"):
        export(small(), "docx")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.00123, "0.0012"), (0.5, "0.500"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    assert significant(value) == shown
