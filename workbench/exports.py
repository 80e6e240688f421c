"""A comparison, or answers, as CSV, JSON, Markdown or one self-contained HTML file."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.coefficients import restore
from workbench.comparison import Comparison, Figures, winners
from workbench.errors import InputError
from workbench.footprint import SHOWN_ANSWERS, Estimate, payback, plus, ratio
from workbench.grids import Site
from workbench.impacts import dollars_of, footprint_of, footprint_of_correct, has_prices
from workbench.ledger import standalone
from workbench.losses import EXPLAINED, Loss, sentence
from workbench.prices import INSTALL
from workbench.recommendation import choose, sentences
from workbench.records import DEFAULT_AXES, Energy, Question, ScoredAnswer, as_json, plugin_label, ranked_documents
from workbench.registry import require
from workbench.stats import Interval

FORMATS = ("table", "csv", "json", "markdown", "html")
NOT_MEASURED = "not measured"
NOT_ESTIMATED = "not estimated"
NOT_PRICED = "not priced"

INDEX_COLUMNS = ("index (MB)", "building the index (J, low–high)", "index recall@10 against exact search")
_FORMULA = ("=", "+", "-", "@")


def export(comparison: Comparison, format: str) -> str:
    """The comparison in one of the formats (``csv``, ``json``, ``markdown``, ``html``)."""
    writers = {"csv": _csv, "json": _json, "markdown": _markdown, "html": _html}
    if format not in writers:
        raise InputError(f"format is {format!r}; expected one of {', '.join(writers)}")
    return writers[format](comparison)


def write(text: str, path: Path) -> None:
    """Write a text to a file, replacing it only when complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another file with --out") from error


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
        "joules per correct answer",
        "g CO2e per 1,000 answers (low–high, region)",
        *(["dollars per 1,000 answers"] if has_prices(comparison) else []),
        *INDEX_COLUMNS,
        *(["sd between repeats"] if _repeated(comparison) else []),
        "failures",
        "wrong answers lost",
        "state",
    ]


def index_texts(figures: Figures) -> list[str]:
    """What is known of a configuration's index, as texts: size, what building it takes, and what it misses."""
    index = figures.index
    if index is None:
        return ["–", "–", "–"]
    return [
        NOT_MEASURED if index.bytes is None else f"{index.bytes / 1e6:.2f}",
        energy_text(figures.index_joules),
        "exact" if index.recall is None else f"{index.recall:.3f}",
    ]


def losses_text(losses: Mapping[str, int]) -> str:
    """Where wrong answers were lost, the commonest place first."""
    return ", ".join(f"{count} {place.replace('_', ' ')}" for place, count in _commonest(losses)) or "0"


def _commonest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


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
            energy_text(figures.joules),
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


def axis_text(figures: Figures, axis: str) -> str:
    """An axis's value, or a dash where it does not matter for this configuration."""
    return plugin_label(figures.configuration.axes[axis]) if axis in figures.configuration.axes else "–"


def interval_text(found: Interval | None) -> str:
    """A mean with its interval."""
    return "does not apply" if found is None else f"{found.mean:.3f} ({found.low:.3f}–{found.high:.3f})"


def energy_text(energy: Energy | None) -> str:
    """Joules with range and source."""
    if energy is None:
        return NOT_MEASURED
    return f"{significant(energy.central)} ({significant(energy.low)}–{significant(energy.high)}, {energy.source})"


def grams_text(comparison: Comparison, figures: Figures) -> str:
    """Grams of CO2e per 1,000 answers with range and region."""
    if figures.joules is None:
        return NOT_MEASURED
    found = footprint_of(comparison, figures)
    if found is None or found.grams_co2e is None:
        return NOT_ESTIMATED
    return f"{significant(found.grams_co2e.central)} ({range_text(found.grams_co2e)}, {found.region})"


def dollars_text(comparison: Comparison, figures: Figures) -> str:
    """Dollars per 1,000 answers."""
    found = dollars_of(comparison, figures)
    return (
        NOT_PRICED
        if found is None
        else f"{significant(found.central)}" + ("" if found.low == found.high else f" ({range_text(found)})")
    )


def range_text(estimate: Estimate) -> str:
    """A range, low to high."""
    return f"{significant(estimate.low)}–{significant(estimate.high)}"


