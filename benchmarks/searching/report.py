"""What many replays come to: means with their numbers, false claims with binomial bounds, the goals, the frontier."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import altair
import numpy as np
import vl_convert
from scipy.stats import beta

from benchmarks.searching.landscapes import WORST_CASES
from benchmarks.searching.trials import (
    ALL_PAIRS,
    BERNSTEIN,
    DEAREST,
    EVERY,
    EXACT,
    HINDSIGHT,
    REFERENCE,
    RIVALS,
    SCREEN,
    Judged,
)

_BOUND = 0.95  # one-sided confidence of binomial bounds
_MANY = 300  # questions from which on the goals for many of them hold
_VARIANTS = (BERNSTEIN, ALL_PAIRS, HINDSIGHT)
MARKS = {
    SCREEN: ("#d55e00", "diamond"),
    EVERY: ("#0072b2", "diamond"),
    EXACT: ("#56b4e9", "diamond"),
    REFERENCE: ("#009e73", "diamond"),
    "random (ours)": ("#999999", "diamond"),
    "tpe (ours)": ("#e69f00", "diamond"),
    "halving (ours)": ("#cc79a7", "diamond"),
    "full grid, sorted": ("#000000", "circle"),
    "full grid, bootstrap": ("#000000", "square"),
    "random 25 %": ("#999999", "circle"),
    "random 50 %": ("#999999", "square"),
    "Optuna TPE 25 %": ("#e69f00", "circle"),
    "Optuna TPE 50 %": ("#e69f00", "square"),
    "Optuna WilcoxonPruner": ("#56b4e9", "circle"),
    "halving on means": ("#cc79a7", "circle"),
    "confidence boxes": ("#0072b2", "circle"),
}
"""What is drawn: colours of Okabe and Ito, told apart by colour-blind people; diamonds are ours, kin share a colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method on one source at one margin: shares of the full grid, shares of replays, and false claims.

    ``false`` counts certificates on these questions that are wrong, ``false_new`` confirmations on new questions that are;
    each with the upper 95 % bound of its rate. ``None``: no such claim was made, or the truth is not known.
    """

    source: str
    questions: int
    margin: float
    method: str
    replays: int
    evaluations: float
    joules: float
    sound: float
    exact: float
    outside: float
    certified: float | None
    false: int | None
    false_at_most: float | None
    confirmed: float | None
    false_new: int | None
    false_new_at_most: float | None
    new_outside: float | None


def rows(judged: Iterable[Judged]) -> list[Row]:
    """Replays added up, in the order in which they first came."""
    groups: dict[tuple[str, int, float, str], list[Judged]] = {}
    for each in judged:
        groups.setdefault((each.source, each.questions, each.margin, each.method), []).append(each)
    return [_row(*key, found) for key, found in sorted(groups.items(), key=lambda group: group[0][:3])]


def _row(source: str, questions: int, margin: float, method: str, found: Sequence[Judged]) -> Row:
    false = [each.false for each in found if each.false is not None]
    false_new = [each.false_new for each in found if each.false_new is not None]
    return Row(
        source=source,
        questions=questions,
        margin=margin,
        method=method,
        replays=len(found),
        evaluations=float(np.mean([each.evaluations for each in found])),
        joules=float(np.mean([each.joules for each in found])),
        sound=float(np.mean([each.sound for each in found])),
        exact=float(np.mean([each.exact for each in found])),
        outside=float(np.mean([each.outside for each in found])),
        certified=_share([each.certified for each in found]),
        false=sum(false) if false else None,
        false_at_most=at_most(sum(false), len(false)) if false else None,
        confirmed=_share([each.confirmed for each in found]),
        false_new=sum(false_new) if false_new else None,
        false_new_at_most=at_most(sum(false_new), len(false_new)) if false_new else None,
        new_outside=_share([each.new_outside for each in found]),
    )


def _share(flags: Sequence[bool | None]) -> float | None:
    known = [flag for flag in flags if flag is not None]
    return float(np.mean(known)) if known else None


def at_most(successes: int, trials: int) -> float:
    """The upper bound of a rate (Clopper–Pearson, one-sided, 95 %)."""
    return 1.0 if successes >= trials else float(beta.ppf(_BOUND, successes + 1, trials - successes))


# ----------------------------------------------------------------------------------------------------------- goals


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A goal held against what was measured."""

    where: str
    goal: str
    measured: str
    met: bool


