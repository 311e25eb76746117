"""Templates: values are text, a missing one raises, JSON stays inside its script element."""

import json
import math

import pytest
from jinja2 import UndefinedError

from trajectorycrafter.runtime.pages import render

NASTY = "</script><img src=x onerror=alert(1)> & 'more' \""


def comparison(title: str, data: object) -> str:
    return render("studio/compare.html", title=title, data=data)


def test_values_are_text_and_never_markup() -> None:
    page = comparison(NASTY, {NASTY: [NASTY]})
    assert "<img" not in page and "<title>&lt;/script&gt;&lt;img" in page
    embedded = page.split('id="data">')[1].split("</script>")[0]
    assert json.loads(embedded) == {NASTY: [NASTY]}


def test_what_a_page_cannot_show_is_refused() -> None:
    with pytest.raises(UndefinedError, match="'data' is undefined"):
        render("studio/compare.html", title="a")
    with pytest.raises(ValueError, match="not JSON compliant"):
        comparison("a", math.nan)
