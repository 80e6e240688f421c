"""Confirming a race's pick on questions that the race never saw: one pair, fixed before the first of them is asked.

What is shown there holds for questions drawn like these, against the one reference; never against "the best there is". A
split that was used for one claim cannot carry another at the full level: a ledger keeps what was spent on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.racing import RaceState, settings
from workbench.records import PluginChoice
from workbench.sequential import as_scores
from workbench.stats import Array, Interval, anytime_difference, planned_evidence

if TYPE_CHECKING:
    from workbench.store import Claimed

_SHARES = {1: (1.0,), 2: (0.8, 0.2)}  # of the error that the goal allows, for each claim that was announced


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What new questions say of a pick and its reference. ``shown``: at most the margin below, with error ``alpha``.

    ``questions`` were asked of ``available``; ``difference`` is pick − reference with an anytime interval.
    """

    shown: bool
    alpha: float
    questions: int
    available: int
    difference: Interval | None


def unseen_split(strategy: PluginChoice, asked: str, wanted: str | None) -> str | None:
    """The split that a race over the split ``asked`` keeps for its pick, if it is ``wanted``; ``None`` where it keeps none."""
    if wanted is None or settings(strategy) is None or asked in ("all", wanted):
        return None
    return wanted


def confirm(pick: Array, reference: Array, *, margin: float, alpha: float, available: int) -> Confirmed:
    """Judge a pick against its reference on the questions both have answered, in the order they were asked.

    The planned test of ``stats.planned_evidence`` for ``available`` questions; a score that is not there counts 0.
    """
    own, other = as_scores(pick), as_scores(reference)
    evidence = planned_evidence((own - other + 1) / 2, (1 - margin) / 2, available, alpha)
    return Confirmed(
        shown=bool(len(own)) and bool(evidence.max() >= log(1 / alpha)),
        alpha=alpha,
        questions=len(own),
        available=available,
        difference=anytime_difference(own, other, 1 - alpha),
    )


def contenders(state: RaceState, scores: Array, *, named: bool) -> tuple[int, int] | None:
    """The pair to confirm: the pick, and the leader or ``named`` reference; ``None`` where there is none.

    A pick that leads is held against the best-scoring of the others that were asked the most and miss neither floor nor limits.
    """
    pick, reference = state.pick, state.leader
    if pick is None or reference is None or (named and pick == reference):
        return None
    if pick != reference:
        return pick, reference
    rivals = state.rivals & ~state.barred
    rivals[pick] = False
    most = int(state.asked[rivals].max(initial=0))
    rows = np.flatnonzero(rivals & (state.asked == most))
    if not most or not len(rows):
        return None
    return pick, int(rows[np.argmax(np.nan_to_num(scores[rows, :most]).mean(axis=1))])


def level_left(alpha: float, tries: int, claim: Mapping[str, Any], claimed: Sequence[Claimed]) -> float:
    """What a claim may still cost: its own level again if it was made before, the next share that was announced, or 0.

    All that is spent on a split stays within ``alpha``, whatever was announced before and whenever.
    """
    made = {json.dumps(each.claim, sort_keys=True): each.alpha for each in claimed if each.alpha > 0}
    if (known := made.get(json.dumps(dict(claim), sort_keys=True))) is not None:
        return min(known, alpha)
    shares = _SHARES[tries]
    share = alpha * shares[len(made)] if len(made) < len(shares) else 0.0
    return share if sum(made.values()) + share <= alpha * (1 + 1e-9) else 0.0
