"""The verb that says what an experiment will take before anything is spent."""

from __future__ import annotations

import click

import workbench
from workbench.commands._shared import lazy


@click.command()
@click.argument("experiment")
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    show_default=True,
    help="Time a few answers of every model that runs here; without, seconds and joules are not estimated.",
)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def plan(experiment: str, calibrate: bool, format_: str) -> None:
    """What an experiment will take, before anything is spent: work with ranges, what its questions can decide, warnings.

    \b
    Answers, tokens, seconds, joules, grams of CO2e and dollars, each about (low–high): for every configuration on every
    question, and as expected of a race. Prompts of a few questions are made ready to count their tokens.
    Examples:
      workbench plan evals/mine/experiment.yaml
      workbench plan demo --no-calibrate
      workbench plan demo --format json
    """
    found = workbench.plan(experiment, calibrate=calibrate, report=lambda doing: click.echo(f"{doing} …", err=True))
    if format_ == "json":
        lazy("terminal").plain(lazy("plans").as_mapping(found))
    else:
        lazy("plan_report").print_plan(found)


VERBS = (plan,)
