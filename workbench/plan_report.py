"""A plan as people read it at a terminal: the work with its ranges, what it can decide, and what to mend before spending."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.table import Table
from rich.text import Text

from workbench.footprint import Estimate
from workbench.plans import RACED, ModelPlan, Plan, Preparation, Work, amount, whole
from workbench.records import Energy
from workbench.terminal import err, out
from workbench.texts import NOT_ESTIMATED, NOT_PRICED

_ROWS = ("answers", "tokens in", "tokens out", "seconds", "joules", "g CO2e", "dollars")
_SECONDS = (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0))


def print_plan(plan: Plan) -> None:
    """The plan on standard output, its warnings on standard error."""
    first, *gone = plan_sentences(plan)
    title, colon, rest = first.partition(": ")
    out.print(Text.assemble((title + colon, "bold"), rest), soft_wrap=True)
    for sentence in gone:
        out.print(Text(sentence, style="dim"), soft_wrap=True)
    table = Table(title="What it takes: about (low–high)", title_justify="left", header_style="bold")
    rows = plan_rows(plan)
    for number, title in enumerate(rows[0]):
        table.add_column(Text(title if number else ""), justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(Text, row.values()))
    out.print(table)
    _models(plan.models)
    _preparations(plan.preparations)
    for each in plan.decidable:
        out.print(
            Text.assemble((f"{each.about.capitalize()} against {each.against}: ", "bold"), f"{each.statement}."),
            soft_wrap=True,
        )
    for note in plan_notes(plan):
        out.print(Text(note, style="dim"), soft_wrap=True)
    for warning in plan.warnings:
        err.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)


def plan_rows(plan: Plan) -> list[dict[str, str]]:
    """What a plan takes, a row for each quantity: in words under ``quantity``, then by what it is for, as about (low–high)."""
    raced = plan.strategy == RACED
    columns: list[tuple[str, Work]] = [
        ("full grid", plan.grid),
        ("raced, expected" if raced else "if raced, expected", plan.race),
    ]
    if plan.confirmation is not None:
        columns.append(
            (f"{'' if raced else 'then '}confirming on {plan.test_questions} new questions", plan.confirmation)
        )
    cells = [(title, _work_cells(work, bought=_bought(plan))) for title, work in columns]
    return [
        {
            "quantity": f"{name}, {plan.region}" if name == "g CO2e" else name,
            **{title: column[row] for title, column in cells},
        }
        for row, name in enumerate(_ROWS)
    ]


def plan_sentences(plan: Plan) -> list[str]:
    """A plan in a sentence, then why there are fewer configurations than combinations, a line for each reason."""
    raced = f", level {plan.level}" if plan.strategy == RACED else ""
    found = [
        f"Plan of {plan.experiment}: {plan.configurations:,} configurations × {plan.questions:,} questions"
        + (f" × {plan.repeats} repeats where decoding draws" if plan.repeats > 1 else "")
        + f"; strategy {plan.strategy}{raced}; fewest {plan.minimise} within {plan.margin:g} at {plan.confidence:.0%}."
    ]
    gone = [
        *((count, f"merged: {why}") for why, count in plan.merged.items()),
        *((count, f"impossible: {why}") for why, count in plan.impossible.items()),
        *((count, f"cannot run here: {why}") for why, count in plan.refused.items()),
    ]
    if gone:
        found.append(f"Of {plan.combinations:,} combinations:")
    return [*found, *(f"  {count:,} {why}" for count, why in sorted(gone, reverse=True))]


def _bought(plan: Plan) -> bool:
    return any(each.known.startswith("seconds are not known") for each in plan.models)


def _work_cells(work: Work, *, bought: bool) -> list[str]:
    joules = None if work.joules is None else estimate_of(work.joules)
    return [
        range_cell(work.calls, whole),
        range_cell(work.tokens_in),
        range_cell(work.tokens_out),
        NOT_ESTIMATED if work.seconds is None else seconds_cell(work.seconds),
        NOT_ESTIMATED if joules is None else range_cell(joules),
        NOT_ESTIMATED if work.grams_co2e is None else range_cell(work.grams_co2e),
        (NOT_PRICED if bought else "nothing is bought") if work.dollars is None else range_cell(work.dollars),
    ]


def estimate_of(energy: Energy) -> Estimate:
    """The joules of an energy as an estimate."""
    return Estimate(energy.low, energy.central, energy.high)


def range_cell(found: Estimate, read: Callable[[float], str] = amount) -> str:
    """About so many, and from where to where; one number where the ends are the same."""
    low, central, high = map(read, found)
    return central if low == high else f"{central} ({low}–{high})"


def seconds_cell(found: Estimate) -> str:
    """Seconds in the unit that suits the central figure."""
    for unit, size in _SECONDS:
        if found.central >= 2 * size:
            return f"{range_cell(Estimate(*(value / size for value in found)))} {unit}"
    return f"{range_cell(found)} s"


def _models(models: Sequence[ModelPlan]) -> None:
    table = Table(title="One answer, by model", title_justify="left", header_style="bold")
    for column in ("model", "setups", "tokens in", "tokens out", "seconds", "joules", "dollars", "how it is known"):
        table.add_column(column, overflow="fold")
    for each in models:
        cells = [
            each.model,
            f"{each.configurations:,}",
            range_cell(each.tokens_in),
            range_cell(each.tokens_out),
            NOT_ESTIMATED if each.seconds is None else range_cell(each.seconds),
            NOT_ESTIMATED if each.joules is None else range_cell(each.joules),
            "–" if each.dollars is None else range_cell(each.dollars),
            each.known,
        ]
        table.add_row(*map(Text, cells))
    out.print(table)


def _preparations(found: Sequence[Preparation]) -> None:
    if not found:
        return
    out.print(Text("Once, before the first answers:", style="bold"))
    for each in found:
        took = NOT_ESTIMATED if each.seconds is None else seconds_cell(each.seconds)
        joules = NOT_ESTIMATED if each.joules is None else f"{range_cell(each.joules)} J"
        out.print(Text(f"  {each.work} {each.what}: {took}, {joules}"), soft_wrap=True)


def plan_notes(plan: Plan) -> Iterator[str]:
    """What must be known of a plan's figures, a sentence each."""
    yield (
        "Every answer is counted as it stands alone; what setups share is done once, so that a run takes less. What a race "
        "asks depends on how far apart the setups are: low is a space in which few are good, high one in which most are."
    )
    if not plan.calibrated:
        yield (
            "Nothing was timed: `workbench plan` without --no-calibrate times a few answers of every model that runs here, "
            "which tells seconds and joules."
        )
    yield from (f"{note}." for note in plan.notes)
