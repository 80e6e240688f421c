"""Write the generated parts of README.md: command help, plugins, axes. Run it after changing any of them; a test compares.

python docs/readme.py          # rewrites README.md
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from workbench import registry
from workbench.__main__ import cli
from workbench.records import AXIS_HELP, DEFAULT_AXES
from workbench.weights import catalogue

README = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def commands() -> str:
    """The command line's own help."""
    settings = {**cli.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(cli, info_name="workbench", **settings)
    return f"```\n{cli.get_help(context)}\n```\n"


def plugins() -> str:
    """Every plugin with its parameters."""
    rows = ["| kind | name | what it does | parameters |", "| --- | --- | --- | --- |"]
    for plugin in registry.plugins():
        parameters = ", ".join(
            f"`{each.name}={each.default}`" if each.default else f"`{each.name}`" for each in plugin.parameters
        )
        rows.append(f"| {plugin.kind} | `{plugin.name}` | {plugin.description} | {parameters} |")
    return "\n".join(rows) + "\n"


def axes() -> str:
    """Every axis of the search space with its default."""
    rows = ["| axis | default | what it sets |", "| --- | --- | --- |"]
    rows += [f"| `{axis}` | `{_plain(default)}` | {AXIS_HELP[axis]} |" for axis, default in DEFAULT_AXES.items()]
    return "\n".join(rows) + "\n"


def _plain(value: object) -> str:
    """A value as it is written in an experiment file."""
    return {None: "null", False: "false"}.get(value, str(value)) if not isinstance(value, list) else str(value)


def models() -> str:
    """The embedded models."""
    rows = ["| model | licence | what it is |", "| --- | --- | --- |"]
    rows += [
        f"| `embedded:{each.name}` | {each.licence}{' (opt-in)' if each.opt_in else ''} | {each.notes} |"
        for each in catalogue()
    ]
    return "\n".join(rows) + "\n"


def updated(text: str) -> str:
    """README's text with every generated block made anew."""
    makers = {"commands": commands, "plugins": plugins, "axes": axes, "models": models}
    return _BLOCK.sub(lambda match: f"{match[1]}{makers[match[2]]()}{match[3]}", text)


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
