"""Objects of the user's own, loaded by `module:attribute`, and messages about names nobody knows.

The one thing a reader would get wrong: a plug-in needs no registration; any callable with the
protocol's one signature will do.
"""

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


def load_plugin(name: str, what: str, known: Iterable[str]) -> Any:
    """The object that `module:attribute` names; a class is made into an object without arguments.

    Args:
        what: what is expected there, for the message: "depth estimator".
        known: the names that are built in, for the message.

    Raises:
        ValueError: no such module or attribute, or nothing that can be called.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A missing module inside the user's own is theirs to see.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"{unknown_name(name, what, known)} (No module {module!r} either; is its folder on "
            "PYTHONPATH?)"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(f"Module {module!r} has no {attribute!r}; expected a {what} there.")
        found = getattr(found, part)
    made = found() if isinstance(found, type) else found
    if not callable(made):
        raise ValueError(f"{name} is a {type(made).__name__}; expected a {what}, a callable.")
    return made


def unknown_name(name: str, what: str, known: Iterable[str]) -> str:
    """A sentence that says what is known, and which known name is meant, if one is near."""
    kinds = {entry.split(":")[0]: entry for entry in known if entry != "module:attribute"}
    close = difflib.get_close_matches(name.partition(":")[0].lower(), kinds, n=1, cutoff=0.5)
    hint = f" Did you mean {kinds[close[0]]}?" if close else ""
    return f"Unknown {what} {name!r}.{hint} Known: {', '.join(known)}."
