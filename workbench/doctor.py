"""What can run and be measured on this machine, and whether files can be used."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import psutil

from workbench.coefficients import Processor, coefficients, processor
from workbench.errors import InputError, WorkbenchError
from workbench.library import (
    DataReport,
    check_data,
    corpus_of,
    holds,
    locate,
    read_corpus,
    read_evalset,
)
from workbench.meters.auto import choose, tiers
from workbench.space import points
from workbench.specification import experiments, read_experiment
from workbench.weights import Presence, catalogue, presence

_EXTRAS = {
    "embedded": ("xllamacpp",),
    "dense": ("sentence_transformers", "faiss", "torch"),
    "hosted": ("langchain",),
    "charts": ("altair", "vl_convert"),
    "app": ("streamlit", "pandas"),
    "files": ("pypdf", "inscriptis"),
    "hub": ("datasets",),
    "energy": ("codecarbon", "ecologits", "pynvml"),
}
_SHOWN = 50  # problems of one set of data
_MACHINE = Path("/sys/class/dmi/id")  # what the firmware says of the machine
_METERS = {
    "rapl": "counters of the processor",
    "apple": "counters of Apple's chip",
    "gpu": "counters of NVIDIA GPUs",
    "amd_gpu": "counters of AMD GPUs",
    "server_process": "CPU time of a model server",
    "cpu_time": "CPU time of this process",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a check: what was looked at, how it stands, and what to do if it could be better."""

    what: str
    state: Literal["ok", "missing", "bad"]
    detail: str
    advice: str = ""


def check(files: Sequence[str | Path] = (), columns: Mapping[str, str] | None = None) -> list[Finding]:
    """Findings about files (experiments, corpora, eval sets, by path or name), or without any about this machine.

    ``columns`` names the columns of tables that are not named as usual: our field → column.
    """
    return [finding for file in files for finding in check_file(file, columns)] if files else machine()


def embedded_models() -> list[Presence]:
    """The embedded models and whether they are here and intact."""
    return [presence(weights) for weights in catalogue()]


def machine() -> list[Finding]:
    """Processor and hypervisor, what can be measured and how to measure better, engines, embedded models, extras."""
    here = processor()
    found = [
        Finding(
            what="machine",
            state="ok",
            detail=f"{here.brand}, {here.vcpus} vCPUs, {hypervisor(here)}, "
            f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, Python {platform.python_version()}",
        ),
        *_energy(here),
        _quiet_threads(),
        _engine(),
    ]
    for each in embedded_models():
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


def hypervisor(here: Processor, machine: Path = _MACHINE) -> str:
    """Whether this is a virtual machine, and whose: what its firmware says of it."""
    if not here.virtual:
        return "no hypervisor seen"
    named = [_text(machine / name) for name in ("sys_vendor", "product_name")]
    return f"virtual machine ({' '.join(filter(None, named)) or 'unnamed hypervisor'})"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _energy(here: Processor) -> list[Finding]:
    """What a run's joules are made of, then the ways to know them, best first."""
    prices = coefficients(here)
    low, central, high = prices.watts_per_busy_vcpu
    ways = tiers(here=here)
    best, reason = choose(ways)
    advice = "set WORKBENCH_WATTS_PER_VCPU if you know this machine's watts per busy vCPU"
    return [
        Finding(
            what="energy",
            state="ok",
            detail=f"estimated: CPU time × {central} W per busy vCPU ({low}–{high} W; {prices.processor}; {prices.source})",
            advice=advice,
        ),
        Finding(
            what="best meter here",
            state="ok",
            detail=f"{best}: {reason}",
            advice="runs use it, unless their experiment names another meter",
        ),
        *(
            Finding(
                what=f"meter {way.name} ({_METERS[way.name]})",
                state="ok" if way.works else "missing",
                detail=way.detail,
                advice=way.advice,
            )
            for way in ways
        ),
        Finding(
            what="meters that there are not",
            state="missing",
            detail="the energy counters of Intel's GPUs, and of processors on Windows and in Intel's Macs are not read; "
            "CPU time is used there, and what such a GPU draws is in no figure",
            advice="processors of AMD and Intel have counters on Linux; for such a GPU hold a meter of your own beside the run",
        ),
    ]


