"""A comparison as a workbook: its table with numbers as numbers, and what they mean. No cell is a formula or a link."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import xlsxwriter

from workbench.comparison import Comparison
from workbench.explanations import notes
from workbench.exports import cell_value, table
from workbench.recommendation import choose, sentences

_WIDEST = 48


def render(comparison: Comparison) -> bytes:
    """The file: a sheet of the configurations, cheapest first, and one of the recommendation and how figures are known."""
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(buffer, options)
    bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    wrapped = book.add_format({"text_wrap": True, "valign": "top"})

    columns, rows = table(comparison)
    sheet = book.add_worksheet("configurations")
    sheet.freeze_panes(1, 2)
    for number, column in enumerate(columns):
        sheet.write_string(0, number, cell_value(column), bold)
        sheet.set_column(number, number, _width(column, [row[number] for row in rows]))
    for at, row in enumerate(rows, start=1):
        for number, value in enumerate(row):
            _write(sheet, at, number, value)
    sheet.autofilter(0, 0, max(len(rows), 1), len(columns) - 1)

    words = book.add_worksheet("what they mean")
    words.set_column(0, 0, 120)
    for at, line in enumerate((*sentences(choose(comparison)), "", *notes(comparison))):
        words.write_string(at, 0, cell_value(line), wrapped)
    book.close()
    return buffer.getvalue()


def _write(sheet: Any, row: int, column: int, value: Any) -> None:
    """A value in a cell by its own type; what is absent leaves the cell empty."""
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float):
        sheet.write_number(row, column, value)
    elif value is not None and value != "":
        sheet.write_string(row, column, cell_value(value))


def _width(column: str, values: Sequence[Any]) -> int:
    """Room for the longest text of a column, within reason; figures are as wide as their heading's words."""
    texts = [value for value in values if isinstance(value, str)]
    return min(max([len(word) for word in column.split("_")] + [10] + [len(text) for text in texts]), _WIDEST)
