"""A certificate as one self-contained page: nothing in it is fetched, run or left unescaped, and it says what the JSON says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from workbench.html_report import STYLE
from workbench.texts import NOT_MEASURED, significant

_WRAPPED = "th,td{white-space:normal;overflow-wrap:anywhere}"


def render_certificate(content: Mapping[str, Any]) -> str:
    """The page of a certificate: verdict, goal, claims, chosen against reference, what the search took, what was judged."""
    title = escape(f"Certificate of run {content['run']}")
    verdict = content["verdict"].partition(" ")[0]
    goal = content["goal"]
    exploratory = "Exploratory: this is not the goal that was declared before the run." if goal["exploratory"] else ""
    declared = "" if goal["exploratory"] else " Declared before the run."
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}{_WRAPPED}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f'<p class="soft">{escape(goal["words"] + declared)} {escape(exploratory)}</p>\n'
        f'<div class="verdict {escape(verdict)}">{"".join(f"<p>{escape(line)}</p>" for line in content["summary"])}</div>\n'
        f"<h2>What was to be shown</h2>\n{_claims(content)}\n"
        f"<h2>Chosen and reference</h2>\n{_setups(content)}\n"
        f"<h2>What the search took</h2>\n{_search(content['search'])}\n"
        f"<h2>What was judged</h2>\n{_pairs(_judged(content))}\n"
        f'<p class="soft">Every figure follows from the run\'s stored answers: '
        "<code>workbench verify certificate.json</code> makes them anew and names those that differ.</p>\n"
        "</body>\n</html>\n"
    )


def _claims(content: Mapping[str, Any]) -> str:
    if not content["claims"]:
        return f"<p>No claim was tested: level “{escape(content['level'])}”.</p>"
    head = ("shown?", "claim", "about", "against", "error at most", "difference", "questions used of available")
    rows = (
        (
            "shown" if claim["shown"] else "not shown",
            claim["statement"],
            claim["about"],
            f"{claim['against']}{_bracket(claim['reference'])}",
            f"{claim['alpha']:g}",
            _interval(claim["difference"]),
            f"{claim['questions_used']:,} of {claim['questions_available']:,}",
        )
        for claim in content["claims"]
    )
    return f'<p class="soft">Level: {escape(content["level"])}.</p>\n{_table(head, rows)}'


def _setups(content: Mapping[str, Any]) -> str:
    sides = [(what, content[what]) for what in ("chosen", "reference") if content[what] is not None]
    if not sides:
        return f"<p>None. {escape(content['nearest_miss'])}</p>"
    rows = [("setup", *(f"{setup['label']} [{setup['id']}]" for _, setup in sides))]
    for metric in sides[0][1]["measured"]["scores"]:
        rows.append((metric, *(_interval(setup["measured"]["scores"][metric]) for _, setup in sides)))
    for name, key in (
        ("prompt tokens per answer", "tokens_in_per_answer"),
        ("output tokens per answer", "tokens_out_per_answer"),
        ("joules per correct answer", "joules_per_correct_answer"),
    ):
        rows.append((name, *(_number(setup["measured"][key]) for _, setup in sides)))
    rows.append(("seconds per answer, p50 and p95", *(_latency(setup["measured"]) for _, setup in sides)))
    rows.append(("joules per answer", *(_energy(setup["measured"]["joules_per_answer"]) for _, setup in sides)))
    rows += [
        (f"{unit}, chosen ÷ reference", _interval(ratio), *("" for _ in sides[1:]))
        for unit, ratio in content["savings"].items()
    ]
    if content["difference"] is not None:
        rows.append((content["difference"]["unit"], _interval(content["difference"]), *("" for _ in sides[1:])))
    return _table(("", *(what for what, _ in sides)), rows)


def _search(search: Mapping[str, Any]) -> str:
    amounts = [
        (name.replace("_", " "), search[name]) for name in ("spent", "saved_by_sharing", "saved_by_stopping_early")
    ]
    rows = [("answers", *(f"{amount['answers']:,}" for _, amount in amounts))]
    rows.append(("joules", *(_energy(amount["joules"]) for _, amount in amounts)))
    rows.append(("seconds", *(_estimate(amount["seconds"]) for _, amount in amounts)))
    rows.append(("tokens", *(_estimate(amount["tokens"]) for _, amount in amounts)))
    said = "".join(f"<p>{escape(line)}</p>" for line in search["words"])
    return f"{said}\n{_table(('', *(name for name, _ in amounts)), rows)}"


def _judged(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    questions, digests = content["questions"], content["digests"]
    found = [
        ("questions", f"{questions['asked']:,} asked of split {questions['split']}"),
        ("seeds", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in content["seeds"].items())),
    ]
    for name, value in digests.items():
        if value is not None:
            shown = f"{value['digest']} ({value['name']})" if isinstance(value, dict) else str(value)
            found.append((f"digest of {name.replace('_', ' ')}", shown))
    found += [
        (f"split {used['split']} was used by", f"run {used['run']}, error spent {used['alpha']:g}")
        for used in content["splits_used"]
    ]
    for what in ("chosen", "reference"):
        if content[what] is not None and content[what]["fingerprints"]:
            parts = ", ".join(f"{part} {value}" for part, value in content[what]["fingerprints"].items())
            found.append((f"fingerprints of the {what}", parts))
    low, central, high = content["coefficients"]["watts_per_busy_vcpu"]
    found.append(
        ("watts per busy vCPU", f"{central} ({low}–{high}), {content['coefficients']['source']}"),
    )
    for name, value in content["versions"].items():
        if isinstance(value, dict):
            value = ", ".join(f"{part} {version}" for part, version in value.items())
        if value not in ("", None):
            found.append((name.replace("_", " "), str(value)))
    return found


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return _table(("what", "value"), pairs)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>'


def _bracket(reference: Mapping[str, Any] | None) -> str:
    return "" if reference is None else f": {reference['label']} [{reference['id']}]"


def _interval(found: Mapping[str, Any] | None) -> str:
    return "does not apply" if found is None else f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else significant(value)


def _estimate(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NOT_MEASURED
    low, central, high = (significant(found[end]) for end in ("low", "central", "high"))
    return central if low == high else f"{central} ({low}–{high})"


def _latency(measured: Mapping[str, Any]) -> str:
    seconds = measured["seconds_per_answer"]
    if seconds is None:
        return NOT_MEASURED
    return f"{seconds['p50']:.2f} s, {seconds['p95']:.2f} s{' (disturbed)' if seconds['disturbed'] else ''}"


def _energy(energy: Mapping[str, Any] | None) -> str:
    if energy is None:
        return NOT_MEASURED
    low, central, high = (significant(energy[end]) for end in ("low", "central", "high"))
    return f"{central} J ({low}–{high}), known by {energy['known_by'].replace('_', ' ')}"
