"""A comparison, or answers, as CSV, JSON, Markdown, one self-contained HTML file or a workbook."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.comparison import Comparison, Figures
from workbench.errors import InputError
from workbench.explanations import notes
from workbench.footprint import SHOWN_ANSWERS, Estimate
from workbench.impacts import dollars_of, footprint_of, has_prices
from workbench.ledger import standalone
from workbench.mappings import (
    energies_mapping,
    energy_mapping,
    footprint_mapping,
    rates_mapping,
    site_mapping,
    with_one_offs,
)
from workbench.recommendation import choose, sentences
from workbench.records import DEFAULT_AXES, Question, ScoredAnswer, as_json, ranked_documents
from workbench.registry import require
from workbench.stats import Interval
from workbench.texts import (
    INDEX_COLUMNS,
    NOT_MEASURED,
    axis_text,
    dollars_text,
    energy_text,
    failures_text,
    grams_text,
    index_texts,
    interval_text,
    known_text,
    losses_text,
    number,
)

_FORMULA = ("=", "+", "-", "@")


def export(comparison: Comparison, format: str) -> str | bytes:
    """The comparison in one of the formats: text (``csv``, ``json``, ``markdown``, ``html``), or the bytes of ``xlsx``."""
    writers: dict[str, Callable[[Comparison], str | bytes]] = {
        "csv": _csv,
        "json": _json,
        "markdown": _markdown,
        "html": _html,
        "xlsx": _xlsx,
    }
    if format not in writers:
        raise InputError(f"format is {format!r}; expected one of {', '.join(writers)}")
    return writers[format](comparison)


def write(content: str | bytes, path: Path) -> None:
    """Write a text, or bytes, to a file, replacing it only when complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another file") from error


def varying_axes(comparison: Comparison) -> list[str]:
    """The axes with more than one value among the configurations they matter for, in the order they are shown."""
    values: dict[str, set[str]] = {}
    for figures in comparison.figures:
        for axis, value in figures.configuration.axes.items():
            values.setdefault(axis, set()).add(as_json(value))
    return [axis for axis in DEFAULT_AXES if len(values.get(axis, ())) > 1]


def sorted_figures(comparison: Comparison) -> list[Figures]:
    """Figures by what the goal minimises, cheapest first; unmeasured ones last."""
    order = {id(figures): cost for figures, cost in zip(comparison.figures, _costs(comparison), strict=True)}
    return sorted(comparison.figures, key=lambda figures: (order[id(figures)] is None, order[id(figures)] or 0.0))


def _costs(comparison: Comparison) -> list[float | None]:
    values = comparison.matrix.costs[comparison.goal.minimise]
    return [None if np.isnan(row).all() else float(np.nanmean(row)) for row in values]


# ------------------------------------------------------------------------------------------------------------- rows


def header(comparison: Comparison) -> list[str]:
    """The columns of a comparison table, with units."""
    scores = [f"{metric}" for metric in comparison.matrix.scores]
    return [
        "configuration",
        *varying_axes(comparison),
        *scores,
        "tokens in",
        "tokens out",
        "p50 (s)",
        "p95 (s)",
        "joules per answer (low–high)",
        *(["net joules per answer (low–high)"] if _has_net(comparison) else []),
        *([f"joules per answer, one-off work over {over:,}"] if (over := comparison.over_answers) else []),
        "joules per correct answer",
        "g CO2e per 1,000 answers (low–high, region)",
        *(["dollars per 1,000 answers"] if has_prices(comparison) else []),
        *INDEX_COLUMNS,
        *(["sd between repeats"] if _repeated(comparison) else []),
        "failures",
        "wrong answers lost",
        "state",
    ]


def _has_net(comparison: Comparison) -> bool:
    return any(figures.net_joules is not None for figures in comparison.figures)


def _repeated(comparison: Comparison) -> bool:
    return any(figures.repeat_deviation is not None for figures in comparison.figures)


