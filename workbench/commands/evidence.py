"""Verbs about evidence: verify a certificate, gate one run against another, and take runs out of the store and into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import workbench
from workbench.commands._shared import deliver, lazy, open_store, store_option
from workbench.commands.reading import runs

_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("certificate", type=_file)
@click.option("--bundle", type=_file, help="Read the run from this exported bundle instead of the store.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@store_option
@click.pass_context
def verify(context: click.Context, certificate: Path, bundle: Path | None, format_: str, store_url: str | None) -> None:
    """Recompute a certificate's every figure from the stored answers, and name those that differ; no model is loaded.

    \b
    Exit code 1 where anything differs, 5 where the run is not there.
    Examples:
      workbench verify certificate.json
      workbench verify certificate.json --bundle run.zip
    """
    if bundle is not None and store_url is not None:
        raise click.UsageError("--bundle and --store both say where the run is; give one")
    store = None if store_url is None else open_store(store_url)
    found = workbench.verify(certificate, store=store, bundle=bundle)
    if format_ == "json":
        lazy("terminal").plain({**_plain(found), "holds": found.holds})
    elif found.holds:
        click.echo(
            f"{certificate} holds: {found.checked:,} figures and words of run {found.run} made anew, none differs"
        )
    else:
        click.echo(f"{certificate} does not hold: {len(found.differences):,} of its figures and words differ")
        for each in found.differences:
            click.echo(f"  {each.path}: stated {each.stated}, recomputed {each.recomputed}")
    if not found.holds:
        context.exit(1)


@click.command()
@click.argument("run", default="latest")
@click.option("--against", metavar="BASE", required=True, help="A run of the same store, or an exported bundle.")
@click.option("--configuration", metavar="ID", help="Test this configuration [the recommended one].")
@click.option("--base-configuration", metavar="ID", help="Against this one of the base [the recommended one].")
@click.option(
    "--resource",
    "resources",
    multiple=True,
    type=click.Choice(["tokens", "p95_seconds", "joules", "joules_per_correct"]),
    help="Test only this resource; may be given several times [all].",
)
@click.option("--min-effect", default=0.05, show_default=True, help="How much more of a resource is acceptable.")
@click.option("--strict", is_flag=True, help="What is not shown fails, too.")
@click.option("--junit", type=_file, metavar="FILE", help="Write JUnit XML for a build service, too.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@store_option
@click.pass_context
def gate(
    context: click.Context,
    run: str,
    against: str,
    configuration: str | None,
    base_configuration: str | None,
    resources: tuple[str, ...],
    min_effect: float,
    strict: bool,
    junit: Path | None,
    format_: str,
    store_url: str | None,
) -> None:
    """Test a run's setup against a base's: is it still as good, and no dearer? For builds.

    \b
    Paired on common questions: quality within the goal's margin, each resource within the minimum effect.
    Exit code 0 passed or not shown, 1 regressed, 5 not comparable.
    Examples:
      workbench gate latest --against main
      workbench gate latest --against main.zip --junit gate.xml --resource tokens
    """
    found = workbench.gate(
        run,
        against=against,
        configuration=configuration,
        base_configuration=base_configuration,
        **({"resources": resources} if resources else {}),
        min_effect=min_effect,
        store=open_store(store_url),
    )
    report = lazy("gate_report")
    if format_ == "json":
        lazy("terminal").plain(report.as_mapping(found))
    else:
        lazy("terminal").print_rows(report.COLUMNS, report.rows(found))
        for line in report.sentences(found):
            click.echo(line)
        for note in found.notes:
            click.echo(f"note: {note}", err=True)
    if junit is not None:
        deliver(report.junit(found, strict=strict), junit)
    if found.status == "regressed" or (strict and found.status != "passed"):
        context.exit(1)


@runs.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@click.pass_context
def delete(context: click.Context, name: str, yes: bool, store_url: str | None) -> None:
    """Delete a run with all its answers; a run that is running is refused."""
    store = open_store(_named(context, store_url))
    record = lazy("reports").deletable(store, name)
    question = f"Delete run {record.name!r} with its {store.count_answers(record.id):,} answers?"
    if not yes and not click.confirm(question, err=True):
        click.echo("kept", err=True)
        context.exit(1)
    store.delete(record.id)
    click.echo(f"deleted: {record.name}", err=True)


@runs.command()
@click.argument("name")
@click.argument("bundle", type=_file)
@store_option
@click.pass_context
def export(context: click.Context, name: str, bundle: Path, store_url: str | None) -> None:
    """Export a run to a bundle: one zip file that verify, gate and import read."""
    size = lazy("bundle").pack(name, bundle, store=open_store(_named(context, store_url)))
    click.echo(f"written: {bundle} ({size:,} bytes)", err=True)


@runs.command("import")
@click.argument("bundle", type=_file)
@click.option("--name", help="The run's name here [its own].")
@store_option
@click.pass_context
def import_(context: click.Context, bundle: Path, name: str | None, store_url: str | None) -> None:
    """Import a bundle's run into the store."""
    name = lazy("bundle").unpack(bundle, name=name, store=lazy("store").Store(_named(context, store_url)))
    click.echo(f"imported: {name}; see: workbench compare {name}", err=True)


def _named(context: click.Context, store_url: str | None) -> str | None:
    """The store that was named, before the subcommand's name or after it."""
    if store_url is not None or context.parent is None:
        return store_url
    named: str | None = context.parent.params["store_url"]
    return named


def _plain(found: Any) -> dict[str, Any]:
    return {
        "run": found.run,
        "verdict": found.verdict,
        "checked": found.checked,
        "differences": [
            {"path": each.path, "stated": each.stated, "recomputed": each.recomputed} for each in found.differences
        ],
    }


VERBS = (verify, gate)
