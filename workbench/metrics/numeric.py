"""Whether the answer's number is right."""

from __future__ import annotations

import re
from math import isfinite
from typing import Literal, NamedTuple

from workbench.errors import InputError
from workbench.metrics._accepted import refused
from workbench.records import Answer, Question, Score

_MOST_OTHER_WORDS = 3  # beside its number and unit; an accepted answer of more words is no numeric answer
_ROUNDING = 1e-9  # of binary fractions
_ONES = "one two three four five six seven eight nine".split()  # noqa: SIM905
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # noqa: SIM905
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_WRITTEN = {word: float(number) for number, word in enumerate(["zero", *_ONES, *_TEENS])} | {
    word: 10.0 * number for number, word in enumerate(_TENS, 2)
}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_UNITS = {
    unit: (kind, factor)
    for kind, units in {
        "share": "% 1, percent 1",
        "mass": "mg 1e-3, g 1, gram 1, kg 1e3, kilogram 1e3, t 1e6, tonne 1e6, ton 1e6",
        "length": "mm 1e-3, cm 1e-2, m 1, metre 1, meter 1, km 1e3, kilometre 1e3, kilometer 1e3",
        "time": "ms 1e-3, millisecond 1e-3, s 1, sec 1, second 1, min 60, minute 60, h 3600, hour 3600, day 86400, week 604800",
        "power": "w 1, watt 1, kw 1e3, kilowatt 1e3, mw 1e6, megawatt 1e6, gw 1e9, gigawatt 1e9",
        "energy": "j 1, joule 1, kj 1e3, mj 1e6, wh 3.6e3, kwh 3.6e6, mwh 3.6e9, gwh 3.6e12, twh 3.6e15",
        "data": "byte 1, kb 1e3, mb 1e6, gb 1e9, tb 1e12",
    }.items()
    for unit, factor in ((unit, float(text)) for unit, text in (pair.split() for pair in units.split(",")))
}
_SPACE = "[ \u00a0\u2009\u202f]"
_NUMBER = re.compile(
    r"(?<![\w.,])(?<!\w-)(?P<sign>(?<!\w)[-−+])?"
    rf"(?:(?P<grouped>\d{{1,3}}(?:(?:,\d{{2}})*(?:,\d{{3}})+|(?:{_SPACE}\d{{3}})+|(?:['’]\d{{3}})+|(?:\.\d{{3}})+(?=,\d)|(?:\.\d{{3}}){{2,}}))"
    r"(?!\d|[.,]\d{3}\b)|(?P<plain>\d+))"
    r"(?:[.,](?P<decimals>\d+)(?![.,]\d))?(?P<power>[eE][-+]?\d{1,3}\b|\s?[×x*]\s?10\^(?P<exponent>[-−]?\d{1,3})\b)?"
    rf"|\b(?P<written>{'|'.join(_WRITTEN)})(?:[- ](?P<ones>{'|'.join(_ONES)}))?\b",
    re.IGNORECASE,
)
_SCALED = re.compile(rf"[ -](?:{'|'.join(_SCALES)})\b", re.IGNORECASE)
_NEXT_WORD = re.compile(rf"(?:{_SPACE}|-)?([^\W\d_]+|%)")


class _Number(NamedTuple):
    figure: float
    kind: str  # what its unit measures; empty where none is known
    factor: float  # of its unit, in the first unit of its kind
    others: int  # words of the text that belong neither to it nor to its unit


class Numeric:
    """1 when the answer's first number is within the tolerance of an accepted one."""

    name = "numeric"
    judges: Literal["answer", "retrieval"] = "answer"

    def __init__(self, relative: float, absolute: float) -> None:
        self._relative = relative
        self._absolute = absolute

    def score(self, question: Question, answer: Answer) -> Score:
        """1 or 0; not applicable where no accepted answer is a number."""
        if not question.answerable:
            return Score(metric=self.name, value=None, reason="no number answers it")
        numbers = [number for text in question.answers if (number := _first_number(text)) is not None]
        accepted = [number for number in numbers if number.others <= _MOST_OTHER_WORDS]
        if not accepted:
            return Score(metric=self.name, value=None, reason="no accepted answer is a number")
        given = None if refused(question, answer) else _first_number(answer.text)
        if given is None:
            return Score(metric=self.name, value=0.0, reason="there is no number in the answer")
        return Score(metric=self.name, value=float(any(self._close(given, wanted) for wanted in accepted)))

    def _close(self, given: _Number, wanted: _Number) -> bool:
        ours, theirs = given.figure, wanted.figure
        if given.kind and wanted.kind:
            if given.kind != wanted.kind:
                return False
            ours *= given.factor / wanted.factor
        return abs(ours - theirs) <= max(self._absolute, max(self._relative, _ROUNDING) * abs(theirs))


def _first_number(text: str) -> _Number | None:
    """The first number of a text with its unit; "one" gives way to another number, being mostly no number."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    match = found[0]
    if len(found) > 1 and match[0].lower() == "one" and not _SCALED.match(text, match.end()):
        match = found[1]
    figure, end, kind, factor = _figure(match), match.end(), "", 1.0
    word = _NEXT_WORD.match(text, end)
    while word is not None and (scale := _SCALES.get(word[1].lower())):
        figure, end = figure * scale, word.end()
        word = _NEXT_WORD.match(text, end)
    if word is not None:
        unit = word[1].lower()
        if known := _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s")):
            (kind, factor), end = known, word.end()
    others = len(text[: match.start()].split()) + len(text[end:].split())
    return _Number(figure, kind, factor, others) if isfinite(figure) else None


def _figure(match: re.Match[str]) -> float:
    if written := (match["written"] or "").lower():
        ones = (match["ones"] or "").lower() if written in _TENS else ""
        return _WRITTEN[written] + _WRITTEN.get(ones, 0.0)
    whole = re.sub(r"\D", "", match["grouped"] or match["plain"])
    exponent = match["exponent"] or (match["power"] or "")[1:]
    value = float(f"{whole}.{match['decimals'] or 0}e{exponent.replace('−', '-') or 0}")
    return -value if match["sign"] in ("-", "−") else value


def build(*, relative: float = 0.0, absolute: float = 0.0) -> Numeric:
    """Whether the answer's first number equals an accepted one, within a relative or absolute tolerance.

    Understands thousands separators, decimal commas, exponents, "2.5 million", numbers written out in English to
    ninety-nine, and usual units of mass, length, time, power, energy and data, which are converted where both sides have
    one (months and years are not). A number of another kind is wrong; where one side has no unit only the figures are compared.
    An absolute tolerance is in the accepted answer's unit.
    """
    if relative < 0 or absolute < 0:
        raise InputError(f"numeric: relative is {relative}, absolute is {absolute}; expected numbers from 0")
    return Numeric(relative, absolute)
