"""Tables, progress and sentences for people at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from workbench import registry
from workbench.comparison import Comparison, Figures
from workbench.doctor import Finding
from workbench.experiment import Progress
from workbench.explanations import notes
from workbench.exports import sorted_figures
from workbench.footprint import SHOWN_ANSWERS
from workbench.impacts import RegionRanking, has_prices
from workbench.ledger import price, standalone
from workbench.losses import EXPLAINED
from workbench.mappings import with_one_offs
from workbench.recommendation import Recommendation, sentences
from workbench.records import Answer, Coefficients, StageCost, as_json
from workbench.region_report import REGION_COLUMNS, region_notes, region_rows
from workbench.reports import RunOverview
from workbench.setup import Reply
from workbench.texts import (
    INDEX_COLUMNS,
    NOT_MEASURED,
    dollars_text,
    energy_text,
    failures_text,
    grams_text,
    index_texts,
    known_text,
    number,
    significant,
)
from workbench.weights import Presence

_WIDE = 190  # columns for files and pipes, where nothing wraps

out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False)

_LINE_SECONDS = 10.0  # between progress lines where there is no terminal


class Live:
    """Progress on standard error: a bar with rate and remaining time, or a line every ten seconds without a terminal."""

    def __init__(self, bar: Bar | None) -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._printed = 0.0

    def __call__(self, progress: Progress) -> None:
        joules = "not measured" if progress.joules is None else f"{significant(progress.joules)} J estimated"
        failed = f" · {progress.failures} failed" if progress.failures else ""
        what = progress.doing or progress.configuration
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=progress.total, completed=progress.done, what="", spent="")
            self._bar.update(
                self._task, completed=progress.done, total=progress.total, what=what, spent=f"{joules}{failed}"
            )
        elif time.monotonic() - self._printed > _LINE_SECONDS or progress.done == progress.total:
            self._printed = time.monotonic()
            err.print(
                f"{progress.done}/{progress.total} answers · {joules}{failed} · {what}", markup=False, soft_wrap=True
            )


@contextmanager
def live() -> Iterator[Live]:
    """Show progress while the block runs."""
    if not err.is_terminal:
        yield Live(None)
        return
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("answers"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[spent]}", markup=False),
        TextColumn("{task.fields[what]}", markup=False, style="dim"),
    )
    with Bar(*columns, console=err) as bar:
        yield Live(bar)


def print_comparison(comparison: Comparison) -> None:
    """The table of configurations, cheapest first, and how its figures are known."""
    table = Table(
        title=f"Run {comparison.run} ({comparison.state})", title_justify="left", header_style="bold", show_lines=True
    )
    table.add_column("setup", min_width=12)  # an identifier and its mark stay whole
    columns = (
        *comparison.matrix.scores,
        "tokens\nin / out",
        "seconds\np50 / p95",
        "J per\nanswer",
        *([f"J, one-off\nover {over:,}"] if (over := comparison.over_answers) else []),
        "J per\ncorrect",
        f"g CO2e\nper {SHOWN_ANSWERS:,}" + ("" if comparison.site is None else f"\n{comparison.site.region.name}"),
        *([f"dollars\nper {SHOWN_ANSWERS:,}"] if has_prices(comparison) else []),
        "failures",
    )
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for figures in sorted_figures(comparison):
        table.add_row(*map(Text, _comparison_cells(comparison, figures)))
    out.print(table)
    _print_indexes(comparison)
    _print_losses(comparison)
    out.print(
        "◆ on the frontier: nothing else is both better and cheaper. Cheapest first; ranges in the second line of a cell.",
        style="dim",
        soft_wrap=True,
    )
    for note in notes(comparison):
        out.print(Text(note, style="dim"), soft_wrap=True)


def _print_indexes(comparison: Comparison) -> None:
    """The distinct indexes behind the configurations, where there is more than one to compare."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for figures in sorted_figures(comparison):
        if figures.index is not None:
            rows.setdefault((f"{figures.index.chunks:,}", *index_texts(figures)), []).append(figures.configuration.id)
    if len(rows) < 2:
        return
    table = Table(title="Indexes", title_justify="left", header_style="bold")
    for column in ("configurations", "chunks", *INDEX_COLUMNS):
        table.add_column(column, overflow="fold")
    for cells, configurations in rows.items():
        table.add_row(Text(", ".join(configurations)), *map(Text, cells))
    out.print(table)


