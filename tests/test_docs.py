"""Every link and image of the pages leads somewhere, and the index names every page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def links(page: Path) -> list[str]:
    """The relative targets of links and images, code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_images_resolve(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_the_index_names_every_page_and_every_picture_is_shown() -> None:
    named = [(DOCS / target).resolve() for target in links(DOCS / "index.md")]
    assert len(named) == len(set(named))
    assert set(named) == set(DOCS.rglob("*.md")) - {DOCS / "index.md"}
    shown = {(page.parent / target).resolve() for page in PAGES for target in links(page)}
    assert {p for p in (DOCS / "images").rglob("*") if p.is_file()} <= shown


@pytest.mark.parametrize("folder", ["src", "scripts", "tests", "examples", "docs"])
def test_pages_that_the_code_names_are_there(folder: str) -> None:
    for file in (ROOT / folder).rglob("*"):
        if file.suffix in {".py", ".md", ".sh"} and file != Path(__file__):
            for page in re.findall(r"\bdocs/[\w/]+\.md", file.read_text()):
                # DyCheck's own documentation is quoted by its path.
                assert (ROOT / page).is_file() or page == "docs/DATASETS.md", f"{file}: {page}"
