"""Index files on disk: all there and unharmed, or not there at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from workbench.errors import MachineError

_CHECKSUMS = "checksums.json"


def intact(folder: Path | None) -> bool:
    """Whether a folder holds a complete index whose files are as they were written."""
    if folder is None:
        return False
    try:
        checksums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        return all(_checksum(folder / name) == checksum for name, checksum in checksums.items())
    except (OSError, ValueError, AttributeError):
        return False


def store(folder: Path | None, write: Callable[[Path], None]) -> None:
    """Fill a folder with what ``write`` puts into the one it is given, in one step.

    The files are written beside it and renamed, so that a killed process leaves nothing half-written. Without a folder
    nothing happens.
    """
    if folder is None:
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            write(fresh)
            checksums = {path.name: _checksum(path) for path in fresh.iterdir()}
            (fresh / _CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
            _replace(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except (OSError, RuntimeError) as error:  # faiss reports a full disk as RuntimeError
        raise MachineError(
            f"cannot write the index to {folder}: {error}; free some space or make the folder writable"
        ) from error


def _checksum(path: Path) -> str:
    """Of a file that may not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _replace(fresh: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        fresh.rename(folder)
    except OSError:
        # Another process may have stored the same index since; its files are as good.
        if not intact(folder):
            raise