def checks(table: Sequence[Row], alpha: float) -> list[Check]:
    """The goals of the search, each on every source, size and margin it speaks of."""
    found = []
    by = {(row.source, row.questions, row.margin, row.method): row for row in table}
    for row in table:
        key = row.source, row.questions, row.margin
        place = f"{row.source} {row.questions}, δ={row.margin:g}"
        beside = {method: by.get((*key, method)) for method in _VARIANTS}
        if row.false is not None and row.method in (EVERY, EXACT, REFERENCE, DEAREST):
            found.append(_errors(place, f"{row.method}: false certificates", row.false, row.replays, alpha))
        if row.false_new is not None:
            found.append(_errors(place, "false confirmations", row.false_new, row.replays, alpha))
        if row.source in WORST_CASES:
            continue
        if row.method == EXACT:
            found.append(_share_check(place, "every, ζ=1: exact ≥ 95%", row.exact, 0.95))
            for method, most in ((HINDSIGHT, 1.45), (BERNSTEIN, 0.9), (ALL_PAIRS, 0.9)):
                if (other := beside[method]) is not None:
                    ratio = row.evaluations / other.evaluations
                    found.append(
                        Check(
                            where=place,
                            goal=f"every, ζ=1: ≤ {most:g} × {method.removeprefix('ζ=1, ')}",
                            measured=f"{ratio:.2f}",
                            met=ratio <= most,
                        )
                    )
        if row.margin >= 0.05 and row.method == SCREEN:
            easy = row.source == "easy"
            least = 0.95 if easy else 0.9
            found.append(_share_check(place, f"default: sound ≥ {least:.0%}", row.sound, least))
            found.append(_share_check(place, "default: outside δ ≤ 5%", -row.outside, -0.05))
            most, joules = (0.20, 0.20) if easy else (0.20, 0.30) if row.questions >= _MANY else (0.35, 0.45)
            found.append(_work(place, "default", row, most, joules))
            found.append(_frontier_check(place, row, [by.get((*key, rival)) for rival in RIVALS]))
        if row.margin >= 0.05 and row.method == REFERENCE:
            most, joules = (0.26, 0.20) if row.questions >= _MANY else (0.30, 0.25)
            found.append(_work(place, "reference", row, most, joules))
    return found


def _errors(place: str, what: str, wrong: int, replays: int, alpha: float) -> Check:
    """Met unless the number of errors would be a surprise at a rate of α (5 % on the side of too many)."""
    lowest = 0.0 if wrong == 0 else float(beta.ppf(1 - _BOUND, wrong, replays - wrong + 1))
    return Check(
        where=place,
        goal=f"{what} ≤ {alpha:.0%}",
        measured=f"{wrong} of {replays} (at most {at_most(wrong, replays):.1%})",
        met=lowest <= alpha,
    )


def _share_check(place: str, goal: str, value: float, least: float) -> Check:
    return Check(where=place, goal=goal, measured=f"{abs(value):.0%}", met=value >= least - 1e-9)


def _frontier_check(place: str, ours: Row, rivals: Sequence[Row | None]) -> Check:
    better = [
        rival.method
        for rival in rivals
        if rival is not None and rival.evaluations < ours.evaluations and rival.sound > ours.sound
    ]
    goal = "default: no rival is sound more often with fewer evaluations"
    return Check(where=place, goal=goal, measured=", ".join(better) or "none", met=not better)


def _work(place: str, what: str, row: Row, evaluations: float, joules: float) -> Check:
    return Check(
        where=place,
        goal=f"{what}: ≤ {evaluations:.0%} evaluations, ≤ {joules:.0%} joules",
        measured=f"{row.evaluations:.0%}, {row.joules:.0%}",
        met=row.evaluations <= evaluations and row.joules <= joules,
    )


# ---------------------------------------------------------------------------------------------------------- output


