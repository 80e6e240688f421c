"""Verbs that run experiments, and that steer runs from another process."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

import workbench
from workbench.commands._shared import lazy, open_store, store_option


@click.command()
@store_option
@click.option("--fresh", is_flag=True, help="Start over instead of continuing.")
@click.pass_context
def demo(context: click.Context, store_url: str | None, fresh: bool) -> None:
    """Run the demonstration end to end on embedded models; print the table and the recommendation.

    \b
    It is the experiment `demo` over Python's own language reference: a small grid of prompts, retrievers and passage
    counts, with and without a language model. Run it again to continue, or --fresh to start over.
    """
    experiment = workbench.read_experiment("demo")
    setups = [*experiment.space.model, *experiment.space.retriever]
    click.echo(
        f"demo: {', '.join(map(str, setups))} on {experiment.questions.limit} questions of {experiment.evalset}.",
        err=True,
    )
    click.echo(
        "Left out to stay within minutes: larger models, sampling, other chunk sizes, repeats, the test split.",
        err=True,
    )
    _run(experiment, store_url, "demo", fresh=fresh, retry_failed=False)
    found = lazy("reports").compare("demo", store=open_store(store_url))
    terminal = lazy("terminal")
    terminal.print_comparison(found)
    terminal.print_recommendation(workbench.recommend(found))
    hint = f" --store {store_url}" if store_url else ""
    click.echo(
        f'\nNext: workbench recommend demo --out setup.yaml{hint}, workbench ask setup.yaml "…", or workbench app',
        err=True,
    )


@click.command()
@click.argument("experiment")
@store_option
@click.option("--name", help="The run's name [the experiment's].")
@click.option("--fresh", is_flag=True, help="Delete the run of that name and start over.")
@click.option("--retry-failed", is_flag=True, help="Try again what infrastructure failures took.")
def run(experiment: str, store_url: str | None, name: str | None, fresh: bool, retry_failed: bool) -> None:
    """Run an experiment file, or continue its run; progress on standard error.

    \b
    Examples:
      workbench run experiment.yaml
      workbench run experiment.yaml --name second-try --store sqlite:///other.db
      workbench run experiment.yaml --retry-failed
    """
    outcome = _run(experiment, store_url, name, fresh=fresh, retry_failed=retry_failed)
    click.echo(
        f"run {outcome.run}: {outcome.answers} of {outcome.total} answers stored; see: workbench compare {outcome.run}",
        err=True,
    )


def _run(experiment: Any, store_url: str | None, name: str | None, *, fresh: bool, retry_failed: bool) -> Any:
    asked: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        click.echo("\nstopping after the answers under way; press again to stop at once", err=True)

    runner, terminal = lazy("experiment"), lazy("terminal")
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with terminal.live() as progress:
            return runner.run(
                experiment,
                store=store_url,
                name=name,
                fresh=fresh,
                retry_failed=retry_failed,
                progress=progress,
                stop=lambda: bool(asked),
            )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command()
@click.argument("setup", type=click.Path(path_type=Path))
@click.argument("question")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def ask(context: click.Context, setup: Path, question: str, format_: str) -> None:
    """Answer a question with a setup file; prints the answer, its sources and its ledger.

    \b
    Example:
      workbench ask setup.yaml "Which exception does an empty raise outside an except block cause?"
    """
    reply = workbench.ask(setup, question)
    terminal = lazy("terminal")
    if format_ == "json":
        terminal.plain(reply)
    else:
        terminal.print_reply(reply)
    if reply.answer.failure is not None:
        context.exit(1)


@click.command()
@click.argument("run")
@store_option
def stop(run: str, store_url: str | None) -> None:
    """Ask a running run to stop after the answers under way; running its experiment again continues it."""
    workbench.stop(run, store=open_store(store_url))
    click.echo(f"asked {run} to stop", err=True)


VERBS = (demo, run, ask, stop)
