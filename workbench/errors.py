"""What can go wrong, in one tree; every message names the value, the rule and the next step.

::

    WorkbenchError                 exit code 2 unless said otherwise
    ├── InputError                 files, options and data that cannot be used (2); carries every problem found
    ├── MachineError               something is missing on this machine: a model, a library, a database (4)
    │   ├── MissingLibrary         an extra that is not installed
    │   └── StoreError             the database cannot be opened or written
    ├── NotComparable              two things that must not be compared or continued (5)
    ├── Stopped                    ended by budget or by request; the run can be resumed (3)
    └── GenerationError            one answer failed; becomes a Failure record, never ends a run
        ├── ModelFailure           the model's doing: scores 0, keeps its cost
        └── InfrastructureFailure  the surroundings' doing: retried, then the trial is incomplete
"""

from __future__ import annotations

from collections.abc import Sequence


class WorkbenchError(Exception):
    """Anything this package reports on purpose."""

    exit_code = 2


class InputError(WorkbenchError):
    """Input that cannot be used; ``problems`` lists every one found, so that all can be mended at once."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class MachineError(WorkbenchError):
    """Something this machine lacks."""

    exit_code = 4


class MissingLibrary(MachineError):
    """A library that an extra of this package would bring."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; run: pip install 'rag-workbench[{extra}]'")


class StoreError(MachineError):
    """The database cannot be opened, read or written."""


class NotComparable(WorkbenchError):
    """Two runs, or a run and its continuation, that differ in something that must be equal."""

    exit_code = 5


class Stopped(WorkbenchError):
    """The run ended before its work did: budget, request or interrupt. Run the same command again to continue."""

    exit_code = 3


class GenerationError(WorkbenchError):
    """One answer that could not be made. ``code`` is a short stable word, the message is for people."""

    kind = ""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class ModelFailure(GenerationError):
    """Caused by the model or the prompt (context overflow, empty output): the answer scores 0 and keeps its cost."""

    kind = "model"


class InfrastructureFailure(GenerationError):
    """Caused by what surrounds the model (time-out, 429, 5xx, lost connection): retried with backoff."""

    kind = "infrastructure"

    def __init__(self, code: str, message: str, *, retry_after: float | None = None, permanent: bool = False) -> None:
        self.retry_after = retry_after
        self.permanent = permanent
        super().__init__(code, message)
