"""The processor's energy counters (RAPL) in the kernel's powercap files, as this process's share of the machine."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.meters._windows import Quantity, Windows

ROOTS = (Path("/sys/class/powercap"), Path("/zeus_sys/class/powercap"))
"""Where the counters are: on a machine, and where containers mount them, whose own ``/sys`` hides them."""

OPEN_FILES = "sudo chmod -R a+r /sys/class/powercap/*/energy_uj /sys/class/powercap/*/*/energy_uj"
MOUNT = "docker run -v /sys/class/powercap:/zeus_sys/class/powercap:ro"

_MOST_WATTS = 1000.0  # of one package, to say how long its counter surely takes for one turn
_SAME_JOULES = 1.0  # dies whose counters differ less are mirrors of one counter: read one after the other, at < 1 kW
_ZONES = ("*:*", "*/*:*", "*:*/*:*:*", "*/*:*/*:*:*")
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """One counter: its domain's name, its file, and how many microjoules one turn of it has (``None``: not told)."""

    domain: str
    path: Path
    range_microjoules: int | None


def read_text(path: Path) -> str:
    """What a counter's file says."""
    return path.read_text(encoding="ascii")


def zones(root: Path) -> list[Zone]:
    """The counters of packages and of memory below a powercap folder, each once.

    Parts of a package (core, uncore) are in the package already; ``psys`` holds the packages, so that it is left out; of
    the same domain offered by registers (``intel-rapl``) and by memory (``intel-rapl-mmio``) the former counts.
    """
    folders = {path.name: path for pattern in _ZONES for path in sorted(root.glob(pattern)) if path.is_dir()}
    found: dict[str, Zone] = {}
    for name, folder in sorted(folders.items(), key=lambda item: ("mmio" in item[0], item[0])):
        domain = _domain(folders, name)
        if domain and (folder / "energy_uj").exists():
            found.setdefault(
                domain,
                Zone(
                    domain=domain,
                    path=folder / "energy_uj",
                    range_microjoules=_integer(folder / "max_energy_range_uj"),
                ),
            )
    return list(found.values())


def _domain(folders: Mapping[str, Path], zone: str) -> str:
    """What a zone counts: ``package-0``, ``dram-0``; empty for what must not be counted beside them."""
    own = _text(folders[zone] / "name")
    if _PACKAGE.fullmatch(own):
        return own
    parent = zone.rpartition(":")[0]
    package = _text(folders[parent] / "name") if parent in folders else ""
    return own + package.removeprefix("package") if own == "dram" and _PACKAGE.fullmatch(package) else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() and int(text) > 0 else None


class Rapl:
    """Joules since it was built, by domain; turns of the counters are followed.

    Where any package cannot be read no domain is: a part of a machine must not pass for all of it. A counter that goes back
    by something else than a turn is left out once. The files: https://docs.kernel.org/power/powercap/powercap.html
    """

    quantity: Quantity = "joules"
    whole_machine = True
    may_rest = False
    period_seconds = 0.001  # about the counters' own

    def __init__(self, found: Sequence[Zone], read: Callable[[Path], str] = read_text) -> None:
        self.problems: dict[str, str] = {}
        self._read = read
        self._raw: dict[str, int] = {}
        self._joules: dict[str, float] = {}
        self._zones = list(found)
        first = {zone.domain: self._counter(zone) for zone in self._zones}
        self._zones = [zone for zone in self._zones if not _mirrors(zone.domain, first)]
        self.domains = tuple(zone.domain for zone in self._zones)
        turns = [zone.range_microjoules for zone in self._zones if zone.range_microjoules]
        self.longest_seconds = min(turns) / 1e6 / _MOST_WATTS if turns else math.inf

    def read(self) -> dict[str, float]:
        """Joules by domain; the domains that cannot be read now are left out."""
        found = {zone.domain: self._advance(zone) for zone in self._zones}
        if any(value is None for domain, value in found.items() if domain.startswith("package")):
            return {}
        return {domain: value for domain, value in found.items() if value is not None}

    def _advance(self, zone: Zone) -> float | None:
        now, before = self._counter(zone), self._raw.get(zone.domain)
        if now is None:
            self._raw.pop(zone.domain, None)
            return None
        self._raw[zone.domain] = now
        grown = 0 if before is None else now - before
        if grown < 0:
            grown += zone.range_microjoules or 0
            if grown < 0 or not zone.range_microjoules:
                self.problems.setdefault(zone.domain, f"{zone.path} went back from {before} to {now} µJ")
                return None
        self._joules[zone.domain] = self._joules.get(zone.domain, 0.0) + grown / 1e6
        return self._joules[zone.domain]

    def _counter(self, zone: Zone) -> int | None:
        try:
            return int(self._read(zone.path))
        except PermissionError:
            self.problems.setdefault(zone.domain, f"{zone.path} may not be read by this user; see: workbench check")
        except (OSError, ValueError) as error:
            self.problems.setdefault(zone.domain, f"{zone.path} cannot be read: {error}")
        return None


def _mirrors(domain: str, first: Mapping[str, int | None]) -> bool:
    """Whether a die's counter is that of another die of its package over again, as some AMD processors have it."""
    package, die, number = domain.partition("-die-")
    if not die:
        return False
    mine = first[domain]
    others = [
        value
        for other, value in first.items()
        if other.startswith(f"{package}-die-") and int(other.rpartition("-")[2]) < int(number)
    ]
    return mine is not None and any(value is not None and abs(mine - value) < _SAME_JOULES * 1e6 for value in others)


def find(root: str = "", roots: Sequence[Path] = ROOTS) -> list[Zone]:
    """The counters of this machine, from ``root`` or from the first of ``roots`` that has any."""
    return next((found for folder in ([Path(root)] if root else roots) if (found := zones(folder))), [])


def sources(root: str = "") -> tuple[list[Rapl], dict[str, str]]:
    """The counters as sources of windows, and why there are none."""
    found = find(root)
    if not any(zone.domain.startswith("package") for zone in found):
        return [], {"package": f"no counter in {root or ' or '.join(map(str, ROOTS))}"}
    return [Rapl(found)], {}


def build(*, root: str = "", idle_seconds: float = 2.0) -> Windows:
    """Joules of the processor's own energy counters (RAPL), this process's share of them; needs readable counters.

    ``root`` is the powercap folder where it is not in the usual places; the idle power is measured for ``idle_seconds``.
    """
    found, problems = sources(root)
    return Windows("rapl", found, idle_seconds=idle_seconds, problems=problems)