def rows(comparison: Comparison) -> list[list[str]]:
    """One row of text per configuration, cheapest first."""
    axes = varying_axes(comparison)
    return [
        [
            figures.configuration.id,
            *(axis_text(figures, axis) for axis in axes),
            *(interval_text(found) for found in figures.scores.values()),
            number(figures.tokens_in, 0),
            number(figures.tokens_out, 1),
            NOT_MEASURED
            if figures.seconds is None
            else f"{figures.seconds.p50:.2f}{'*' if figures.seconds.disturbed else ''}",
            NOT_MEASURED
            if figures.seconds is None
            else f"{figures.seconds.p95:.2f}{'*' if figures.seconds.disturbed else ''}",
            energy_text(figures.joules) + known_text(figures),
            *([energy_text(figures.net_joules)] if _has_net(comparison) else []),
            *([energy_text(with_one_offs(comparison, figures))] if comparison.over_answers else []),
            number(figures.joules_per_correct, 2) if figures.correct or figures.joules is None else "no correct answer",
            grams_text(comparison, figures),
            *([dollars_text(comparison, figures)] if has_prices(comparison) else []),
            *index_texts(figures),
            *(["–" if (sd := figures.repeat_deviation) is None else f"{sd:.3f}"] if _repeated(comparison) else []),
            failures_text(figures.failures),
            losses_text(figures.losses),
            figures.state + (", frontier" if figures.frontier else ""),
        ]
        for figures in sorted_figures(comparison)
    ]


# ---------------------------------------------------------------------------------------------------------- formats


def as_mapping(comparison: Comparison) -> dict[str, Any]:
    """The comparison in the documented JSON shape."""

    def numbers(found: Interval | None) -> dict[str, float] | None:
        return None if found is None else {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}

    return {
        "run": comparison.run,
        "state": comparison.state,
        "goal": comparison.goal.model_dump(mode="json"),
        "configurations": [
            {
                "id": figures.configuration.id,
                "label": figures.configuration.label,
                "state": figures.state,
                "reason": figures.reason,
                "axes": dict(figures.configuration.axes),
                "answers": figures.answers,
                "scores": {metric: numbers(found) for metric, found in figures.scores.items()},
                "tokens_in": figures.tokens_in,
                "tokens_out": figures.tokens_out,
                "seconds": None
                if figures.seconds is None
                else {"p50": figures.seconds.p50, "p95": figures.seconds.p95, "disturbed": figures.seconds.disturbed},
                **energies_mapping(comparison, figures),
                **footprint_mapping(comparison, figures),
                "failures": figures.failures,
                "losses": figures.losses,
                "repeat_deviation": figures.repeat_deviation,
                "index": None
                if figures.index is None
                else {
                    "chunks": figures.index.chunks,
                    "bytes": figures.index.bytes,
                    "recall_vs_flat@10": figures.index.recall,
                    "build_joules": energy_mapping(figures.index_joules),
                },
                "rebuilt": figures.rebuilt,
                "frontier": figures.frontier,
            }
            for figures in sorted_figures(comparison)
        ],
        "spent": {
            "answers": comparison.spent.answers,
            "tokens": comparison.spent.tokens,
            "answering_joules": energy_mapping(comparison.spent.answering),
            "answering_joules_known": energy_mapping(comparison.spent.answering_known),
            "answers_without_joules": comparison.spent.unknown,
            "one_off_joules": energy_mapping(comparison.spent.one_off_joules),
            "one_off_joules_per_answer": energy_mapping(comparison.spent.one_off_per_answer),
            "one_off_seconds": {work: reading.seconds for work, reading in comparison.spent.one_offs.items()},
        },
        "rates": {model: rates_mapping(found) for model, found in comparison.rates.items()},
        "site": None if comparison.site is None else site_mapping(comparison.site),
        "environment": comparison.environment,
    }


def _json(comparison: Comparison) -> str:
    return json.dumps(as_mapping(comparison), ensure_ascii=False, indent=2) + "\n"