def failures_text(failures: dict[str, int]) -> str:
    """Failures by code."""
    return ", ".join(f"{count} {code}" for code, count in sorted(failures.items())) or "0"


def number(value: float | None, digits: int) -> str:
    """A number, or that it was not measured."""
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    for bound, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= bound:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"


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
                "joules": energy_mapping(figures.joules),
                "joules_per_correct": figures.joules_per_correct,
                **_footprint(comparison, figures),
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
            "one_off_joules": energy_mapping(comparison.spent.one_off_joules),
            "one_off_joules_per_answer": energy_mapping(comparison.spent.one_off_per_answer),
            "one_off_seconds": {work: reading.seconds for work, reading in comparison.spent.one_offs.items()},
        },
        "site": None if comparison.site is None else site_mapping(comparison.site),
        "environment": comparison.environment,
    }


def _footprint(comparison: Comparison, figures: Figures) -> dict[str, Any]:
    found, correct = footprint_of(comparison, figures), footprint_of_correct(comparison, figures)
    return {
        f"grams_co2e_per_{SHOWN_ANSWERS}": None
        if found is None or found.grams_co2e is None
        else {**found.grams_co2e._asdict(), "region": found.region},
        f"grams_co2e_per_{SHOWN_ANSWERS}_correct": None if correct is None else estimate_mapping(correct.grams_co2e),
        f"embodied_grams_co2e_per_{SHOWN_ANSWERS}": None if found is None else estimate_mapping(found.embodied_grams),
        f"litres_per_{SHOWN_ANSWERS}": None if found is None else estimate_mapping(found.litres),
        f"dollars_per_{SHOWN_ANSWERS}": estimate_mapping(dollars_of(comparison, figures)),
    }


def estimate_mapping(found: Estimate | None) -> dict[str, float] | None:
    """A quantity with its range, as plain data."""
    return None if found is None else found._asdict()


def site_mapping(site: Site) -> dict[str, Any]:
    """A site as plain data: where it is, what its electricity and its building add, and who says so."""
    grid, facility = site.grid, site.facility
    return {
        "region": site.region.name,
        "place": site.region.place,
        "country": site.region.country,
        "grams_per_kwh": None if grid is None else Estimate(*grid.grams_per_kwh)._asdict(),
        "year": None if grid is None else grid.year,
        "source": site.lacking if grid is None else grid.source,
        "litres_per_kwh": None
        if grid is None or grid.litres_per_kwh is None
        else Estimate(*grid.litres_per_kwh)._asdict(),
        "litres_source": None if grid is None else grid.litres_source,
        "facility": facility.name,
        "pue": Estimate(*facility.pue)._asdict(),
        "facility_litres_per_kwh": Estimate(*facility.litres_per_kwh)._asdict(),
        "facility_source": facility.source,
        "dollars_per_kwh": site.dollars_per_kwh,
    }


def energy_mapping(energy: Energy | None) -> dict[str, Any] | None:
    """Joules with range and source, as plain data."""
    if energy is None:
        return None
    return {
        "low": energy.low,
        "central": energy.central,
        "high": energy.high,
        "source": energy.source,
        "shared": energy.shared,
    }


def _json(comparison: Comparison) -> str:
    return json.dumps(as_mapping(comparison), ensure_ascii=False, indent=2) + "\n"


