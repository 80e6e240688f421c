"""What can run and be measured on this machine, and whether files can be used."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import yaml

from workbench.coefficients import coefficients, processor
from workbench.errors import InputError, WorkbenchError
from workbench.library import DataReport, check_data, load_corpus, load_evalset, locate
from workbench.space import points
from workbench.specification import experiments, read_experiment
from workbench.weights import Presence, catalogue, presence

_EXTRAS = {
    "embedded": ("xllamacpp",),
    "dense": ("sentence_transformers", "faiss", "torch"),
    "hosted": ("langchain",),
    "charts": ("altair", "vl_convert"),
    "app": ("streamlit", "pandas"),
}
_COUNTERS = (
    Path("/sys/class/powercap/intel-rapl:0/energy_uj"),
    Path("/sys/class/powercap/intel-rapl/intel-rapl:0/energy_uj"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a check: what was looked at, how it stands, and what to do if it could be better."""

    what: str
    state: Literal["ok", "missing", "bad"]
    detail: str
    advice: str = ""


def check(files: Sequence[str | Path] = ()) -> list[Finding]:
    """Findings about files (experiments, corpora, eval sets, by path or name), or without any about this machine."""
    return [finding for file in files for finding in check_file(file)] if files else machine()


def models() -> list[Presence]:
    """The embedded models and whether they are here and intact."""
    return [presence(weights) for weights in catalogue()]


def machine() -> list[Finding]:
    """Processor, energy method, embedded models, extras."""
    here = processor()
    found = [
        Finding(
            what="machine",
            state="ok",
            detail=f"{here.brand}, {here.vcpus} vCPUs{' (virtual machine)' if here.virtual else ''}, "
            f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, Python {platform.python_version()}",
        ),
        _energy(),
        _quiet_threads(),
    ]
    for each in models():
        weights = each.weights
        size = f"{each.bytes / 1e6:.0f} MB, " if each.bytes else ""
        optional = " (opt-in)" if weights.opt_in else ""
        state: Literal["ok", "missing", "bad"] = {"present": "ok", "missing": "missing", "damaged": "bad"}[each.state]  # type: ignore[assignment]
        found.append(
            Finding(
                what=f"embedded:{weights.name}",
                state=state,
                detail=f"{each.state}{optional}, {size}{weights.licence}",
                advice="" if state == "ok" else f"run: {weights.install}",
            )
        )
    for extra, libraries in _EXTRAS.items():
        missing = [library for library in libraries if importlib.util.find_spec(library) is None]
        found.append(
            Finding(
                what=f"extra {extra}",
                state="missing" if missing else "ok",
                detail=f"{', '.join(missing)} not installed" if missing else ", ".join(libraries),
                advice=f"run: pip install 'rag-workbench[{extra}]'" if missing else "",
            )
        )
    return found


def _energy() -> Finding:
    prices = coefficients()
    low, central, high = prices.watts_per_busy_vcpu
    counter = next((path for path in _COUNTERS if path.exists()), None)
    advice = "set WORKBENCH_WATTS_PER_VCPU if you know this machine's watts per busy vCPU"
    if counter is not None:
        advice = f"an energy counter exists ({counter.parent.name}); reading it comes in a later version"
    return Finding(
        what="energy",
        state="ok",
        detail=f"estimated: CPU time × {central} W per busy vCPU ({low}–{high} W; {prices.processor}; {prices.source})",
        advice=advice,
    )


def _quiet_threads() -> Finding:
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    quiet = policy.lower() == "passive"
    return Finding(
        what="OMP_WAIT_POLICY",
        state="ok" if quiet else "bad",
        detail=policy or "not set",
        advice=""
        if quiet
        else "unset it or set it to passive: threads that spin while waiting inflate CPU time and energy",
    )


def check_file(file: str | Path) -> list[Finding]:
    """Findings about one experiment, corpus or eval set."""
    try:
        kinds = _kinds(file)
    except WorkbenchError as error:
        return _bad(str(file), error)
    found: list[Finding] = []
    for kind in kinds:
        try:
            found += {"experiment": _experiment, "data": _data}[kind](str(file))
        except WorkbenchError as error:
            found += _bad(str(file), error)
    return found