def _engine() -> Finding:
    if importlib.util.find_spec("xllamacpp") is None:
        return Finding(
            what="engine",
            state="missing",
            detail="no engine for embedded models",
            advice="run: pip install 'rag-workbench[embedded]'",
        )
    return Finding(
        what="engine", state="ok", detail=f"llama.cpp in this process (xllamacpp {version('xllamacpp')}), on the CPU"
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


def check_file(file: str | Path, columns: Mapping[str, str] | None = None) -> list[Finding]:
    """Findings about one experiment, corpus or eval set."""
    try:
        kinds = _kinds(file)
    except WorkbenchError as error:
        return _bad(str(file), error)
    found: list[Finding] = []
    for kind in kinds:
        try:
            found += _experiment(str(file)) if kind == "experiment" else _data(str(file), columns)
        except WorkbenchError as error:
            found += _bad(str(file), error)
    return found


def _bad(what: str, error: WorkbenchError) -> list[Finding]:
    problems = error.problems if isinstance(error, InputError) else (str(error),)
    return [Finding(what=what, state="bad", detail=problem) for problem in problems]


def _kinds(file: str | Path) -> list[str]:
    path = Path(file)
    if path.suffix in (".yaml", ".yml") and _exists(path) and path.is_file():
        return ["experiment"]
    kinds = ["data"] if _exists(path) or _named(file) else []
    if not _exists(path) and str(file) in experiments():
        kinds.append("experiment")
    if not kinds:
        raise InputError(
            f"{file}: neither an experiment, a corpus nor an eval set; give a path, or a name that `workbench check` knows"
        )
    return kinds


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for any file, or with a null character
        return False


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
        *findings_of(experiment.corpus, experiment.evalset, experiment.seed),
    ]


def _data(name: str, columns: Mapping[str, str] | None = None) -> list[Finding]:
    """A path may hold a corpus, an eval set, or both; a name may stand for both."""
    path = Path(name)
    if not _exists(path) and not name.startswith("hf:"):
        evalset = _or_none("evals", name)
        corpus = _or_none("corpora", name) or (corpus_of(name) if evalset else None)
        return findings_of(corpus, evalset, 0, columns)
    if (path / "evalset.yaml").is_file() and not (path / "corpus.yaml").is_file():
        return findings_of(corpus_of(name), name, 0, columns)
    there = holds(name, columns)
    evalset = name if "questions" in there else None
    return findings_of(name if "documents" in there or not evalset else None, evalset, 0, columns)


def _or_none(kind: Literal["corpora", "evals"], name: str) -> str | None:
    try:
        locate(kind, name)
    except InputError:
        return None
    return name


def findings_of(
    corpus_name: str | None, evalset_name: str | None, seed: int, columns: Mapping[str, str] | None = None
) -> list[Finding]:
    """What a corpus and an eval set, by names or paths, hold, and everything that is wrong with either."""
    bad: list[Finding] = []
    corpus = evalset = None
    places: dict[str, str] = {}
    notes: list[str] = []
    try:
        if corpus_name:
            corpus, said = read_corpus(corpus_name, columns)
            notes += said
    except InputError as error:
        bad += _bad(corpus_name or "", error)
    try:
        if evalset_name:
            evalset, places, said = read_evalset(evalset_name, corpus, seed, columns)
            notes += said
    except InputError as error:
        bad += _bad(evalset_name or "", error)
    found: list[Finding] = []
    if corpus is not None:
        report = check_data(corpus, evalset, places)
        found += describe(report, corpus.name, evalset.name if evalset else None)
    elif evalset is not None:
        found.append(
            Finding(
                what=f"{evalset.name} (eval set)",
                state="ok",
                detail=f"{len(evalset.questions)} questions; its corpus was not checked",
            )
        )
    return [*found, *(Finding(what="note", state="ok", detail=note) for note in dict.fromkeys(notes)), *bad]


def describe(report: DataReport, corpus: str, evalset: str | None) -> list[Finding]:
    """A data report as findings, at most 50 of its problems among them."""
    found = [
        Finding(
            what=f"{corpus} (corpus)",
            state="ok",
            detail=f"{report.documents} documents; tokens per document: median {report.document_tokens_p50}, "
            f"95 % below {report.document_tokens_p95}, longest {report.document_tokens_max}; "
            f"{len(report.duplicate_texts)} groups of equal texts{_examples(report.duplicate_texts)}",
        )
    ]
    if evalset is not None:
        splits = ", ".join(f"{name} {count}" for name, count in sorted(report.splits.items()))
        found.append(
            Finding(
                what=f"{evalset} (eval set)",
                state="ok",
                detail=f"{report.questions} questions ({splits}), {report.unanswerable_share or 0:.0%} unanswerable, "
                f"{report.without_evidence} answerable without evidence, {report.with_spans} with spans; "
                f"tokens per question: median {report.question_tokens_p50}, 95 % below {report.question_tokens_p95}, "
                f"longest {report.question_tokens_max}; "
                f"every accepted answer's presence in its gold text was checked: {len(report.problems)} problems",
            )
        )
    shown = [*report.problems[:_SHOWN]]
    if len(report.problems) > _SHOWN:
        shown.append(f"… and {len(report.problems) - _SHOWN} more")
    return [*found, *(Finding(what=evalset or corpus, state="bad", detail=problem) for problem in shown)]


def _examples(groups: Sequence[Sequence[str]]) -> str:
    """The first groups of documents with the same text, by id."""
    if not groups:
        return ""
    texts = (" = ".join(group[:3]) + (" = …" if len(group) > 3 else "") for group in groups[:3])
    return f" ({'; '.join(texts)}{'; …' if len(groups) > 3 else ''})"
