"""Plans with seconds and joules for whoever must not load models itself: made by a process of its own.

Run as a module it is that process: an experiment as JSON on standard input, lines of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from workbench.errors import InputError, MachineError, WorkbenchError
from workbench.planning import plan
from workbench.plans import Plan, as_mapping, from_mapping
from workbench.playground import with_ours
from workbench.records import as_json

_LAST_WORDS = 2_000  # bytes


def timed_plan(experiment: Mapping[str, Any], *, report: Callable[[str], None] = lambda doing: None) -> Plan:
    """``plan`` with a few answers of every model timed, while this process loads none; ``report`` hears what it is about.

    Seconds to some minutes. An exception of ``report`` ends the process. Raises ``InputError`` for an experiment that cannot
    be planned, ``MachineError`` where the process ended by itself.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "workbench.plan_apart"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": with_ours()},
                start_new_session=True,
            )
        except OSError as error:
            raise MachineError(f"the plan's process cannot be started: {error.strerror or error}") from error
        try:
            for message in _said(process, experiment):
                if "plan" in message:
                    return from_mapping(message["plan"])
                if "problems" in message:
                    raise InputError(message["problems"])
                report(message["doing"])
        finally:
            process.kill()
            process.wait()
        errors.seek(0, os.SEEK_END)
        errors.seek(max(errors.tell() - _LAST_WORDS, 0))
        last = errors.read().decode("utf-8", "replace").strip().splitlines()
    raise MachineError(f"the plan's process ended without a plan{': ' + last[-1] if last else ''}; try it again")


def _said(process: subprocess.Popen[str], experiment: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError), process.stdin:  # what it died of is read afterwards
        process.stdin.write(json.dumps(experiment))
    with process.stdout:
        for line in process.stdout:
            yield json.loads(line)


def main() -> None:
    """Plan what comes in; what libraries print goes to standard error."""
    outgoing = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: Mapping[str, Any]) -> None:
        outgoing.write(as_json(message) + "\n")
        outgoing.flush()

    try:
        found = plan(json.load(sys.stdin), report=lambda doing: say({"doing": doing}))
        say({"plan": as_mapping(found)})
    except WorkbenchError as error:
        say({"problems": str(error).splitlines()})


if __name__ == "__main__":
    main()
