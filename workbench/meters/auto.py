"""The best meter that works on this machine, and why not a better one."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench import registry
from workbench.coefficients import Processor, processor
from workbench.errors import WorkbenchError
from workbench.meters import amd_gpu, apple, rapl
from workbench.meters._gpus import Gpu
from workbench.meters._windows import Source, Windows
from workbench.meters.cpu_time import CpuTime
from workbench.meters.server_process import running
from workbench.meters.server_process import source as server_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One way to know energy: whether it works here, what it would say or why it cannot, and what to do about it."""

    name: str
    works: bool
    detail: str
    advice: str = ""


def tiers(
    *,
    root: str = "",
    here: Processor | None = None,
    nvml: Any = None,
    amdsmi: Any = None,
    chip: Any = None,
    system: str = "",
) -> list[Tier]:
    """The ways to know energy, best first, each with what it takes.

    ``nvml``, ``amdsmi`` and ``chip`` stand in for the libraries of NVIDIA, of AMD and for Apple's chips.
    """
    system = system or platform.system()
    processors = _apple(chip) if system == "Darwin" else _counters(root, here or processor(), system)
    return [processors, _gpus(nvml), _amd_gpus(amdsmi), _server(), _cpu_time()]


def _counters(root: str, here: Processor, system: str) -> Tier:
    found, problems = rapl.sources(root)
    if found:
        problems = found[0].problems
        if readable := tuple(found[0].read()):
            return Tier(
                name="rapl",
                works=True,
                detail=f"counters of {', '.join(readable)} can be read: joules of the package, "
                "this process's share by CPU time; power supply, fans and disks are in none",
                advice="; ".join(problems.values()),
            )
        return Tier(
            name="rapl",
            works=False,
            detail="; ".join(problems.values()),
            advice=f"run: {rapl.OPEN_FILES} (on the host; only root may read them since CVE-2020-8694, because a local user "
            "could infer secrets from them)",
        )
    if here.virtual:
        advice = "a virtual machine's host keeps its counters to itself; on bare metal they can be read"
    elif system != "Linux":
        advice = "the counters are read on Linux and on Apple silicon only"
    else:
        advice = f"load the driver (modprobe intel_rapl_msr); in a container mount them: {rapl.MOUNT}"
    return Tier(name="rapl", works=False, detail="; ".join(problems.values()), advice=advice)


def _apple(chip: Any) -> Tier:
    found, problems = apple.sources(chip)
    if not found:
        return Tier(
            name="apple",
            works=False,
            detail="; ".join(problems.values()),
            advice="on a Mac with Apple silicon: pip install 'rag-workbench[apple]'; Intel's Macs are not read",
        )
    domains = ", ".join(domain for source in found for domain in source.domains)
    return Tier(
        name="apple",
        works=True,
        detail=f"the chip's own counters of {domains} can be read: this process's share of processor and memory by CPU time, "
        "the GPU whole; screen, power supply and disks are in none",
        advice="; ".join(problems.values()),
    )


def _gpus(nvml: Any) -> Tier:
    try:
        gpu = registry.load("meters", "gpu")[0]
    except WorkbenchError as error:
        return Tier(name="gpu", works=False, detail="NVIDIA GPUs were not looked for", advice=str(error))
    found, reason = gpu.gpus(*([] if nvml is None else [nvml]))
    return _devices(
        "gpu",
        found,
        reason,
        advice="with an NVIDIA GPU: install its driver, and start containers with --gpus all",
    )


def _amd_gpus(amdsmi: Any) -> Tier:
    found, reason = amd_gpu.gpus(amdsmi)
    return _devices(
        "amd_gpu",
        found,
        reason,
        advice="with an AMD GPU: install ROCm and pip install 'rag-workbench[amd]' (of ROCm's version; or pip install "
        "/opt/rocm/share/amd_smi), join the groups render and video, and start containers with --device /dev/kfd --device "
        "/dev/dri; a virtual machine's host keeps the counters to itself",
    )


def _devices(name: str, found: Sequence[Gpu], reason: str, *, advice: str) -> Tier:
    usable = [each for each in found if each.usable]
    problems = "; ".join(f"{each.domain}: {each.problem}" for each in found if each.problem)
    if not usable:
        return Tier(
            name=name,
            works=False,
            detail=reason or problems or "the driver tells neither energy nor utilisation",
            advice=advice,
        )
    shown = [
        f"{each.domain} {each.name} ({'energy counter' if each.counts else 'utilisation × time'}"
        + (f", limit {each.limit_watts:.0f} W)" if each.limit_watts else ")")
        for each in usable
    ]
    return Tier(name=name, works=True, detail=f"{'; '.join(shown)}; whole devices, whoever uses them", advice=problems)


def _server() -> Tier:
    servers = ", ".join(running())
    return Tier(
        name="server_process",
        works=bool(servers),
        detail=f"CPU-seconds with children of {servers}" if servers else "no Ollama, llama-server or vLLM runs here",
        advice="" if servers else "any other server's clock can be read by its pid, port or process name",
    )


def _cpu_time() -> Tier:
    return Tier(
        name="cpu_time",
        works=True,
        detail="CPU-seconds of this process × watts per busy vCPU; absolute figures are known to about a factor of two, "
        "comparisons on this machine far better",
    )


def choose(found: list[Tier]) -> tuple[str, str]:
    """The source of the processor's joules by these tiers, and why."""
    counters = next((tier for tier in found if tier.name in ("rapl", "apple")), None)
    if counters is not None and counters.works:
        return counters.name, counters.detail
    return "cpu_time", f"no readable energy counter ({counters.detail})" if counters else "no energy counter"


def build(
    *,
    root: str = "",
    idle_seconds: float = 2.0,
    idle: bool = False,
    server_pid: int = 0,
    server_port: int = 0,
    server_process: str = "",
) -> Windows | CpuTime:
    """The best that works here: energy counters of processor and GPUs, else CPU time; and a model server's clock if named.

    ``root`` is the powercap folder where it is not in the usual places; the idle power is measured for ``idle_seconds``. With
    ``idle`` the vCPUs that nobody uses are charged where energy is estimated from CPU time; counters have them anyhow.
    """
    sources: list[Source] = []
    found: Sequence[Source]
    if platform.system() == "Darwin" and not root:
        found, problems = apple.sources()
        sources += found
    else:
        found, problems = rapl.sources(root)
        if found and found[0].read():
            sources += found
        elif found:
            problems = dict(found[0].problems)
    try:
        devices, lacking = registry.load("meters", "gpu")[0].sources()
    except WorkbenchError as error:
        devices, lacking = [], {"gpu": str(error)}
    sources += devices
    taken = {domain for each in devices for domain in each.domains} | {name for name in lacking if name != "gpu"}
    others, missing = amd_gpu.sources(first=len(taken))
    sources += others
    if not (sources or found or server_pid or server_port or server_process):
        return CpuTime(idle=idle)  # there is nothing else to ask here
    if server_pid or server_port or server_process:
        sources.append(server_source(pid=server_pid, port=server_port, process=server_process))
    return Windows("auto", sources, idle_seconds=idle_seconds, idle=idle, problems={**problems, **lacking, **missing})
