"""The command line: each verb calls the function of the same name; tables go to standard output, progress to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

import workbench
from workbench.commands import data, machine, reading, running

_LATER = {
    "plan": "the estimate before spending",
    "gate": "the CI gate",
    "verify": "certificates",
}


class _Verbs(click.Group):
    """The verbs; one that the design names but that is not built yet is refused by name."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        found = super().get_command(context, name)
        if found is None and name in _LATER:
            raise click.UsageError(
                f"'{name}' does not exist yet ({_LATER[name]}); this version has: {', '.join(self.list_commands(context))}"
            )
        return found


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(workbench.__version__, prog_name="workbench")
def cli() -> None:
    """Find the smallest question-answering setup that is provably still good enough.

    \b
    Examples:
      workbench demo                          run the demonstration on embedded models
      workbench run evals/mine/experiment.yaml
      workbench compare latest --format markdown
      workbench recommend latest --out setup.yaml
      workbench ask setup.yaml "What does a for loop's else clause do?"

    Exit codes: 0 done (an honest "undecided" is done), 1 the answer is no, 2 bad input, 3 stopped and resumable,
    4 something is missing on this machine, 5 not comparable.
    """


for _verb in (*running.VERBS, *reading.VERBS, *data.VERBS, *machine.VERBS):
    cli.add_command(_verb)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every expected problem becomes a message and its exit code, never a traceback."""
    sys.exit(_guarded(lambda: cli.main(arguments, prog_name="workbench", standalone_mode=False)))


def _guarded(call: Callable[[], Any]) -> int:
    try:
        result = call()
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 3
    except click.ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        click.echo("interrupted; what was stored is safe: run the same command again to continue", err=True)
        return 3
    except BrokenPipeError:
        return 0
    except workbench.WorkbenchError as error:
        click.echo(f"workbench: {error}", err=True)
        return error.exit_code
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
