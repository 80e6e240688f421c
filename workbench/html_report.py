"""A comparison as one self-contained HTML file to send to somebody: nothing in it is fetched, run or left unescaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from workbench.charts import pareto, svg
from workbench.comparison import Comparison
from workbench.explanations import notes
from workbench.exports import header, rows
from workbench.recommendation import Recommendation, choose, sentences

STYLE = """
:root{color-scheme:light dark;--text:#1b1b1f;--soft:#5a5a66;--page:#fff;--raised:#f3f3f7;--line:#d8d8de;--chosen:#eaf5ee;
--decided:#009e73;--open:#e69f00;--nothing:#d55e00}
@media(prefers-color-scheme:dark){:root{--text:#e8e8ee;--soft:#a9a9b6;--page:#17171b;--raised:#26262d;--line:#3a3a44;
--chosen:#1b3327}}
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:var(--text);
background:var(--page)}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}p,li{overflow-wrap:anywhere}
.soft{color:var(--soft);font-size:.9rem}.soft li{margin-bottom:.4rem}
.verdict{border-left:5px solid var(--decided);padding:.6rem 1.1rem;background:var(--raised);border-radius:0 .4rem .4rem 0}
.verdict.undecided{border-color:var(--open)}.verdict.nothing{border-color:var(--nothing)}.verdict p{margin:.25rem 0}
.verdict p:first-child{font-weight:600}
svg{max-width:100%;height:auto;margin-top:1.6rem}
.scroll{overflow-x:auto;margin-top:1rem}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{border-bottom:1px solid var(--line);padding:.4rem .7rem;text-align:left;vertical-align:top}
th{background:var(--raised)}tr.chosen td{background:var(--chosen)}
@media print{.scroll{overflow:visible}table{font-size:9px}}
"""


def render(comparison: Comparison) -> str:
    """The whole page: verdict, chart, table, why not the others, how the figures are known."""
    recommendation = choose(comparison)
    title = escape(f"Run {comparison.run}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f'<p class="soft">{escape(_summary(comparison))}</p>\n'
        f'<div class="verdict {recommendation.verdict.partition(" ")[0]}">{_paragraphs(sentences(recommendation))}</div>\n'
        f"{svg(pareto(comparison, comparison.goal.minimise, recommendation))}\n"
        f"{_table(comparison, recommendation)}\n{_rejections(recommendation)}\n"
        f'<h2>How the figures are known</h2>\n<ul class="soft">{_items(notes(comparison))}</ul>\n</body>\n</html>\n'
    )


def _summary(comparison: Comparison) -> str:
    goal = comparison.goal
    return (
        f"{len(comparison.figures)} configurations, {len(comparison.matrix.questions)} questions, {comparison.state}. "
        f"Wanted: the fewest {goal.minimise} with {goal.metric} at most {goal.margin:g} below the best."
    )


def _table(comparison: Comparison, recommendation: Recommendation) -> str:
    chosen = recommendation.chosen.id if recommendation.chosen is not None else ""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in header(comparison))
    body = ""
    for row in rows(comparison):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        body += f"<tr class=chosen>{cells}</tr>\n" if row[0] == chosen else f"<tr>{cells}</tr>\n"
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>'


def _rejections(recommendation: Recommendation) -> str:
    if not recommendation.rejections:
        return ""
    lines = (
        f"{each.configuration.label} [{each.configuration.id}]: {each.reason}" for each in recommendation.rejections
    )
    heading = "Why not the others" if recommendation.chosen is not None else "Why none qualifies"
    return f"<h2>{heading}</h2>\n<ul>{_items(lines)}</ul>"


def _paragraphs(lines: Iterable[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{escape(line)}</li>\n" for line in lines)
