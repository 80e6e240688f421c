"""The shipped fake of AMD's library: GPUs whose counters, power, utilisation and failures are told beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


class FakeAmdSmiException(Exception):
    """What the library raises for whatever it cannot do, over two lines as it does."""

    def __init__(self, said: str) -> None:
        super().__init__(f"Error code:\n\t{said}")


@dataclass(slots=True, kw_only=True)
class FakeAmdGpu:
    """One GPU: what each question is answered, in order; the last answer stays.

    ``None`` instead of a value is a failure, ``"N/A"`` what the library says of what a GPU does not tell; an empty list is a
    GPU that has no such thing.
    """

    name: str = "Fake Instinct"
    counts: Iterable[int | str | None] = ()
    watts: Iterable[int | str | None] = ()
    utilisation_percent: Iterable[int | str | None] = ()
    microjoules_per_count: float = 15.259
    failure: str = "2 | AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported"
    _asked: dict[str, Iterator[Any]] = field(default_factory=dict)
    _last: dict[str, Any] = field(default_factory=dict)

    def answer(self, what: str) -> Any:
        """The next value of ``counts``, ``watts`` or ``utilisation_percent``."""
        answers = self._asked.setdefault(what, iter(getattr(self, what)))
        self._last[what] = next(answers, self._last.get(what))
        if self._last[what] is None:
            raise FakeAmdSmiException(self.failure)
        return self._last[what]


class FakeAmdSmi:
    """In place of the module ``amdsmi``; without a driver it fails as that does."""

    AmdSmiException = FakeAmdSmiException

    def __init__(self, gpus: Sequence[FakeAmdGpu] = (), *, driver: bool = True) -> None:
        self._gpus = list(gpus)
        self._driver = driver

    def amdsmi_init(self) -> None:
        """Start the library."""
        if not self._driver:
            raise FakeAmdSmiException("34 | AMDSMI_STATUS_DRIVER_NOT_LOADED - Driver not loaded")

    def amdsmi_get_processor_handles(self) -> list[FakeAmdGpu]:
        """The GPUs."""
        return self._gpus

    def amdsmi_get_gpu_asic_info(self, gpu: FakeAmdGpu) -> dict[str, Any]:
        """What it is."""
        return {"market_name": gpu.name, "vendor_id": 4098}

    def amdsmi_get_energy_count(self, gpu: FakeAmdGpu) -> dict[str, Any]:
        """Its energy counter, and what one count of it is in microjoules."""
        return {
            "energy_accumulator": gpu.answer("counts"),
            "counter_resolution": gpu.microjoules_per_count,
            "timestamp": 0,
        }

    def amdsmi_get_power_info(self, gpu: FakeAmdGpu) -> dict[str, Any]:
        """The watts that it draws; which of the three is told depends on the GPU."""
        return {"socket_power": "N/A", "current_socket_power": gpu.answer("watts"), "average_socket_power": "N/A"}

    def amdsmi_get_gpu_activity(self, gpu: FakeAmdGpu) -> dict[str, Any]:
        """Its utilisation in percent."""
        return {"gfx_activity": gpu.answer("utilisation_percent"), "umc_activity": "N/A", "mm_activity": "N/A"}
