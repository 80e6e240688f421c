"""Verbs that run experiments, and that steer runs from another process."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

import workbench
from workbench.commands._shared import deliver, lazy, open_store, store_option


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
        f"demo: {', '.join(map(lazy('records').plugin_label, setups))} race over {experiment.questions.limit} questions of "
        f"{experiment.evalset}; the pick is then confirmed on others.",
        err=True,
    )
    click.echo("Left out to stay within minutes: larger models, sampling, other chunk sizes, repeats.", err=True)
    _run(experiment, store_url, "demo", fresh=fresh, retry_failed=False)
    with_store = open_store(store_url)
    found = workbench.compare("demo", store=with_store)
    lazy("terminal").print_comparison(found)
    _conclude(found)
    certificate = Path("runs", "certificate.json")
    content = workbench.certify("demo", store=with_store)
    deliver(lazy("certificate").certificate_text(content), certificate)
    deliver(lazy("certificate_html").render_certificate(content), certificate.with_suffix(".html"))
    hint = f" --store {store_url}" if store_url else ""
    click.echo(
        f"\nNext: workbench verify {certificate}{hint}, workbench recommend demo --out setup.yaml{hint}, "
        'workbench ask setup.yaml "…", or workbench app',
        err=True,
    )


@click.command()
@click.argument("experiment")
@store_option
@click.option("--name", help="The run's name [the experiment's].")
@click.option("--fresh", is_flag=True, help="Start over; the run of that name goes once the new one has an answer.")
@click.option("--retry-failed", is_flag=True, help="Try again what infrastructure failures took.")
@click.option(
    "--executor", default="local", show_default=True, help="Where it runs: local, ray, ray:auto, ray:HOST:PORT."
)
@click.option("--plan", is_flag=True, help="Plan first (some answers of each model are timed), and compare at the end.")
def run(
    experiment: str, store_url: str | None, name: str | None, fresh: bool, retry_failed: bool, executor: str, plan: bool
) -> None:
    """Run an experiment file, or continue its run; progress on standard error.

    \b
    Examples:
      workbench run experiment.yaml
      workbench run experiment.yaml --name second-try --store sqlite:///other.db
      workbench run experiment.yaml --retry-failed
      workbench run experiment.yaml --executor ray:auto
    """
    planned = None
    if plan:
        found = workbench.plan(experiment, report=lambda doing: click.echo(f"{doing} …", err=True))
        planned = lazy("plans").as_mapping(found)
    outcome = _run(
        experiment, store_url, name, fresh=fresh, retry_failed=retry_failed, executor=executor, planned=planned
    )
    _ran(outcome, store_url)


def _ran(outcome: Any, store_url: str | None) -> None:
    """Say how many answers there are and what they come to."""
    click.echo(
        f"run {outcome.run}: {outcome.answers} of at most {outcome.total} answers stored; see: workbench compare {outcome.run}",
        err=True,
    )
    _conclude(workbench.compare(outcome.run, store=open_store(store_url)))


def _conclude(found: Any) -> None:
    """The recommendation, what the search took, and how that compares with what was planned."""
    terminal, chosen = lazy("terminal"), workbench.recommend(found)
    terminal.print_recommendation(chosen)
    terminal.print_sentences(lazy("search_footprint").search_sentences(found, chosen))
    if (planned := found.environment.get("plan")) is not None:
        plans = lazy("plans")
        terminal.print_sentences([plans.compare_with_plan(plans.from_mapping(planned), found)])


def _run(
    experiment: Any,
    store_url: str | None,
    name: str | None,
    *,
    fresh: bool,
    retry_failed: bool,
    executor: str = "local",
    planned: Any = None,
) -> Any:
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
                executor=executor,
                planned=planned,
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
@click.argument("run", default="latest")
@store_option
def stop(run: str, store_url: str | None) -> None:
    """Ask a run at work to stop after the answers under way; `workbench resume RUN` continues it."""
    workbench.stop(run, store=open_store(store_url))
    click.echo(f"asked {run} to stop; continue it with: workbench resume {run}", err=True)


@click.command()
@click.argument("run", default="latest")
@store_option
def pause(run: str, store_url: str | None) -> None:
    """Ask a run at work to wait, its models loaded, until `workbench resume RUN`; waiting does not count as minutes."""
    workbench.pause(run, store=open_store(store_url))
    click.echo(f"asked {run} to pause; let it go on with: workbench resume {run}", err=True)


@click.command()
@click.argument("run", default="latest")
@click.option("--retry-failed", is_flag=True, help="Try again what infrastructure failures took.")
@store_option
def resume(run: str, retry_failed: bool, store_url: str | None) -> None:
    """Let a paused run go on; a run without process is continued here, from the experiment stored with it.

    \b
    Example:
      workbench budget demo minutes=20 && workbench resume demo
    """
    with_store = open_store(store_url)
    record = with_store.get(run)
    if lazy("control").go_on(record.name, store=with_store):
        click.echo(f"run {record.name} goes on", err=True)
    else:
        _ran(_run(record.experiment, store_url, record.name, fresh=False, retry_failed=retry_failed), store_url)


@click.command()
@click.argument("run")
@click.argument("bounds", nargs=-1, metavar="[UNIT=AMOUNT …]")
@store_option
def budget(run: str, bounds: tuple[str, ...], store_url: str | None) -> None:
    """Change where a run stops by itself, at work or not: minutes, watt_hours, tokens, calls, dollars; none lifts a bound.

    \b
    Examples:
      workbench budget demo minutes=20 watt_hours=5
      workbench budget demo tokens=none
    """
    with_store = open_store(store_url)
    found = workbench.budget(run, {unit: _amount(text) for unit, text in _split(bounds)}, store=with_store)
    shown = ", ".join(f"{amount:g} {unit.replace('_', ' ')}" for unit, amount in found if amount is not None)
    click.echo(f"{run} stops at {shown}" if shown else f"{run} has no bound")


def _split(bounds: tuple[str, ...]) -> list[tuple[str, str]]:
    found = [bound.partition("=") for bound in bounds]
    if not all(unit and sign for unit, sign, _ in found):
        raise click.UsageError("a bound is UNIT=AMOUNT, such as minutes=20, or UNIT=none")
    return [(unit, text) for unit, _, text in found]


def _amount(text: str) -> Any:
    """A bound as an experiment file would give it; what is no number is left for the check to refuse."""
    if text == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


VERBS = (demo, run, ask, pause, resume, stop, budget)