def _bad(what: str, error: WorkbenchError) -> list[Finding]:
    problems = error.problems if isinstance(error, InputError) else (str(error),)
    return [Finding(what=what, state="bad", detail=problem) for problem in problems]


def _kinds(file: str | Path) -> list[str]:
    path = Path(file)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return ["experiment"]
    kinds = ["data"] if path.exists() or _named(file) else []
    if not path.exists() and str(file) in experiments():
        kinds.append("experiment")
    if not kinds:
        raise InputError(
            f"{file}: neither an experiment, a corpus nor an eval set; give a path, or a name that `workbench check` knows"
        )
    return kinds


def _named(name: str | Path) -> bool:
    for kind in ("corpora", "evals"):
        try:
            locate(kind, name)
        except InputError:
            continue
        return True
    return False


def _experiment(name: str) -> list[Finding]:
    experiment = read_experiment(name)
    found = points(experiment.space)
    merged = sum(found.merged.values()) + sum(found.impossible.values())
    reasons = "; ".join(f"{count} {reason}" for reason, count in {**found.impossible, **found.merged}.items())
    return [
        Finding(
            what=f"{name} (experiment)",
            state="ok",
            detail=f"{len(found.configurations)} configurations of {found.product} points"
            + (f"; {merged} impossible or equivalent: {reasons}" if merged else ""),
        ),
        *_data_of(experiment.corpus, experiment.evalset, experiment.seed),
    ]


def _data(name: str) -> list[Finding]:
    """A path may hold a corpus, an eval set, or both; a name may stand for both."""
    path = Path(name)
    if not path.exists():
        return _data_of(_or_none("corpora", name), _or_none("evals", name), 0)
    if path.is_dir() and (path / "evalset.yaml").is_file() and not (path / "corpus.yaml").is_file():
        stated = yaml.safe_load((path / "evalset.yaml").read_text(encoding="utf-8", errors="replace"))
        corpus = stated.get("corpus") if isinstance(stated, dict) else None
        return _data_of(corpus if isinstance(corpus, str) else None, name, 0)
    questions = path.is_dir() and any((path / each).exists() for each in ("queries.jsonl", "questions.jsonl"))
    return _data_of(name, name if questions or path.suffix == ".json" else None, 0)


def _or_none(kind: Literal["corpora", "evals"], name: str) -> str | None:
    try:
        locate(kind, name)
    except InputError:
        return None
    return name


def _data_of(corpus_name: str | None, evalset_name: str | None, seed: int) -> list[Finding]:
    found: list[Finding] = []
    corpus = load_corpus(corpus_name) if corpus_name else None
    evalset = load_evalset(evalset_name, corpus, seed=seed) if evalset_name else None
    if corpus is not None:
        found += describe(check_data(corpus, evalset), corpus.name, evalset.name if evalset else None)
    elif evalset is not None:
        found.append(
            Finding(
                what=f"{evalset.name} (eval set)",
                state="ok",
                detail=f"{len(evalset.questions)} questions; its corpus was not checked",
            )
        )
    return found


def describe(report: DataReport, corpus: str, evalset: str | None) -> list[Finding]:
    """A data report as findings."""
    found = [
        Finding(
            what=f"{corpus} (corpus)",
            state="ok",
            detail=f"{report.documents} documents; tokens per document: median {report.document_tokens_p50}, "
            f"95 % below {report.document_tokens_p95}, longest {report.document_tokens_max}; "
            f"{len(report.duplicate_texts)} groups of equal texts",
        )
    ]
    if evalset is not None:
        splits = ", ".join(f"{name} {count}" for name, count in sorted(report.splits.items()))
        found.append(
            Finding(
                what=f"{evalset} (eval set)",
                state="ok",
                detail=f"{report.questions} questions ({splits}), {report.unanswerable_share or 0:.0%} unanswerable; "
                f"every accepted answer's presence in its gold text was checked: {len(report.problems)} problems",
            )
        )
    return [*found, *(Finding(what=evalset or corpus, state="bad", detail=problem) for problem in report.problems)]
