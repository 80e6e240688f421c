"""What a run's figures depend on besides its experiment: machine, packages, meter, coefficients, data."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

import psutil

import workbench
from workbench.coefficients import coefficients, processor, restore, with_hosted
from workbench.contracts import Meter
from workbench.hosted import of_choices
from workbench.records import Corpus, EvalSet, digest

_PACKAGES = (
    "numpy",
    "bm25s",
    "bpe-openai",
    "xllamacpp",
    "sentence-transformers",
    "torch",
    "faiss-cpu",
    "langchain",
    "sqlalchemy",
    "ecologits",
    "codecarbon",
)
_MUST_NOT_CHANGE = {
    "corpus": "the corpus",
    "evalset": "the eval set",
    "processor": "the machine's processor",
    "vcpus": "the machine's vCPUs",
    "meter": "the meter",
    "judges": "what a judge is asked",
}


def environment(
    corpus: Corpus,
    evalset: EvalSet,
    meter: Meter,
    judges: Mapping[str, str],
    experiment: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """The environment of a run, as it is stored with it; ``judges`` maps metrics that ask a model to their prompts.

    ``experiment`` is the experiment as it is stored, for the coefficients of the hosted models it names.
    """
    asked = {"prompts": dict(judges), "digest": digest(*(part for pair in sorted(judges.items()) for part in pair))}
    return {
        **machine(meter),
        "coefficients": asdict(with_hosted(coefficients(), *of_choices(experiment))),
        "corpus": {"name": corpus.name, "digest": corpus.digest, "documents": len(corpus.documents)},
        **({"judges": asked} if judges else {}),
        "evalset": {"name": evalset.name, "digest": evalset.digest, "questions": len(evalset.questions)},
    }


def machine(meter: Meter) -> dict[str, Any]:
    """What a run's figures depend on of the machine that this process runs on, and of what is installed there."""
    here = processor()
    return {
        "workbench": workbench.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": here.brand,
        "vcpus": here.vcpus,
        "virtual": here.virtual,
        "memory_bytes": psutil.virtual_memory().total,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "meter": meter.name,
        "meter_problems": dict(getattr(meter, "problems", {})),
        "coefficients": asdict(coefficients(here)),
    }


def with_new_models(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The environment of a run that goes on, with coefficients of the hosted models that its space gained; others stay."""
    old, new = restore(before["coefficients"]), restore(now["coefficients"])
    hosted = {**new.hosted, **old.hosted}
    unknown = {name: why for name, why in new.not_estimated.items() if name not in hosted}
    if hosted == old.hosted and unknown == old.not_estimated:
        return before
    return {**before, "coefficients": asdict(with_hosted(old, hosted, unknown))}


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments although one run must not mix it, in words."""
    found = []
    for key, what in _MUST_NOT_CHANGE.items():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            old, new = old.get("digest"), new.get("digest")
        if old != new:
            found.append(f"{what} changed ({old} → {new})")
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
