"""Prompt templates: text files with sections, the static part first so that an engine's prefix cache can hold it.

A template may begin with a YAML header between lines of ``---``: ``description``; ``cites: true`` where the answer names
passages as ``[2]``; ``answer: json`` where it is the field ``answer`` of a JSON object (``passages`` names those it stands
in), ``answer: last`` where it is the last line, after ``Answer:``. Its sections are
``[system]``, any number of ``[example user]`` / ``[example assistant]`` pairs, ``[context]`` (shown only where there are
passages), ``[user]`` (must hold ``{question}``; ``{context}`` says where the passages go) and ``[cue]`` (what a text
model continues).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from workbench.errors import InputError
from workbench.records import Message, Passage, Prompt, digest

_SHIPPED = Path(__file__).parent / "prompts"
_SECTION = re.compile(r"^\[(system|example user|example assistant|context|user|cue)\]\n", re.MULTILINE)
_PLACE = re.compile(r"\{(question|passages|context)\}")
_CITATION = re.compile(r"\s*\[(\d+)\]")
_ANSWER_LINE = re.compile(r"^\W{0,8}answer[*_ ]{0,4}:[*_\s]*(\S.*)", re.IGNORECASE | re.MULTILINE)
_FORMS = ("plain", "json", "last")

Form = Literal["plain", "json", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a template finds in a completion: the answer, the passages it names, and why it is not usable (empty: it is)."""

    answer: str
    citations: tuple[int, ...] = ()
    malformed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A worked example: a question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A prompt template: its text's digest, the fixed messages, and the parts that vary with the question."""

    name: str
    description: str
    digest: str
    cites: bool
    form: Form
    static: tuple[Message, ...]
    user: str
    context: str
    cue: str

    def render(self, question: str, passages: Sequence[Passage], examples: Sequence[Example] = ()) -> Prompt:
        """The prompt for one question, after its examples; what question and passages contain is never read as a placeholder."""
        shown = []
        for example in examples:
            asked = _fill(self.user, {"question": example.question, "context": ""})
            shown += [
                Message(role="user", content=asked),
                Message(role="assistant", content=self._formed(example.answer)),
            ]
        numbered = "\n".join(f"[{number}] {passage.chunk.text}" for number, passage in enumerate(passages, 1))
        context = _fill(self.context, {"passages": numbered}).rstrip() + "\n\n" if passages else ""
        user = _fill(self.user, {"question": question, "context": context})
        return Prompt(messages=(*self.static, *shown, Message(role="user", content=user)), cue=self.cue)

    def read(self, completion: str, passages: int) -> Reading:
        """The answer in a completion, in the form this template asks for."""
        text = completion.strip()
        if self.form == "json":
            return _read_json(text, passages)
        if self.form == "last":
            named = [found for found in _ANSWER_LINE.findall(text) if found.strip()]
            text = (named or text.splitlines() or [""])[-1].strip()
        if not self.cites:
            return Reading(answer=text)
        cited = _within(passages, map(int, _CITATION.findall(text)))
        return Reading(answer=_CITATION.sub("", text).strip() if cited else text, citations=cited)

    def _formed(self, answer: str) -> str:
        """An example's answer as this template wants answers to look."""
        if self.form == "json":
            return json.dumps({"answer": answer, "passages": []}, ensure_ascii=False)
        return f"Answer: {answer}" if self.form == "last" else answer


def available() -> list[str]:
    """Template names: those of the project folder's ``prompts`` and those that ship."""
    return sorted({path.stem for folder in (Path("prompts"), _SHIPPED) for path in folder.glob("*.txt")})


def load(name: str) -> Template:
    """A template by path, or by name from the project folder's ``prompts``, then from what ships."""
    return _parse(*_found(name))


def prompt_text(name: str) -> str:
    """The text of a prompt template as it stands in its file, by path or by name."""
    load(name)  # what is wrong with it is told first
    return _found(name)[0].read_text(encoding="utf-8")


def _found(name: str) -> tuple[Path, int]:
    for path in (Path(name), Path("prompts") / f"{name}.txt", _SHIPPED / f"{name}.txt"):
        try:
            modified = path.stat().st_mtime_ns if path.suffix == ".txt" and path.is_file() else None
        except OSError:  # a name too long for any file
            continue
        if modified is not None:
            return path, modified
    raise InputError(f"unknown prompt {name!r}; available: {', '.join(available())}, or the path of a .txt template")


@lru_cache(maxsize=128)
def _parse(path: Path, modified: int) -> Template:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save the template as UTF-8") from error
    header, body = _header(path, text)
    before, *rest = _SECTION.split(body)
    sections = list(zip(rest[::2], (part.removesuffix("\n") for part in rest[1::2]), strict=True))
    problems = [f"{path}: text before the first section: {before.strip()[:40]!r}"] if before.strip() else []
    named = {name: content for name, content in sections if not name.startswith("example")}
    often = [name for name, count in Counter(name for name, _ in sections).items() if count > 1 and name in named]
    problems += [f"{path}: section [{name}] stands more than once; join them" for name in often]
    roles = [name.removeprefix("example ") for name, _ in sections if name.startswith("example")]
    if "{question}" not in named.get("user", ""):
        problems.append(f"{path}: section [user] must hold {{question}}")
    if "context" in named and ("{context}" not in named.get("user", "") or "{passages}" not in named["context"]):
        problems.append(f"{path}: [context] must hold {{passages}}, and [user] must say where it goes with {{context}}")
    if roles != ["user", "assistant"] * (len(roles) // 2):
        problems.append(f"{path}: [example user] and [example assistant] must come in pairs, in that order")
    form: Any = header.get("answer", "plain")
    if form not in _FORMS:
        problems.append(f"{path}: answer is {form!r}; expected one of {', '.join(_FORMS)}")
    if problems:
        raise InputError(problems)
    system = [Message(role="system", content=named["system"])] if "system" in named else []
    examples = [
        Message(role="user" if name == "example user" else "assistant", content=content)
        for name, content in sections
        if name.startswith("example")
    ]
    return Template(
        name=path.stem,
        description=str(header.get("description", "")),
        digest=digest(text)[:12],
        cites=bool(header.get("cites", False)) or form == "json",
        form=form,
        static=(*system, *examples),
        user=named["user"],
        context=named.get("context", ""),
        cue=named.get("cue", ""),
    )


def _header(path: Path, text: str) -> tuple[dict[str, object], str]:
    if not text.startswith("---\n"):
        return {}, text
    head, closing, body = text[4:].partition("\n---\n")
    try:
        header = yaml.safe_load(head) if closing else None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: the header is not YAML: {error}") from error
    if not isinstance(header, dict):
        raise InputError(f"{path}: the header must be key: value lines between two lines of ---")
    return header, body


def _read_json(text: str, passages: int) -> Reading:
    """The first JSON object in a text that holds an answer; models like to say something around it."""
    decoder = json.JSONDecoder()
    for start in (match.start() for match in re.finditer(r"\{", text)):
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        answer = found.get("answer") if isinstance(found, dict) else None
        if isinstance(answer, str | int | float):
            named = found.get("passages")
            numbers = [each for each in named if isinstance(each, int)] if isinstance(named, list) else []
            return Reading(answer=str(answer).strip(), citations=_within(passages, numbers))
    return Reading(answer=text, malformed="no JSON object with a field answer in it")


def _within(passages: int, numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(number for number in numbers if 1 <= number <= passages))


def _fill(text: str, values: dict[str, str]) -> str:
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), text)