def _print_losses(comparison: Comparison) -> None:
    """Configurations × the places where their wrong answers were lost, in the order of the pipeline."""
    places = [place for place in EXPLAINED if any(place in figures.losses for figures in comparison.figures)]
    if not places:
        return
    table = Table(title="Where wrong answers were lost", title_justify="left", header_style="bold")
    table.add_column("setup")
    for place in places:
        table.add_column(Text(place.replace("_", " ")), justify="right")
    for figures in sorted_figures(comparison):
        if not figures.answers:
            continue
        counts = (str(figures.losses.get(place, "")) for place in places)
        table.add_row(Text(f"{figures.configuration.label} [{figures.configuration.id}]"), *counts)
    out.print(table)


def _comparison_cells(comparison: Comparison, figures: Figures) -> list[str]:
    identity = f"{figures.configuration.label}\n{figures.configuration.id}{' ◆' if figures.frontier else ''}"
    bound = "\na bound: it is given the gold" if figures.configuration.is_bound else ""
    state = bound + (
        ""
        if figures.state == "finished"
        else f"\n{figures.state}: {figures.reason or f'{figures.answers} answers so far'}"
    )
    latency, joules, correct = figures.seconds, figures.joules, figures.joules_per_correct
    disturbed = "*" if latency is not None and latency.disturbed else ""
    return [
        identity + state,
        *(
            "–" if found is None else f"{found.mean:.3f}\n{found.low:.2f}–{found.high:.2f}"
            for found in figures.scores.values()
        ),
        f"{number(figures.tokens_in, 0)} / {number(figures.tokens_out, 0)}"
        if figures.tokens_in is not None
        else NOT_MEASURED,
        NOT_MEASURED if latency is None else f"{significant(latency.p50)} / {significant(latency.p95)}{disturbed}",
        NOT_MEASURED
        if joules is None
        else f"{significant(joules.central)}\n{significant(joules.low)}–{significant(joules.high)}"
        + (f"\nnet {significant(net.central)}" if (net := figures.net_joules) else "")
        + known_text(figures).replace(" of", "\nof", 1),
        *([energy_text(with_one_offs(comparison, figures)).partition(" (")[0]] if comparison.over_answers else []),
        (NOT_MEASURED if joules is None else "none correct") if correct is None else significant(correct),
        grams_text(comparison, figures).partition(",")[0].replace(" (", "\n", 1),
        *([dollars_text(comparison, figures).replace(" (", "\n(", 1)] if has_prices(comparison) else []),
        failures_text(figures.failures).replace(", ", "\n"),
    ]


def print_regions(ranking: RegionRanking) -> None:
    """Regions, least CO2e first, and how the figures are known."""
    print_rows(REGION_COLUMNS, region_rows(ranking))
    for note in region_notes(ranking):
        out.print(Text(note, style="dim"), soft_wrap=True)


def print_recommendation(recommendation: Recommendation) -> None:
    """The verdict, and why each other configuration was not chosen."""
    for line in sentences(recommendation):
        out.print(Text(line, style="bold" if line == sentences(recommendation)[0] else ""), soft_wrap=True)
    if recommendation.rejections:
        out.print("Why not the others:", style="dim")
    for rejection in recommendation.rejections:
        mark = "?" if rejection.open else "–"
        out.print(
            Text(f"  {mark} {rejection.configuration.label} [{rejection.configuration.id}]: {rejection.reason}"),
            soft_wrap=True,
        )


def print_sentences(lines: Iterable[str]) -> None:
    """Sentences, each on its own line."""
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def print_runs(overviews: Sequence[RunOverview]) -> None:
    """The runs of a store."""
    table = Table(header_style="bold")
    for column in ("run", "state", "configurations", "questions", "answers", "created", "note"):
        table.add_column(column)
    for each in overviews:
        created = datetime.fromtimestamp(each.record.created).strftime("%Y-%m-%d %H:%M")
        cells = (
            each.record.name,
            each.record.state,
            each.configurations,
            each.questions,
            each.answers,
            created,
            each.record.note,
        )
        table.add_row(*(Text(str(cell)) for cell in cells))
    out.print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    """What a check found."""
    marks = {
        "ok": Text("ok", style="green"),
        "missing": Text("missing", style="yellow"),
        "bad": Text("bad", style="red"),
    }
    for finding in findings:
        line = Text.assemble(marks[finding.state], "  ", (finding.what, "bold"), ": ", finding.detail)
        if finding.advice:
            line.append(f"; {finding.advice}", style="dim")
        out.print(line, soft_wrap=True)