def _csv(comparison: Comparison) -> str:
    axes = varying_axes(comparison)
    columns = ["configuration", "label", "state", *axes]
    for metric in comparison.matrix.scores:
        columns += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_n"]
    columns += ["tokens_in", "tokens_out", "p50_seconds", "p95_seconds", "joules_low", "joules_central", "joules_high"]
    columns += ["joules_source", "joules_per_correct"]
    columns += [f"grams_co2e_per_{SHOWN_ANSWERS}_{level}" for level in Estimate._fields] + ["region"]
    columns += [f"dollars_per_{SHOWN_ANSWERS}", "failures", "lost", "index_bytes", "index_build_joules"]
    columns += ["index_recall", "repeat_deviation", "frontier"]
    table = []
    for figures in sorted_figures(comparison):
        row: list[Any] = [figures.configuration.id, figures.configuration.label, figures.state]
        row += [axis_text(figures, axis) for axis in axes]
        for found in figures.scores.values():
            row += ["", "", "", ""] if found is None else [found.mean, found.low, found.high, found.n]
        row += [figures.tokens_in, figures.tokens_out]
        row += [None, None] if figures.seconds is None else [figures.seconds.p50, figures.seconds.p95]
        joules = figures.joules
        row += (
            [None, None, None, NOT_MEASURED]
            if joules is None
            else [joules.low, joules.central, joules.high, joules.source]
        )
        row.append(figures.joules_per_correct)
        found_here, dollars_here = footprint_of(comparison, figures), dollars_of(comparison, figures)
        row += [None] * 3 if found_here is None or found_here.grams_co2e is None else found_here.grams_co2e
        row += [comparison.site and comparison.site.region.name, dollars_here and dollars_here.central]
        row += [failures_text(figures.failures), losses_text(figures.losses)]
        index, built = figures.index, figures.index_joules
        row += [index and index.bytes, built and built.central, index and index.recall, figures.repeat_deviation]
        row.append(figures.frontier)
        table.append(row)
    return csv_text(columns, table)


def csv_text(columns: Sequence[str], table: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_neutral(column) for column in columns])
    writer.writerows([_neutral(value) for value in row] for row in table)
    return buffer.getvalue()


def _neutral(value: Any) -> Any:
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


def _hosted(comparison: Comparison) -> list[str]:
    """How the energy of models that run elsewhere is known, or why it is not."""
    known = restore(comparison.environment["coefficients"])
    found = []
    for name, model in known.hosted.items():
        prompt, output = (
            f"{central:.3g} ({low:.3g}–{high:.3g}) J"
            for low, central, high in (model.joules_per_prompt_token, model.joules_per_output_token)
        )
        beside = model.ecologits_joules_per_output_token
        alone = f"EcoLogits alone: {beside[0]:.3g}–{beside[1]:.3g} J per output token. " if beside else ""
        found.append(
            f"Joules of {name} are modelled, not measured: {prompt} per token of the prompt, {output} per token of the output, "
            f"for {model.active_billion:.3g} of {model.total_billion:.3g} billion parameters at work. {alone}"
            f"{'. '.join((f'Source: {model.source}', f'Includes {model.includes}', *model.notes))}."
        )
    return found + [f"Energy of {name} is {why}." for name, why in known.not_estimated.items()]


def notes(comparison: Comparison) -> list[str]:
    """How the figures are known, in sentences that go under every table."""
    coefficients = comparison.environment["coefficients"]
    low, central, high = coefficients["watts_per_busy_vcpu"]
    goal = comparison.goal
    found = [
        f"Scores: mean over {len(comparison.matrix.questions)} questions with {goal.confidence:.0%} bootstrap intervals; "
        f"an answer counts as correct from {goal.metric} 0.5 on.",
        f"Joules: estimated from this process's CPU time × {central} W per busy vCPU ({low}–{high} W; {coefficients['processor']}; "
        f"source: {coefficients['source']}). Includes {coefficients['includes']}. "
        "The range is common to all rows: comparisons are tighter than it.",
    ]
    found += _hosted(comparison) + _located(comparison)
    if any(figures.seconds is not None and figures.seconds.disturbed for figures in comparison.figures):
        found.append("*: other processes kept more than 10 % of the machine busy meanwhile; latency is disturbed.")
    if any(figures.rebuilt for figures in comparison.figures):
        count = sum(figures.rebuilt for figures in comparison.figures)
        found.append(
            f"{count} answers found more or less of their prompt cached than their own static prefix; their prefill is rebuilt as if alone."
        )
    found += _disagreement(comparison) + _lost(comparison)
    judges = comparison.environment.get("judges", {}).get("prompts", {})
    found += [
        f"{name}, whose tokens and energy are overhead, was asked: {' '.join(text.split())}"
        for name, text in judges.items()
    ]
    spent = comparison.spent
    if spent.one_off_joules is not None and spent.one_off_per_answer is not None:
        works = ", ".join(f"{work} {number(reading.cpu_seconds, 1)}" for work, reading in spent.one_offs.items())
        found.append(
            f"One-off work (CPU-seconds: {works}): {energy_text(spent.one_off_joules)} J in all, "
            f"{significant(spent.one_off_per_answer.central)} J per answer over the {spent.answers} answers of this run; "
            "not part of the joules per answer above."
        )
    return found + _payback(comparison)


