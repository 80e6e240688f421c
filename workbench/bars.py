"""What a setup has to meet besides being good enough: a floor of quality, and limits on latency."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.sequential import Flags, MeanTests, Rows, as_scores
from workbench.stats import Array

_SLOW_SHARE = {"p50_seconds": 0.5, "p95_seconds": 0.05}  # how many answers may take longer than the limit


class Bars:
    """For rows that are asked questions one after the other: which meet a floor and limits, as far as one can tell.

    ``limits`` are seconds, by ``p50_seconds`` or ``p95_seconds``. A bar is shown to be met, or to be missed, by a test that
    holds whenever one looks, at ``level``, or by all the questions. Questions that the metric does not apply to say nothing
    about the floor, and times that are not known nothing about limits.
    """

    def __init__(self, rows: int, questions: int, *, floor: float | None, limits: Mapping[str, float], level: float):
        self._rows = rows
        self._floor = None if floor is None else _Floor(rows, floor, level, questions)
        self._limits = dict(limits)
        self._late = {name: _Late(rows, _SLOW_SHARE[name], level) for name in limits}

    def add(self, rows: Rows, start: int, scores: Array, seconds: Array) -> None:
        """The next answers of some rows that were asked ``start`` before; shape (rows, new questions), NaN is not known."""
        if self._floor is not None:
            self._floor.add(rows, start, scores)
        for name, limit in self._limits.items():
            self._late[name].add(rows, seconds, limit)

    @property
    def met(self) -> Flags:
        """Which rows meet all bars on what was answered so far."""
        found = np.ones(self._rows, dtype=bool)
        for each in self._each():
            found &= each.met
        return found

    def shown(self, complete: Flags) -> Flags:
        """Which rows are shown to meet all bars; ``complete`` have answered everything."""
        found = np.ones(self._rows, dtype=bool)
        for each in self._each():
            found &= np.where(complete, each.met, each.kept.shown)
        return found

    def missed(self, complete: Flags) -> dict[int, str]:
        """Rows that are shown to miss a bar, and which."""
        found: dict[int, str] = {}
        if self._floor is not None:
            for row in np.flatnonzero(np.where(complete, ~self._floor.met, self._floor.broken.shown)):
                found.setdefault(int(row), f"below the floor of {self._floor.floor:g}")
        for name, late in self._late.items():
            limit, what = self._limits[name], name.removesuffix("_seconds")
            for row in np.flatnonzero(np.where(complete, ~late.met, late.broken.shown)):
                count = f"{late.late[row]:g} of {late.known[row]:g} answers"
                found.setdefault(int(row), f"{count} took more than the {what} of {limit:g} s")
        return found

    def _each(self) -> list[_Floor | _Late]:
        return [*([] if self._floor is None else [self._floor]), *self._late.values()]


class _Floor:
    """Whether the mean of every row is at least a floor.

    A question that the metric does not apply to counts as much as the floor itself: then the mean over all of them is at least
    the floor exactly if the mean over the others is.
    """

    def __init__(self, rows: int, floor: float, level: float, questions: int) -> None:
        self.floor = floor
        self.broken = MeanTests(rows, 1 - floor, level, population=questions)
        self.kept = MeanTests(rows, floor, level, population=questions)
        self._sums: Array = np.zeros(rows)
        self._asked: Array = np.zeros(rows)

    def add(self, rows: Rows, start: int, scores: Array) -> None:
        values = np.where(np.isnan(scores), self.floor, as_scores(scores))
        sums = np.cumsum(np.column_stack([self._sums[rows], values]), axis=1)  # alike in one go and in many
        before = sums[:, :-1]
        self.kept.play(rows, values, before=before, asked=start)
        self.broken.play(rows, 1 - values, before=np.arange(start, start + values.shape[1]) - before, asked=start)
        self._sums[rows] = sums[:, -1]
        self._asked[rows] += values.shape[1]

    @property
    def met(self) -> Flags:
        found: Flags = self._sums >= self._asked * self.floor - 1e-9
        return found


class _Late:
    """Whether no more answers of every row are late than may be, of those whose time is known."""

    def __init__(self, rows: int, allowed: float, level: float) -> None:
        self._allowed = allowed
        self.broken = MeanTests(rows, allowed, level)
        self.kept = MeanTests(rows, 1 - allowed, level)
        self.known: Array = np.zeros(rows)
        self.late: Array = np.zeros(rows)

    def add(self, rows: Rows, seconds: Array, limit: float) -> None:
        known, late = ~np.isnan(seconds), seconds > limit
        self.known[rows] += known.sum(axis=1)
        self.late[rows] += late.sum(axis=1)
        self.broken.play(rows, np.where(known, late, self._allowed))
        self.kept.play(rows, np.where(known, ~late, 1 - self._allowed))

    @property
    def met(self) -> Flags:
        found: Flags = self.late <= self._allowed * self.known + 1e-9
        return found