def print_models(found: Sequence[Presence]) -> None:
    """The embedded models."""
    table = Table(header_style="bold")
    for column in ("model", "kind", "state", "size (MB)", "licence", "checksum (sha256)", "what to run"):
        table.add_column(column, overflow="fold")
    for each in found:
        weights = each.weights
        size = each.bytes or weights.bytes
        table.add_row(
            Text(f"embedded:{weights.name}"),
            Text(weights.kind),
            Text(each.state + (" (opt-in)" if weights.opt_in else "")),
            Text(f"{size / 1e6:.0f}" if size else "–"),
            Text(weights.licence),
            Text(weights.sha256[:16] + "…"),
            Text("" if each.state == "present" else weights.install),
        )
    out.print(table)


def print_plugins(found: Sequence[registry.Plugin]) -> None:
    """Plugins with their parameters."""
    table = Table(header_style="bold")
    for column in ("kind", "name", "parameters", "what it does"):
        table.add_column(column, overflow="fold")
    for each in found:
        parameters = ", ".join(
            f"{p.name}: {p.type}" + (f" = {p.default}" if p.default is not None else "") for p in each.parameters
        )
        table.add_row(Text(each.kind), Text(each.name), Text(parameters), Text(each.description))
    out.print(table)


def print_reply(reply: Reply) -> None:
    """An answer with its sources and its ledger."""
    answer = reply.answer
    if answer.failure is not None:
        out.print(Text(f"no answer: {answer.failure.code}: {answer.failure.message}", style="red"), soft_wrap=True)
    else:
        out.print(
            Text(answer.text or "(no passage was found, so there is nothing to answer from)", style="bold"),
            soft_wrap=True,
        )
    for number_, passage in enumerate(answer.passages, 1):
        cited = " (cited)" if number_ in answer.citations else ""
        text = " ".join(passage.chunk.text.split())
        where = f"{passage.chunk.document_id}, characters {passage.chunk.start}–{passage.chunk.end}"
        out.print(
            Text.assemble((f"[{number_}] {where}{cited}: ", "dim"), text[:160] + ("…" if len(text) > 160 else "")),
            soft_wrap=True,
        )
    out.print(ledger_table(answer, reply.coefficients))
    for note in reply.notes:
        err.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def ledger_table(answer: Answer, coefficients: Coefficients) -> Table:
    """The stages of an answer with what each took."""
    table = Table(header_style="bold")
    for column in ("stage", "seconds", "CPU-seconds", "tokens in", "cached", "tokens out", "joules (low–high)"):
        table.add_column(column)
    for cost in answer.ledger.stages:
        table.add_row(*_ledger_cells(cost, coefficients))
    if answer.ledger.stages:
        whole = StageCost(stage="in all", reading=standalone(answer.ledger))
        table.add_row(*_ledger_cells(whole, coefficients), style="bold")
    return table


def _ledger_cells(cost: StageCost, coefficients: Coefficients) -> list[str]:
    reading = cost.standalone or cost.reading
    counts = [reading.tokens_in, reading.tokens_cached, reading.tokens_out]
    return [
        cost.stage + (" (rebuilt)" if cost.standalone else ""),
        f"{reading.seconds:.4f}",
        number(reading.cpu_seconds, 4),
        *("–" if count is None else str(count) for count in counts),
        energy_text(price(reading, coefficients)),
    ]


def plain(data: object) -> None:
    """JSON, and nothing but JSON, on standard output."""
    print(as_json(data))


def print_rows(columns: Sequence[str], table_rows: Iterable[Sequence[object]]) -> None:
    """Rows of values as a table; long texts are cut."""
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in table_rows:
        table.add_row(*(Text(_short(value)) for value in row))
    out.print(table)


def _short(value: object) -> str:
    if value is None:
        return "–"
    text = f"{value:.3g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
