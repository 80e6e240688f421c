"""The shipped fake of NVIDIA's library: GPUs whose counters, utilisation and failures are told beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


class FakeNvmlError(Exception):
    """What the library raises for whatever it cannot do."""


@dataclass(slots=True, kw_only=True)
class FakeGpu:
    """One GPU: what each question to its counter and its utilisation is answered, in order; the last answer stays.

    ``None`` instead of a value is a failure; an empty list a GPU that has no such thing.
    """

    name: str = "Fake GPU"
    millijoules: Iterable[int | None] = ()
    utilisation_percent: Iterable[int | None] = ()
    limit_watts: float = 300.0
    _asked: dict[str, Iterator[int | None]] = field(default_factory=dict)
    _last: dict[str, int | None] = field(default_factory=dict)

    def answer(self, what: str) -> int:
        """The next value of ``millijoules`` or ``utilisation_percent``."""
        answers = self._asked.setdefault(what, iter(getattr(self, what)))
        self._last[what] = next(answers, self._last.get(what))
        value = self._last[what]
        if value is None:
            raise FakeNvmlError(f"{what}: not supported")
        return value


class FakeNvml:
    """In place of the module ``pynvml``; without a driver it fails as that does."""

    NVMLError = FakeNvmlError

    def __init__(self, gpus: Sequence[FakeGpu] = (), *, driver: bool = True) -> None:
        self._gpus = list(gpus)
        self._driver = driver

    def nvmlInit(self) -> None:
        """Start the library."""
        if not self._driver:
            raise FakeNvmlError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:
        """How many GPUs there are."""
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        """One of them."""
        if not 0 <= index < len(self._gpus):
            raise FakeNvmlError("Invalid Argument")
        return self._gpus[index]

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        """Its name."""
        return gpu.name

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        """Millijoules since the driver was loaded."""
        return gpu.answer("millijoules")

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> Any:
        """Its utilisation over the last moments, in percent."""
        return _Rates(gpu=gpu.answer("utilisation_percent"))

    def nvmlDeviceGetPowerManagementLimit(self, gpu: FakeGpu) -> int:
        """The most it may draw, in milliwatts."""
        return int(gpu.limit_watts * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rates:
    gpu: int
