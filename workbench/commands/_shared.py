"""What the verbs share: options, opening the store, delivering text, and modules that are imported when a verb needs them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click

FORMATS = click.Choice(["table", "csv", "json", "markdown", "html", "xlsx"])


def lazy(module: str) -> Any:
    """A module of this package, imported when a verb needs it: --help must not wait for any library."""
    return importlib.import_module(f"workbench.{module}")


def open_store(url: str | None) -> Any:
    """The store in force, or the one named; it must be there."""
    return lazy("store").Store(url, create=False)


store_option = click.option(
    "--store", "store_url", metavar="URL", help="Database URL or SQLite file [WORKBENCH_STORE, or runs/workbench.db]."
)
format_option = click.option(
    "--format", "format_", type=FORMATS, default="table", show_default=True, help="How to print it."
)
column_option = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="KEY=NAME",
    help="A table's column that is not named as usual, as text=body; may be given several times.",
)
out_option = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of standard output."
)


def deliver(content: str | bytes, out: Path | None) -> None:
    """Write text, or bytes, to a file, or to standard output."""
    if out is not None:
        lazy("exports").write(content, out)
        click.echo(f"written: {out}", err=True)
    elif isinstance(content, bytes):
        sys.stdout.buffer.write(content)
    else:
        sys.stdout.write(content)


def print_findings(context: click.Context, found: Any, format_: str, bad: int) -> None:
    """Print what a check found; the exit code is ``bad`` where something is."""
    terminal = lazy("terminal")
    if format_ == "json":
        terminal.plain({"findings": found})
    else:
        terminal.print_findings(found)
    if any(finding.state == "bad" for finding in found):
        context.exit(bad)


def pairs(columns: tuple[str, ...]) -> dict[str, str]:
    """Columns given as KEY=NAME."""
    pairs = [column.partition("=") for column in columns]
    for field, _, column in pairs:
        if not field or not column:
            raise click.UsageError("--column is KEY=NAME: our field and the column that holds it, such as text=body")
    return {field: column for field, _, column in pairs}
