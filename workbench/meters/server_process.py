"""The CPU clock of a server's process with its children (Ollama, llama-server, vLLM), beside this process's own."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping

import psutil

from workbench.meters._windows import Quantity, Windows

_SERVERS = ("ollama", "llama-server", "vllm")
_TICK = 0.01  # seconds; the system's clocks of other processes advance in such steps
_FAMILY_SECONDS = 0.5  # how often children are looked for, which reads about every process of the machine


class ServerProcess:
    """CPU-seconds of a process and its children, those that came and went included, as the system books them.

    The children that have ended are in their parent's clock once it has waited for them. From its end on a process is not
    read any more, even where another one gets its number.
    """

    quantity: Quantity = "cpu_seconds"
    whole_machine = False
    may_rest = True
    period_seconds = _TICK
    longest_seconds = math.inf

    def __init__(self, process: psutil.Process, port: int = 0) -> None:
        self._process = process
        self.ports = _ports(process) | ({port} if port else set())
        self._children: list[psutil.Process] = []
        self._looked = -math.inf
        self._name = f"process {process.pid}"
        self.domains: tuple[str, ...] = (self._name,)
        self.problems: dict[str, str] = {}
        self._seen = 0.0
        self._grown = 0.0
        self._fell = False
        self._ended = False

    def read(self) -> Mapping[str, float]:
        """CPU-seconds so far; nothing once the process has ended or may not be looked at."""
        if self._ended:
            return {}
        try:
            if not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE:
                raise psutil.NoSuchProcess(self._process.pid)
            if time.monotonic() - self._looked >= _FAMILY_SECONDS:
                self._children, self._looked = self._process.children(recursive=True), time.monotonic()
            spent = _cpu_seconds(self._process) + sum(map(_or_nothing, self._children))
        except psutil.NoSuchProcess:
            self._ended = True
            self.problems.setdefault(self._name, "the server's process has ended")
            return {}
        except psutil.Error as error:
            self.problems.setdefault(self._name, f"the server's process cannot be read: {error}")
            return {}
        if spent >= self._seen or self._fell:  # twice less: a child that nobody waited for took its clock with it
            self._grown += max(spent - self._seen, 0.0)
            self._seen, self._fell = spent, False
        else:  # once: a child ended between two looks, and its parent's clock will have it
            self._fell = True
        return {self._name: self._grown}


def _ports(process: psutil.Process) -> set[int]:
    """The ports that a process and its children listen on, as far as the system shows them."""
    found = set()
    try:
        for each in (process, *process.children(recursive=True)):
            found |= {
                connection.laddr.port
                for connection in each.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    except psutil.Error:
        pass
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)


def _or_nothing(child: psutil.Process) -> float:
    try:
        return _cpu_seconds(child)
    except psutil.Error:  # it ended meanwhile: its parent's clock has it, or will
        return 0.0


def find(*, pid: int = 0, port: int = 0, process: str = "") -> tuple[psutil.Process | None, str]:
    """The server's process by its number, the port it listens on or its name, and why there is none."""
    try:
        if pid:
            found, wanted = _pid(pid), f"process {pid}"
        elif port:
            found, wanted = _listening(port), f"a process that listens on port {port}"
        elif process:
            found, wanted = _named(process), f"a process named {process!r}"
        else:
            return None, "no server is named; give its pid, its port, or its process's name"
    except psutil.AccessDenied:
        return None, "the system does not show other users' processes; run as the server's user, or give its pid"
    if found is None:
        return None, f"there is no {wanted.removeprefix('a ')} that can be seen from here"
    if found.pid == os.getpid():
        return None, f"{wanted} is this very process, whose clock is read anyhow"
    return found, ""


def _pid(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except (psutil.NoSuchProcess, ValueError):
        return None


def _listening(port: int) -> psutil.Process | None:
    for connection in psutil.net_connections(kind="tcp"):
        if (
            connection.status == psutil.CONN_LISTEN
            and getattr(connection.laddr, "port", None) == port
            and connection.pid
        ):
            return _pid(connection.pid)
    return None


def _named(name: str) -> psutil.Process | None:
    """The first other one of that name: its children are counted with it."""
    found = [
        each
        for each in psutil.process_iter(["name", "create_time"])
        if each.info["name"] == name and each.pid != os.getpid()
    ]
    return min(found, key=lambda each: float(each.info["create_time"] or math.inf), default=None)


def running() -> list[str]:
    """The model servers that run on this machine, with their process numbers: ``ollama (pid 71)``."""
    found = [each for each in psutil.process_iter(["name"]) if each.info["name"] in _SERVERS]
    return [f"{each.info['name']} (pid {each.pid})" for each in found]


class Unnamed:
    """A server that is not there: its clock is unknown, so that nothing passes for the whole."""

    quantity: Quantity = "cpu_seconds"
    domains: tuple[str, ...] = ("server",)
    whole_machine = False
    may_rest = True
    period_seconds = math.inf
    longest_seconds = math.inf

    def __init__(self, reason: str, port: int = 0) -> None:
        self.ports = {port} if port else set()
        self.problems = {"server": reason}

    def read(self) -> Mapping[str, float]:
        """Nothing."""
        return {}


def source(*, pid: int = 0, port: int = 0, process: str = "") -> ServerProcess | Unnamed:
    """A server as a source of windows."""
    found, reason = find(pid=pid, port=port, process=process)
    return Unnamed(reason, port) if found is None else ServerProcess(found, port)


def build(*, pid: int = 0, port: int = 0, process: str = "", idle: bool = False) -> Windows:
    """CPU-seconds of a model server on this machine with its children, added to this process's own.

    The server is named by ``pid``, by the ``port`` it listens on, or by its ``process`` name (``ollama``). From its end on
    ``cpu_seconds`` is not measured. Of what models answer there, no tokens are priced beside its clock: a model belongs to
    it by the port in its address; give ``port`` beside ``pid`` where another process forwards it. With ``idle`` the vCPUs
    that nobody uses are charged, too.
    """
    return Windows("server_process", [source(pid=pid, port=port, process=process)], idle=idle)
