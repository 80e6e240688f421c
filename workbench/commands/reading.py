"""Verbs that read runs back: tables, the recommendation, answers, regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import workbench
from workbench.commands._shared import deliver, format_option, lazy, open_store, out_option, store_option


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN …")
@format_option
@click.option("--answers", type=int, metavar="N", help="Show loading and indexing spread over N answers, too.")
@out_option
@store_option
def compare(runs: tuple[str, ...], format_: str, answers: int | None, out: Path | None, store_url: str | None) -> None:
    """Compare the configurations of a run [latest]: scores, tokens, latency, joules, failures, with intervals.

    \b
    Examples:
      workbench compare
      workbench compare demo --format html --out demo.html
      workbench compare demo --format json
      workbench compare demo --answers 10000
    """
    exports, terminal = lazy("exports"), lazy("terminal")
    if out is not None and format_ == "table":
        raise click.UsageError("--out needs --format csv, json, markdown, html or xlsx")
    if out is not None and len(runs) > 1:
        raise click.UsageError("--out holds one run; name one")
    with_store = open_store(store_url)
    for name in runs or ("latest",):
        comparison = workbench.compare(name, over_answers=answers, store=with_store)
        if format_ == "table":
            terminal.print_comparison(comparison)
        else:
            deliver(exports.export(comparison, format_), out)


@click.command()
@click.argument("run", default="latest")
@click.option("--metric", help="Decide on another metric [the declared one].")
@click.option("--margin", type=float, help="How much below the best is acceptable.")
@click.option("--floor", type=float, help="The least acceptable score.")
@click.option(
    "--minimise",
    type=click.Choice(["joules", "tokens", "seconds", "dollars", "grams_co2e"]),
    help="What should be small.",
)
@click.option(
    "--limit", "limits", multiple=True, metavar="p95_seconds=2", help="A service limit; may be given several times."
)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the chosen setup here (setup.yaml)."
)
@click.option(
    "--certificate",
    "certificate_file",
    metavar="FILE.json",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the certificate here, and as a page beside it [with --out: certificate.json beside the setup].",
)
@store_option
@click.pass_context
def recommend(
    context: click.Context,
    run: str,
    metric: str | None,
    margin: float | None,
    floor: float | None,
    minimise: str | None,
    limits: tuple[str, ...],
    format_: str,
    out: Path | None,
    certificate_file: Path | None,
    store_url: str | None,
) -> None:
    """The smallest setup that is still good enough: which, why, and why not the others.

    \b
    Another margin, metric or limit than the one declared in the experiment is marked exploratory.
    Examples:
      workbench recommend
      workbench recommend demo --margin 0.1 --limit p95_seconds=2
      workbench recommend demo --out setup.yaml
      workbench recommend demo --certificate evidence/demo.json
    """
    if certificate_file is not None and certificate_file.suffix == ".html":
        raise click.UsageError("--certificate names the JSON file, as certificate.json; its page is written beside it")
    with_store = open_store(store_url)
    comparison = workbench.compare(run, store=with_store)
    goal = _goal(comparison.goal, metric, margin, floor, minimise, limits)
    found = workbench.recommend(comparison, goal)
    if format_ == "json":
        lazy("terminal").plain(lazy("recommendation").as_mapping(found))
    else:
        lazy("terminal").print_recommendation(found)
    if out is not None and found.chosen is not None:
        experiment = with_store.get(comparison.run).experiment
        deliver(lazy("handover").setup_text(found, comparison, experiment), out)
    elif out is not None:
        click.echo(f"{out} is not written: no setup qualifies", err=True)
    if certificate_file is None and out is not None:
        if comparison.state in lazy("store").AT_WORK:
            click.echo(f"no certificate is written while run {comparison.run} is {comparison.state}", err=True)
        else:
            certificate_file = out.with_name("certificate.json")
    if certificate_file is not None:
        certificate = lazy("certificate")
        content = certificate.certificate(found, comparison, with_store)
        deliver(certificate.certificate_text(content), certificate_file)
        page = lazy("certificate_html").render_certificate(content)
        deliver(page, certificate_file.with_suffix(".html"))
    if found.chosen is None:
        context.exit(1)


def _goal(
    declared: Any,
    metric: str | None,
    margin: float | None,
    floor: float | None,
    minimise: str | None,
    limits: tuple[str, ...],
) -> Any:
    changed: dict[str, Any] = {"metric": metric, "margin": margin, "floor": floor, "minimise": minimise}
    changed = {key: value for key, value in changed.items() if value is not None}
    if limits:
        pairs = [limit.partition("=") for limit in limits]
        changed["limits"] = {key: value for key, _, value in pairs}
    return lazy("specification").changed_goal(declared, changed)


@click.command()
@click.argument("run", default="latest")
@click.option("--configuration", metavar="ID", help="Only this configuration (the beginning of its id is enough).")
@click.option("--question", metavar="ID", help="Only this question.")
@click.option("--format", "format_", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@out_option
@store_option
def answers(
    run: str, configuration: str | None, question: str | None, format_: str, out: Path | None, store_url: str | None
) -> None:
    """One row per answer: question, text, failure, scores, tokens, seconds; JSON has passages and ledger too.

    \b
    Examples:
      workbench answers demo --question q017
      workbench answers demo --configuration 3f2a --format csv --out answers.csv
    """
    exports = lazy("exports")
    with_store = open_store(store_url)
    metrics = [*map(lazy("records").plugin_label, with_store.get(run).experiment["metrics"])]
    pairs = workbench.answers(run, configuration=configuration, question=question, store=with_store)
    columns = [*exports.ANSWER_COLUMNS, *metrics]
    if format_ == "json":
        deliver(lazy("records").as_json(exports.answers_mapping(pairs)) + "\n", out)
    elif format_ == "csv":
        deliver(exports.csv_text(columns, exports.answer_rows(pairs, metrics)), out)
    else:
        lazy("terminal").print_rows(columns, exports.answer_rows(pairs, metrics))


@click.group(invoke_without_command=True)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@store_option
@click.pass_context
def runs(context: click.Context, format_: str, store_url: str | None) -> None:
    """List the runs in the store, newest first; or delete, export, import one."""
    if context.invoked_subcommand is not None:
        return
    terminal = lazy("terminal")
    found = workbench.runs(store=None if store_url is None else open_store(store_url))
    if format_ == "json":
        terminal.plain({"runs": found})
    elif found:
        terminal.print_runs(found)
    else:
        click.echo("no runs yet; start with: workbench demo, or workbench run EXPERIMENT", err=True)


@click.command()
@click.argument("run", default="latest")
@store_option
def reprice(run: str, store_url: str | None) -> None:
    """Price a stored run anew with today's coefficients for its processor and models; nothing is run again.

    \b
    Readings are stored in CPU seconds, counters and tokens, so joules follow from them at any time. What was in force
    before is kept with the run.

    \b
    Example:
      workbench reprice demo
    """
    found = lazy("reports").reprice(run, store=open_store(store_url))
    click.echo(
        f"run {found.run}: {'repriced' if found.changes else 'what it is priced with is that of today'}", err=True
    )
    for change in found.changes:
        click.echo(change)
    for name, why in found.after.coefficients.not_estimated.items():
        click.echo(f"{name}: {why}", err=True)


@click.command()
@click.argument("run", default="latest")
@click.option("--provider", help="aws, azure, gcp, country or zone [the regions of all clouds].")
@click.option("--configuration", metavar="ID", help="For this configuration [the recommended one].")
@click.option("--format", "format_", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@out_option
@store_option
def regions(
    run: str,
    provider: str | None,
    configuration: str | None,
    format_: str,
    out: Path | None,
    store_url: str | None,
) -> None:
    """Rank regions for a run's recommended setup: CO2e and water of 1,000 answers, with ranges and sources.

    \b
    Examples:
      workbench regions demo --provider aws
      workbench regions demo --provider country --format csv --out countries.csv
    """
    if out is not None and format_ == "table":
        raise click.UsageError("--out needs --format csv or json")
    found = workbench.regions(run, provider=provider, configuration=configuration, store=open_store(store_url))
    if format_ == "json":
        deliver(lazy("records").as_json(lazy("region_report").regions_mapping(found)) + "\n", out)
    elif format_ == "csv":
        deliver(lazy("region_report").regions_csv(found), out)
    else:
        lazy("terminal").print_regions(found)


VERBS = (compare, recommend, answers, runs, reprice, regions)
