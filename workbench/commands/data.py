"""Verbs about data: import, split, describe."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from workbench.commands._shared import column_option, lazy, pairs, print_findings


@click.group()
def data() -> None:
    """Bring data into the project folder: import it, split it anew, describe it."""


@data.command("import")
@click.argument("source", metavar="SRC")
@click.option("--as", "name", required=True, metavar="NAME", help="The name of the corpus and of the evaluation set.")
@click.option("--questions", metavar="SRC", help="Where the questions are, if not with the documents.")
@click.option("--title", default="", help="What it is.")
@click.option("--licence", default="", help="The licence of the data [asked for on a terminal].")
@click.option("--source", "origin", default="", help="Where the data come from [asked for on a terminal].")
@column_option
@click.option("--seed", default=7, show_default=True, help="Of the split of questions that have none.")
@click.option("--force", is_flag=True, help="Replace data of that name; its experiment stays.")
def import_(
    source: str,
    name: str,
    questions: str | None,
    title: str,
    licence: str,
    origin: str,
    columns: tuple[str, ...],
    seed: int,
    force: bool,
) -> None:
    """Make corpora/NAME and evals/NAME, with a first experiment, from data in any format.

    \b
    SRC is a folder of .md .txt .html .rst .pdf files, a BEIR folder, a SQuAD file, .csv .tsv .jsonl, or hf:owner/name.
    Examples:
      workbench data import docs/ --as handbook --questions faq.csv --licence CC-BY-4.0 --source "our handbook"
      workbench data import faq.csv --as faq --column question=ask --column text=page
      workbench data import hf:rajpurkar/squad@validation --as squad
    """
    if sys.stdin.isatty():
        licence = licence or click.prompt("Licence of the data", default="", show_default=False, err=True)
        origin = origin or click.prompt("Where the data come from", default="", show_default=False, err=True)
    done = lazy("imports").import_data(
        source,
        name,
        questions=questions,
        title=title,
        licence=licence,
        origin=origin,
        columns=pairs(columns),
        seed=seed,
        force=force,
    )
    for file in done.files:
        click.echo(f"written: {file}", err=True)
    splits = ", ".join(f"{split} {count}" for split, count in done.splits.items())
    click.echo(
        f"{done.documents} documents, {sum(done.splits.values())} questions{splits and f' ({splits})'}", err=True
    )
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    if done.splits:
        click.echo(f"Next: workbench run {Path('evals', name, 'experiment.yaml')}", err=True)


@data.command()
@click.argument("name")
@click.option("--test", default=0.33, show_default=True, help="The share of questions to keep for the last test.")
@click.option("--seed", default=7, show_default=True, help="Another seed is another split.")
def split(name: str, test: float, seed: int) -> None:
    """Write a new seeded dev and test split into evals/NAME.

    \b
    Example:
      workbench data split handbook --test 0.33 --seed 7
    """
    sizes = lazy("imports").split(name, test=test, seed=seed)
    click.echo(f"evals/{name}: {', '.join(f'{split} {count}' for split, count in sizes.items())}", err=True)


@data.command()
@click.argument("name")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def describe(context: click.Context, name: str, format_: str) -> None:
    """What a corpus and evaluation set hold: counts, lengths in tokens, duplicates, splits, and everything wrong."""
    print_findings(context, lazy("imports").describe(name), format_, bad=2)


VERBS = (data,)