def _located(comparison: Comparison) -> list[str]:
    """Where the energy is assumed to be used, and what CO2e, water and money are made from."""
    site = comparison.site
    if site is None:
        return []
    if site.grid is None:
        return [f"CO2e: not estimated for {site.region.name}: {site.lacking}."]
    grid, facility = site.grid, site.facility
    low, central, high = map(significant, grid.grams_per_kwh)
    pue_low, pue, pue_high = (f"{value:.2f}" for value in facility.pue)
    where = site.region.place if site.region.place == site.region.name else f"{site.region.name} ({site.region.place})"
    found = [
        f"CO2e: joules × PUE {pue} ({pue_low}–{pue_high}; {facility.place}) × {central} g/kWh ({low}–{high}), the average of "
        f"{where}, {'year not stated' if grid.year is None else grid.year} ({grid.source}). Making the electricity only, by "
        "location and not by contract; making the hardware is not in it. The ranges of PUE and grid are common to all rows."
    ]
    models = {model for figures in comparison.figures for model in figures.elsewhere}
    for model in sorted(models):
        known = comparison.prices.get(model)
        found.append(
            f"{model}: not priced; name it in prices.csv, or: {INSTALL}."
            if known is None
            else f"{model}: {known.dollars_per_million_in:g} dollars per million tokens in, "
            f"{known.dollars_per_million_cached:g} cached, {known.dollars_per_million_out:g} out ({known.source})."
        )
    return found


def _payback(comparison: Comparison) -> list[str]:
    """After how many answers the chosen configuration has saved what the run took, against the one of the best score."""
    best = winners(comparison).get(comparison.goal.metric)
    choice = choose(comparison).chosen
    spent, one_off = comparison.spent.answering, comparison.spent.one_off_joules
    if best is None or best.joules is None or choice is None or choice.id == best.configuration.id or spent is None:
        return []
    chosen = comparison.of(choice.id)
    if chosen.joules is None:
        return []
    whole = spent if one_off is None else plus(spent, one_off)
    found = payback(whole, best.joules, chosen.joules)
    times = ratio(chosen.joules, best.joules)
    said = f"{chosen.configuration.label} takes {significant(times.central)} times the joules"
    said += "" if significant(times.low) == significant(times.high) else f" ({range_text(times)})"
    said += f" of {best.configuration.label}, the best score. This run took {energy_text(whole)} J"
    if found is None:
        return [f"{said}, which are never paid back: nothing is saved."]
    count = f"{found.central:,.0f}"
    if not np.isfinite(found.high):
        count += f" (from {found.low:,.0f} on)"
    elif round(found.low) != round(found.high):
        count += f" ({found.low:,.0f}–{found.high:,.0f})"
    return [f"{said}, saved again after {count} answers."]


def _disagreement(comparison: Comparison) -> list[str]:
    """One sentence where metrics of answers do not agree on the best configuration."""
    best = winners(comparison)
    if len({figures.configuration.id for figures in best.values()}) < 2:
        return []
    said = "; ".join(
        f"{metric}: {figures.configuration.label} [{figures.configuration.id}]" for metric, figures in best.items()
    )
    return [f"Metrics disagree on the best setup. {said}. The choice follows {comparison.goal.metric}."]


def _lost(comparison: Comparison) -> list[str]:
    """Where the best-scoring configuration loses its wrong answers, and what could recover most of them."""
    best = winners(comparison).get(comparison.goal.metric)
    if best is None or not best.losses:
        return []
    counts: dict[Loss, int] = {place: best.losses[place] for place in EXPLAINED if place in best.losses}
    return [f"Where answers are lost by {best.configuration.label}: {sentence(counts, best.answers)}"]


def _html(comparison: Comparison) -> str:
    page: str = require("workbench.html_report", "the HTML report").render(comparison)
    return page


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
        "accepted": list(question.answers),
        "evidence": None if question.evidence is None else list(question.evidence),
        "scores": {score.metric: score.value for score in scored.scores},
        "lost": scored.loss or None,
        "ledger": ledger,
    }


ANSWER_COLUMNS = (
    "configuration",
    "question",
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
