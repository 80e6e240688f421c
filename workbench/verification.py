"""Verifying a certificate: every figure made anew from the run's answers, and those that differ named. No model is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench.bundle import opened
from workbench.certificate import FORMAT, certify
from workbench.errors import InputError, NotComparable
from workbench.records import plugin_label
from workbench.specification import Goal
from workbench.store import Store

NOTHING = "nothing"
"""What stands for a figure that is not there on one of the two sides."""

_MOST_BYTES = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where a certificate and the answers disagree; both sides as JSON text, or ``nothing``."""

    path: str
    stated: str
    recomputed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What verifying a certificate found: how many figures and words were made anew, and where they differ."""

    run: str
    verdict: str
    checked: int
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether everything the certificate states follows from the answers."""
        return not self.differences


def verify(path: str | Path, *, store: Store | None = None, bundle: str | Path | None = None) -> Verification:
    """Recompute a certificate's every figure, digest and word from the store, or from an exported bundle.

    Raises ``InputError`` for what is no certificate, ``NotComparable`` where its run is not there.
    """
    stated = read_certificate(Path(path))
    source = opened(Path(bundle)) if bundle is not None else nullcontext(store or _store_in_force(stated["run"]))
    with source as with_store:
        record = with_store.find(stated["run"])
        if record is None or record.name != stated["run"]:
            there = ", ".join(repr(run.name) for run in with_store.runs()[:10]) or "no run"
            raise NotComparable(
                f"the certificate is of run {stated['run']!r}, which is not there (there is {there}); "
                "name its store with --store, or its exported bundle with --bundle"
            )
        try:
            goal = _goal_to_judge(stated, [*map(plugin_label, record.experiment["metrics"])])
        except (InputError, ValidationError) as error:
            return _no_goal(stated, error)
        recomputed = certify(record.name, goal, store=with_store, anew=True)
    return Verification(
        run=stated["run"],
        verdict=recomputed["verdict"],
        checked=sum(1 for _ in leaves(recomputed)),
        differences=tuple(differences(stated, recomputed)),
    )


def read_certificate(path: Path) -> dict[str, Any]:
    """The content of a certificate's file; ``InputError`` where it is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: larger than {_MOST_BYTES:,} bytes, so no certificate")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, object_pairs_hook=_once)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such certificate; write one with: workbench recommend RUN --certificate {path}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable certificate: {error}") from error
    made = content.get("certificate") if isinstance(content, dict) else None
    if type(made) is not int or made < 1 or not isinstance(content.get("run"), str):
        raise InputError(f"{path}: not a certificate; write one with: workbench recommend RUN --certificate FILE.json")
    if made != FORMAT:
        raise InputError(f"{path}: a certificate of version {made}; this version of rag-workbench knows {FORMAT}")
    return content


def differences(stated: Any, recomputed: Any, path: str = "") -> Iterator[Difference]:
    """Every leaf that differs between two pieces of plain data, by its path (``claims[0].alpha``)."""
    if isinstance(stated, dict) and isinstance(recomputed, dict):
        for key in {**recomputed, **stated}:
            where = f"{path}.{key}" if path else str(key)
            if key in stated and key in recomputed:
                yield from differences(stated[key], recomputed[key], where)
            else:
                yield Difference(path=where, stated=_shown(stated, key), recomputed=_shown(recomputed, key))
    elif isinstance(stated, list) and isinstance(recomputed, list):
        for number in range(max(len(stated), len(recomputed))):
            where = f"{path}[{number}]"
            if number < min(len(stated), len(recomputed)):
                yield from differences(stated[number], recomputed[number], where)
            else:
                yield Difference(path=where, stated=_shown(stated, number), recomputed=_shown(recomputed, number))
    elif type(stated) is not type(recomputed) or stated != recomputed:
        yield Difference(path=path, stated=_text(stated), recomputed=_text(recomputed))


def leaves(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure and word of plain data with its path; an empty list or mapping is one, too."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, list) and content:
        for number, value in enumerate(content):
            yield from leaves(value, f"{path}[{number}]")
    else:
        yield path, content


def _store_in_force(run: str) -> Store:
    try:
        return Store(create=False)
    except InputError as error:
        raise NotComparable(
            f"run {run!r} is not there: {error}. Name its store with --store, or its exported bundle with --bundle"
        ) from error


def _goal_to_judge(stated: Mapping[str, Any], scored: Sequence[str]) -> Goal | None:
    """The goal a certificate was judged by where that was not the declared one; only that cannot be read from the store."""
    goal = stated.get("goal")
    if not isinstance(goal, dict) or goal.get("exploratory") is not True:
        return None
    judged = Goal.model_validate(goal.get("judged"))
    if judged.metric not in scored:
        raise InputError(f"metric {judged.metric!r} was not scored in this run")
    return judged


def _no_goal(stated: Mapping[str, Any], error: InputError | ValidationError) -> Verification:
    why = str(error) if isinstance(error, InputError) else "; ".join(each["msg"].lower() for each in error.errors())
    found = Difference(path="goal.judged", stated=_text(stated["goal"].get("judged")), recomputed=f"no goal: {why}")
    return Verification(run=stated["run"], verdict="", checked=1, differences=(found,))


def _shown(content: Any, key: Any) -> str:
    there = key in content if isinstance(content, dict) else key < len(content)
    return _text(content[key]) if there else NOTHING


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number of a certificate")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found
