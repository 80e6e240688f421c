"""The shipped fake of ``zeus_apple_silicon``: a chip whose counters and failures are told beforehand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeMetrics:
    """Millijoules since the chip was started, ``None`` for what it does not tell."""

    cpu_total_mj: int | None = None
    dram_mj: int | None = None
    gpu_mj: int | None = None
    gpu_sram_mj: int | None = None
    ane_mj: int | None = None


class FakeApple:
    """In place of the module: ``chip`` is what every look at the counters finds; a text instead is a failure."""

    def __init__(self, chip: FakeMetrics | str, *, starts: bool = True) -> None:
        self.chip = chip
        self._starts = starts

    def AppleEnergyMonitor(self) -> FakeApple:
        """A view of the chip."""
        if not self._starts:
            raise RuntimeError("Failed to create IOReport subscription.")
        return self

    def get_cumulative_energy(self) -> FakeMetrics:
        """What the chip counted so far."""
        if isinstance(self.chip, str):
            raise RuntimeError(self.chip)
        return self.chip