def as_table(table: Sequence[Row]) -> str:
    """Rows as text, one block for each source, size and margin."""
    lines: list[str] = []
    place = None
    for row in table:
        if place != (row.source, row.questions, row.margin):
            place = row.source, row.questions, row.margin
            title = f"{row.source}, {row.questions} questions, δ = {row.margin:g} ({row.replays} replays)"
            lines += ["", f"{title:<62}{'evals':>6}{'joules':>8}{'sound':>7}{'exact':>7}{'outside':>9}  claims"]
        lines.append(
            f"  {row.method:<60}{row.evaluations:>6.0%}{row.joules:>8.0%}{row.sound:>7.0%}{row.exact:>7.0%}"
            f"{row.outside:>9.0%}  {_claims(row)}"
        )
    return "\n".join(lines)


def _claims(row: Row) -> str:
    parts = []
    if row.certified is not None:
        parts.append(f"certified {row.certified:.0%}, {row.false} false (≤ {row.false_at_most:.0%})")
    if row.confirmed is not None:
        parts.append(f"confirmed on new questions {row.confirmed:.0%}")
    if row.false_new is not None:
        parts.append(f"{row.false_new} false (≤ {row.false_new_at_most:.0%})")
    if row.new_outside is not None:
        parts.append(f"outside on new questions {row.new_outside:.0%}")
    return "; ".join(parts)


def as_markdown(table: Sequence[Row], margin: float) -> str:
    """The methods most people know, side by side at one margin: share of the grid's evaluations / its joules, share sound."""
    methods = [SCREEN, EVERY, REFERENCE, "full grid, sorted", "halving on means", "Optuna TPE 50 %", "confidence boxes"]
    by = {(row.source, row.questions, row.method): row for row in table if row.margin == margin}
    sources = dict.fromkeys((source, questions) for source, questions, _ in by if source not in WORST_CASES)
    lines = [f"| δ = {margin:g} | {' | '.join(methods)} |", "| --- |" + " --- |" * len(methods)]
    for source, questions in sources:
        found = (by.get((source, questions, method)) for method in methods)
        cells = ("" if row is None else f"{row.evaluations:.0%} / {row.joules:.0%}, {row.sound:.0%}" for row in found)
        lines.append(f"| {source}, {questions} questions | {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(table: Sequence[Row], goals: Sequence[Check]) -> str:
    """Rows and goals as one JSON object."""
    found = {"rows": [asdict(row) for row in table], "goals": [asdict(check) for check in goals]}
    return json.dumps(found, ensure_ascii=False, indent=1)


def draw_frontier(table: Sequence[Row], path: Path) -> None:
    """Evaluations against the share of sound picks, one panel per source, as SVG; margins of .05 and more together."""
    points: dict[tuple[str, str], list[Row]] = {}
    for row in table:
        if row.margin >= 0.05 and row.source not in WORST_CASES and row.method in MARKS:
            points.setdefault((f"{row.source}, {row.questions} questions", row.method), []).append(row)
    values = [
        {
            "source": source,
            "method": method,
            "evaluations": float(np.mean([row.evaluations for row in found])),
            "sound": float(np.mean([row.sound for row in found])),
        }
        for (source, method), found in points.items()
    ]
    chart = (
        altair.Chart(altair.Data(values=values), width=230, height=190)
        .mark_point(filled=True, size=90, opacity=0.9)
        .encode(
            x=altair.X("evaluations:Q", title="evaluations, share of the full grid", axis=altair.Axis(format="%")),
            y=altair.Y("sound:Q", title="sound picks", axis=altair.Axis(format="%"), scale=altair.Scale(domain=[0, 1])),
            color=_by_method(altair.Color, [colour for colour, _ in MARKS.values()]),
            shape=_by_method(altair.Shape, [shape for _, shape in MARKS.values()]),
        )
        .facet(facet=altair.Facet("source:N", title=None), columns=3)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(vl_convert.vegalite_to_svg(chart.to_json()), encoding="utf-8")


def _by_method(channel: Callable[..., Any], marks: list[str]) -> Any:
    return channel("method:N", scale=altair.Scale(domain=list(MARKS), range=marks), title=None)
