"""Pages made from the templates under `assets`."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: object) -> str:
    """Fill a template; every value is shown as text, whatever it holds.

    Args:
        template: its path under `assets`.

    Raises:
        jinja2.UndefinedError: the template uses a value that is missing.
        ValueError: a number that JSON does not know, in a value that is written as JSON.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("trajectorycrafter", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # For `tojson`, whose text cannot end the script element that it stands in.
    found.policies["json.dumps_kwargs"] = {"allow_nan": False, "default": str}
    return found
