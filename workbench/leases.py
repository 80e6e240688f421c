"""Who writes a run: a process by its host, number and start; it holds the run while it lives, or beats where one cannot look."""

from __future__ import annotations

import os
import socket
import time

import psutil

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 30.0


def identity() -> str:
    """This process, as the owner of a lease."""
    return f"{socket.gethostname()}|process {os.getpid()}|{psutil.Process().create_time():.2f}"


def alive(owner: str, heartbeat: float | None) -> bool:
    """Whether a lease still holds: on this host by its process, elsewhere by its heartbeat."""
    process = process_here(owner)
    if process is None:
        return heartbeat is not None and time.time() - heartbeat < LEASE_SECONDS
    try:
        return f"{psutil.Process(process).create_time():.2f}" == owner.split("|")[2]
    except psutil.Error:
        return False


def process_here(owner: str) -> int | None:
    """The number of the owner's process where it is on this machine."""
    host, process, _ = owner.split("|")
    return int(process.split()[1]) if host == socket.gethostname() else None
