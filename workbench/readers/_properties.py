"""What ``corpus.yaml`` and ``evalset.yaml`` say about the data beside them."""

from __future__ import annotations

from pathlib import Path

import yaml

from workbench.readers._lines import Problems, known_keys, shown, text, whole

_PROPERTIES = ("title", "licence", "source")


def properties(path: Path, problems: Problems, more: tuple[str, ...] = ()) -> dict[str, str]:
    """Title, licence, source and ``more``, as far as the file says them; empty without a file."""
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(whole(path, problems))
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else path
        problems.add(place, f"not valid YAML: {getattr(error, 'problem', error)}; mend the line")
        return {}
    if not isinstance(content, dict):
        problems.add(path, f"found {shown(content)}; expected lines of the form key: value")
        return {}
    known = (*_PROPERTIES, *more)
    known_keys(str(path), content, set(known), problems)
    found = {key: text(str(path), content, key, problems) for key in known if key in content}
    # An escape in quotes can name half a character, which nothing later could write.
    return {key: value.encode(errors="replace").decode() for key, value in found.items()}