def table(comparison: Comparison) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the comparison for programs: every figure in a column of its own, cheapest first."""
    axes = varying_axes(comparison)
    columns = ["configuration", "label", "state", *axes]
    for metric in comparison.matrix.scores:
        columns += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_n"]
    columns += ["tokens_in", "tokens_out", "p50_seconds", "p95_seconds", "joules_low", "joules_central", "joules_high"]
    columns += ["joules_source", "joules_answers", "net_joules", f"joules_per_{SHOWN_ANSWERS}", "joules_per_correct"]
    columns += ["joules_with_one_off_work", "over_answers"]
    columns += [f"grams_co2e_per_{SHOWN_ANSWERS}_{level}" for level in Estimate._fields] + ["region"]
    columns += [f"dollars_per_{SHOWN_ANSWERS}", "failures", "lost", "index_bytes", "index_build_joules"]
    columns += ["index_recall", "repeat_deviation", "frontier"]
    found = []
    for figures in sorted_figures(comparison):
        row: list[Any] = [figures.configuration.id, figures.configuration.label, figures.state]
        row += [axis_text(figures, axis) for axis in axes]
        for score in figures.scores.values():
            row += ["", "", "", ""] if score is None else [score.mean, score.low, score.high, score.n]
        row += [figures.tokens_in, figures.tokens_out]
        row += [None, None] if figures.seconds is None else [figures.seconds.p50, figures.seconds.p95]
        joules = figures.joules
        row += (
            [None, None, None, NOT_MEASURED]
            if joules is None
            else [joules.low, joules.central, joules.high, joules.source]
        )
        net, spread = figures.net_joules, with_one_offs(comparison, figures)
        row += [figures.known, net and net.central, joules and joules.central * SHOWN_ANSWERS]
        row += [figures.joules_per_correct, spread and spread.central, comparison.over_answers]
        found_here, dollars_here = footprint_of(comparison, figures), dollars_of(comparison, figures)
        row += [None] * 3 if found_here is None or found_here.grams_co2e is None else found_here.grams_co2e
        row += [comparison.site and comparison.site.region.name, dollars_here and dollars_here.central]
        row += [failures_text(figures.failures), losses_text(figures.losses)]
        index, built = figures.index, figures.index_joules
        row += [index and index.bytes, built and built.central, index and index.recall, figures.repeat_deviation]
        row.append(figures.frontier)
        found.append(row)
    return columns, found


def _csv(comparison: Comparison) -> str:
    return csv_text(*table(comparison))


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([cell_value(column) for column in columns])
    writer.writerows([cell_value(value) for value in row] for row in rows)
    return buffer.getvalue()


def cell_value(value: Any) -> Any:
    """A value as it may stand in a spreadsheet: a text that would be taken for a formula gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")  # a bare carriage return would end the row
    return f"'{text}" if text.startswith("\t") or text.lstrip().startswith(_FORMULA) else text


def _markdown(comparison: Comparison) -> str:
    columns = header(comparison)
    lines = [f"# Run {_cell(comparison.run)}", "", *sentences(choose(comparison)), ""]
    lines += ["| " + " | ".join(map(_cell, columns)) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows(comparison)]
    lines += ["", *notes(comparison)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    escaped = html.escape(text, quote=False)
    for mark in ("\\", "|", "`", "*", "_", "[", "]"):
        escaped = escaped.replace(mark, f"\\{mark}")
    return " ".join(escaped.split())


def _html(comparison: Comparison) -> str:
    page: str = require("workbench.html_report", "the HTML report").render(comparison)
    return page


def _xlsx(comparison: Comparison) -> bytes:
    content: bytes = require("workbench.spreadsheet", "the workbook").render(comparison)
    return content


# ---------------------------------------------------------------------------------------------------------- answers


def answers_mapping(pairs: Iterable[tuple[Question, ScoredAnswer]]) -> dict[str, Any]:
    """Answers in the documented JSON shape."""
    return {"answers": [answer_mapping(question, scored) for question, scored in pairs]}


def answer_mapping(question: Question, scored: ScoredAnswer) -> dict[str, Any]:
    """One answer with its question, passages, scores and ledger, as plain data."""
    answer: dict[str, Any] = json.loads(as_json(scored.answer))
    ledger = answer.pop("ledger")["stages"]
    return {
        **answer,
        "asked": question.question,
        "split": question.split,
        "accepted": list(question.answers),
        "evidence": None if question.evidence is None else list(question.evidence),
        "scores": {score.metric: score.value for score in scored.scores},
        "lost": scored.loss or None,
        "ledger": ledger,
    }


ANSWER_COLUMNS = (
    "configuration",
    "question",
    "split",
    "repeat",
    "asked",
    "accepted",
    "text",
    "failure",
    "lost",
    "retrieved",
    "seconds",
    "tokens_in",
    "tokens_out",
)


def answer_rows(pairs: Iterable[tuple[Question, ScoredAnswer]], metrics: Sequence[str]) -> Iterable[list[Any]]:
    """One flat row per answer: the columns of ``ANSWER_COLUMNS``, then the metrics."""
    for question, scored in pairs:
        answer = scored.answer
        reading = standalone(answer.ledger) if answer.ledger.stages else None
        scores = {score.metric: score.value for score in scored.scores}
        yield [
            answer.configuration,
            answer.question,
            question.split,
            answer.repeat,
            question.question,
            " | ".join(question.answers),
            answer.text,
            answer.failure.code if answer.failure else "",
            scored.loss,
            " ".join(ranked_documents(answer)[:5]),
            None if reading is None else round(reading.seconds, 4),
            None if reading is None else reading.tokens_in,
            None if reading is None else reading.tokens_out,
            *(scores.get(metric) for metric in metrics),
        ]
