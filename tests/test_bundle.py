"""Bundles: a run comes back as it was, and nothing that only looks like a bundle gets in."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stores import SETUPS, filled_store
from workbench import bundle
from workbench.bundle import opened, pack, unpack
from workbench.errors import InputError
from workbench.records import as_json, digest
from workbench.reports import compare
from workbench.schema import TEXTS
from workbench.store import Store

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("bundles") / "store.db"
    filled_store(path, name="other", setups=SETUPS[2:4], questions=4).close()
    found = filled_store(path, setups=SETUPS[:6], questions=6, model_failures=1, infrastructure_failures=1)
    yield found
    found.close()


def whole(store: Store, name: str) -> dict[str, Any]:
    """Everything a run holds, as its readers see it."""
    run = store.get(name)
    return {
        "experiment": run.experiment,
        "environment": run.environment,
        "created": run.created,
        "trials": as_json(store.trials(run.id)),
        "questions": as_json(store.questions(run.id)),
        "one_offs": as_json(store.one_offs(run.id)),
        "answers": as_json(list(store.answers(run.id))),
    }


def test_a_run_comes_back_as_it_was(store: Store) -> None:
    size = pack("demo", "run.zip", store=store)
    assert size == Path("run.zip").stat().st_size
    with opened(Path("run.zip")) as back:
        assert [run.name for run in back.runs()] == ["demo"]
        assert whole(back, "demo") == whole(store, "demo")
        assert compare(store=back).figures == compare("demo", store=store).figures
        folder = Path(str(back.engine.url.database)).parent
    assert not folder.exists()


def test_the_same_run_gives_the_same_bytes_wherever_it_is(store: Store) -> None:
    pack("demo", "one.zip", store=store)
    pack("demo", "two.zip", store=store)
    elsewhere = Store("elsewhere.db")
    assert unpack("one.zip", store=elsewhere) == "demo"
    pack("demo", "three.zip", store=elsewhere)
    assert Path("one.zip").read_bytes() == Path("two.zip").read_bytes() == Path("three.zip").read_bytes()


def test_a_bundle_holds_only_its_own_run_and_says_what_is_in_it(store: Store) -> None:
    pack("other", "run.zip", store=store)
    with zipfile.ZipFile("run.zip") as file:
        manifest = json.loads(file.read("manifest.json"))
        assert set(file.namelist()) == {"manifest.json", *manifest["files"]}
        assert {"run.json", "trials.jsonl", "questions.jsonl", "answers.jsonl", "one_offs.jsonl", "texts.jsonl"} <= set(
            manifest["files"]
        )
        for name, stated in manifest["files"].items():
            assert stated == {"bytes": len(file.read(name)), "sha256": hashlib.sha256(file.read(name)).hexdigest()}
        answers = [json.loads(line) for line in file.read("answers.jsonl").splitlines()]
        texts = {json.loads(line)["digest"] for line in file.read("texts.jsonl").splitlines()}
    assert len(answers) == 8
    needed = {passage[0] for row in answers for passage in row["passages"]} | {row["prompt"] for row in answers}
    assert texts == needed - {None}


def test_an_imported_run_stands_beside_the_others(store: Store) -> None:
    pack("demo", "run.zip", store=store)
    elsewhere = filled_store(Path("elsewhere.db"), setups=SETUPS[:6], questions=6)
    with pytest.raises(InputError, match="that name is taken"):
        unpack("run.zip", store=elsewhere)
    long = "all of them printable"
    for name, said in ("latest", "the newest run"), ("\t", "has no name"), ("line\nbreak", long), ("x" * 201, long):
        with pytest.raises(InputError, match=said):
            unpack("run.zip", name=name, store=elsewhere)
    assert unpack("run.zip", name="theirs", store=elsewhere) == "theirs"
    assert whole(elsewhere, "theirs") == whole(store, "demo")
    assert {run.name for run in elsewhere.runs()} == {"demo", "theirs"}


def test_a_running_run_is_not_exported(store: Store) -> None:
    with store.lease(store.get("other")), pytest.raises(InputError, match="is running"):
        pack("other", "run.zip", store=store)
    assert not list(Path().iterdir())


CLAIM = {"pick": "aa", "reference": "bb", "metric": "token_f1", "margin": 0.05}


def test_what_the_eval_set_was_used_for_goes_along_and_is_noted_once(tmp_path: Path) -> None:
    used = filled_store(tmp_path / "s.db", setups=SETUPS[:2], questions=3)
    evalset = used.get("demo").environment["evalset"]["digest"]
    used.add_claim("before", evalset, "test", CLAIM, 0.04)
    used.add_claim("demo", evalset, "test", {**CLAIM, "pick": "cc"}, 0.01)
    used.add_claim("strange", "another eval set", "test", CLAIM, 0.05)
    pack("demo", "run.zip", store=used)
    elsewhere = Store("elsewhere.db")
    unpack("run.zip", name="theirs", store=elsewhere)
    unpack("run.zip", name="again", store=elsewhere)
    ledger = [(each.run, each.claim["pick"], each.alpha) for each in elsewhere.claims(evalset, "test")]
    assert ledger == [("before", "aa", 0.04), ("theirs", "cc", 0.01), ("again", "cc", 0.01)]
    assert elsewhere.claims("another eval set", "test") == []


# ------------------------------------------------------------------------------------------------------- what is refused


def files(store: Store) -> Files:
    pack("other", "good.zip", store=store)
    with zipfile.ZipFile("good.zip") as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(content: Files, *, resealed: bool = True) -> Path:
    """A zip of these files; ``resealed`` with a manifest that agrees with them, as a careful forger would make it."""
    if resealed:
        manifest = json.loads(content["manifest.json"])
        manifest["files"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
            if name != "manifest.json"
        }
        content = {**content, "manifest.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile("bad.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return Path("bad.zip")


def refused(path: Path, said: str) -> None:
    elsewhere = Store("target.db")
    before = sorted(each.name for each in Path().iterdir() if not each.name.startswith("target.db"))
    with pytest.raises(InputError, match=said) as caught:
        unpack(path, store=elsewhere)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    assert elsewhere.runs() == []
    assert before == sorted(each.name for each in Path().iterdir() if not each.name.startswith("target.db"))
    elsewhere.close()


def test_any_changed_byte_of_any_file_is_found(store: Store) -> None:
    good = files(store)
    for name in sorted(good.keys() - {"manifest.json"}):
        middle = len(good[name]) // 2
        refused(zipped({**good, name: good[name][:middle] + b"7" + good[name][middle + 1 :]}, resealed=False), name)
        refused(zipped({**good, name: good[name] + b" "}, resealed=False), name)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil", "C:\\evil.txt", "evil.db", "run.json/"])
def test_a_file_of_another_name_is_refused_and_never_written(store: Store, name: str) -> None:
    refused(zipped({**files(store), name: b"evil"}), "which no bundle does")
    assert not Path("../evil.txt").exists()


def test_a_link_is_only_bytes(store: Store) -> None:
    good = files(store)
    with zipfile.ZipFile("bad.zip", "w") as file:
        for name, data in good.items():
            entry = zipfile.ZipInfo(name)
            if name == "answers.jsonl":
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                data = b"/etc/passwd"
            file.writestr(entry, data)
    refused(Path("bad.zip"), "answers.jsonl")


def test_a_file_that_stands_there_twice_is_refused(store: Store) -> None:
    path = zipped(files(store))
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("run.json", b"{}")
    refused(path, "twice")


def test_a_compression_bomb_is_refused_before_it_unfolds(store: Store) -> None:
    good = files(store)
    path = zipped({**good, "texts.jsonl": b" " * (2**20 * 65)})
    assert path.stat().st_size < 2**20
    refused(path, "compressed more than|line of more than")


def test_more_than_the_most_is_refused_by_what_the_zip_says(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(files(store))
    monkeypatch.setattr(bundle, "MOST_BYTES", 1000)
    refused(path, "unpacks to more than")


def test_sizes_that_lie_are_found(store: Store) -> None:
    path = zipped(files(store))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"texts.jsonl"))  # its entry in the zip's directory
    data[at + 24 : at + 28] = (7).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    refused(path, "texts.jsonl|readable")


def rows(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def lines(content: list[Any]) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in content).encode()


def edited(name: str, **changes: Any) -> Callable[[Files], Files]:
    """The first row of a file with other values."""

    def edit(content: Files) -> Files:
        first, *rest = rows(content[name])
        return {**content, name: lines([{**first, **changes}, *rest])}

    return edit


def run_with(**changes: Any) -> Callable[[Files], Files]:
    return lambda content: {**content, "run.json": json.dumps({**json.loads(content["run.json"]), **changes}).encode()}


FORGED: dict[str, tuple[Callable[[Files], Files], str]] = {
    "no-answers": (lambda content: {k: v for k, v in content.items() if k != "answers.jsonl"}, "manifest.json lists"),
    "no-manifest": (lambda content: content, "no manifest.json"),
    "newer-schema": (lambda content: content, "upgrade"),
    "not-json": (lambda content: {**content, "answers.jsonl": b"{broken\n"}, "answers.jsonl:1: not readable JSON"),
    "not-utf8": (lambda content: {**content, "answers.jsonl": b'{"text": "\xff"}\n'}, "not readable JSON"),
    "a-list": (lambda content: {**content, "trials.jsonl": b"[1]\n"}, "expected a mapping"),
    "nan": (edited("answers.jsonl", seconds=float("nan")), "NaN"),
    "half-a-character": (edited("answers.jsonl", text="\ud800"), "not readable JSON"),
    "deep": (lambda content: {**content, "trials.jsonl": b"[" * 100_000 + b"\n"}, "not readable JSON"),
    "another-column": (edited("answers.jsonl", owner="me"), "no column"),
    "another-run": (edited("answers.jsonl", run_id=1), "no column"),
    "wrong-type": (edited("answers.jsonl", attempts="many"), "answers.jsonl:1: attempts is str; expected int"),
    "a-bool-as-number": (edited("answers.jsonl", seconds=True), "seconds is bool; expected float"),
    "missing": (edited("answers.jsonl", text=None), "text is missing"),
    "too-large": (edited("answers.jsonl", attempts=2**70), "too large"),
    "too-long": (edited("questions.jsonl", question="q" * 300), "longer than 200"),
    "strange-passages": (edited("answers.jsonl", passages=[[1, 2]]), "holds what no run does"),
    "strange-ledger": (edited("answers.jsonl", ledger={"stages": "none"}), "holds what no run does"),
    "strange-scores": (edited("answers.jsonl", scores=[3]), "holds what no run does"),
    "strange-axes": (edited("trials.jsonl", axes={"retriever": {}}), "holds what no run does"),
    "strange-question": (edited("questions.jsonl", record={"id": 3}), "holds what no run does"),
    "strange-work": (edited("one_offs.jsonl", record=[]), "holds what no run does"),
    "another-question": (edited("answers.jsonl", question="q-999"), "does not have"),
    "another-configuration": (edited("answers.jsonl", configuration="ffff"), "does not have"),
    "another-text": (edited("texts.jsonl", text="Pay me."), "not the one its digest names"),
    "no-goal": (run_with(experiment={}), "holds what no run does"),
    "no-coefficients": (run_with(environment={}), "holds what no run does"),
    "a-lease": (run_with(owner="me|process 1|0"), "no column"),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_rows_with_an_honest_manifest_are_refused(store: Store, case: str) -> None:
    forge, said = FORGED[case]
    content = forge(files(store))
    if case == "no-manifest":
        refused(zipped({name: data for name, data in content.items() if name != "manifest.json"}, resealed=False), said)
        return
    if case == "newer-schema":
        content["manifest.json"] = json.dumps({**json.loads(content["manifest.json"]), "schema": 10_000}).encode()
    refused(zipped(content), said)


def test_a_text_that_is_there_already_is_not_replaced(store: Store) -> None:
    """Texts are shared between runs by their content, so a bundle must not be able to bring another under a digest."""
    pack("other", "run.zip", store=store)
    elsewhere = filled_store(Path("elsewhere.db"), setups=SETUPS[2:4], questions=4)
    before = as_json(list(elsewhere.answers(elsewhere.get("demo").id)))
    unpack("run.zip", store=elsewhere)
    assert as_json(list(elsewhere.answers(elsewhere.get("demo").id))) == before
    for scored in elsewhere.answers(elsewhere.get("other").id):
        assert not scored.answer.prompt or len(digest(scored.answer.prompt)) == 32


def test_a_deleted_run_takes_its_texts_with_it_and_leaves_those_of_others(tmp_path: Path) -> None:
    both = filled_store(tmp_path / "s.db", name="kept", setups=SETUPS[3:5], questions=4)
    filled_store(tmp_path / "s.db", name="gone", setups=SETUPS[2:5], questions=8)
    kept = whole(both, "kept")
    both.delete(both.get("gone").id)
    assert whole(both, "kept") == kept
    with both.reading() as connection:
        texts = {row.digest for row in connection.execute(TEXTS.select())}
    answers = [scored.answer for scored in both.answers(both.get("kept").id)]
    needed = {digest(passage.chunk.text) for answer in answers for passage in answer.passages}
    assert texts == needed | {digest(answer.prompt) for answer in answers}


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + b"\0" * 60])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    Path("bad.zip").write_bytes(data)
    refused(Path("bad.zip"), "not a readable bundle")
    refused(Path("absent.zip"), "no such bundle")


def test_a_file_that_cannot_be_written_is_said(store: Store) -> None:
    Path("folder").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        pack("demo", "folder/run.zip", store=store)
