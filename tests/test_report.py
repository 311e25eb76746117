"""Reports: what tables print, what the page holds, which clips appear, what is decided."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trajectorycrafter.lab.evaluation import comparison, report
from trajectorycrafter.lab.evaluation.comparison import (
    compare,
    comparison_markdown,
    write_comparison,
)
from trajectorycrafter.lab.evaluation.records import (
    Column,
    Entry,
    Evaluation,
    Quoted,
    read_evaluation,
)
from trajectorycrafter.lab.evaluation.report import html, markdown, write_media, write_report
from trajectorycrafter.lab.evaluation.tables import group_values, number, numeric_keys, tables
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.pictures import difference_video

PSNR = Column("psnr", "PSNR (dB)", "higher", "Peak signal-to-noise ratio.")
LPIPS = Column("lpips", "LPIPS", "lower", digits=3)
MOTION = Column("motion", "Motion (px)", "neither", digits=1)
ASSETS = Path(report.__file__).parents[2] / "assets" / "report"
NASTY = "<script>alert('clip')</script>|&amp;\n*x*<!--"


def entry(row: str, clip: str, psnr: float, lpips: float = 0.5, **group: str) -> Entry:
    return Entry(row, clip, group, {"psnr": psnr, "lpips": lpips, "motion": 3.0})


def evaluation(entries: list[Entry], quoted: list[Quoted] | None = None) -> Evaluation:
    about = {"command": ["trajectorycrafter", "evaluate", "a b"], "machine": "desk", "seconds": 75}
    return Evaluation("synthetic-4d", [PSNR, LPIPS, MOTION], entries, quoted or [], about)


@pytest.fixture
def swept() -> Evaluation:
    """Two rows, two depths, ranges 5, 10 and 40 (not in that order), four clips."""
    entries = [
        entry(row, f"clip{i}", base + i - int(r) / 10, 0.2 + base / 100, depth=depth, range=r)
        for depth in ("exact", "embedded")
        for r in ("40", "5", "10")
        for row, base in (("fill", 20.0), ("render", 15.0))
        for i in range(4)
    ]
    quoted = [Quoted("GCD", {"psnr": 10.77}, "Yu et al. 2025, Table 1")]
    return evaluation(entries, quoted)


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| {start}")]


# ----------------------------------------------------------------------------------------- tables


def test_a_table_for_each_outer_value_then_its_steps_in_order(swept: Evaluation) -> None:
    found = [(table.title, table.detail) for table in tables(swept)]
    assert found == [
        (title, detail)
        for depth in ("exact", "embedded")
        for title, detail in (
            (f"depth {depth}", False),
            (f"depth {depth}, range 5", True),
            (f"depth {depth}, range 10", True),
            (f"depth {depth}, range 40", True),
        )
    ]


def test_pooling_counts_a_clip_once_and_can_be_chosen(swept: Evaluation) -> None:
    (pooled,) = tables(swept, by=[])
    assert pooled.title == "all clips"
    mean = pooled.cells["fill"]["psnr"]
    assert mean.clips == 4
    # base 20, clips 0 to 3, ranges 5, 10 and 40
    assert mean.mean == pytest.approx(20 + 1.5 - (0.5 + 1 + 4) / 3)
    with pytest.raises(ValueError, match=r"\['depth', 'range'\], got \['scale'\]"):
        tables(swept, by=["scale"])


def test_only_numbers_of_more_than_one_value_are_a_scale() -> None:
    some = [entry("a", "x", 1, set="1", range=r, half=h) for r, h in (("10", "up"), ("9", "1"))]
    assert numeric_keys(evaluation(some)) == ["range"]
    assert group_values(evaluation(some))["range"] == ["9", "10"]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({"a": 1.0, "b": 2.0}, {"b"}),
        ({"a": 2.001, "b": 2.002, "c": 1.0}, {"a", "b"}),  # equal as printed
        ({"a": 1.0}, set()),
    ],
)
def test_best_is_as_printed_and_needs_a_rival(values: dict[str, float], best: set[str]) -> None:
    (table,) = tables(evaluation([entry(row, "x", v) for row, v in values.items()]))
    assert table.best(PSNR) == best
    assert table.best(MOTION) == set()


def test_lower_is_better_where_the_column_says_so() -> None:
    (table,) = tables(evaluation([entry("a", "x", 1, 0.3), entry("b", "x", 1, 0.2)]))
    assert table.best(LPIPS) == {"b"}


# --------------------------------------------------------------------------------------- Markdown


def test_cells_hold_mean_interval_and_clips() -> None:
    text = markdown(evaluation([entry("a", f"c{i}", i) for i in range(5)] + [entry("b", "c0", 9)]))
    (line,) = lines_of(text, "a")
    assert re.match(r"\| a \| 2\.00 \[0\.\d\d, 3\.\d\d\] \| .* \| 5 \|$", line), line
    (line,) = lines_of(text, "b")
    assert line.startswith("| b | **9.00** |")
    assert "PSNR (dB) ↑ | LPIPS ↓ | Motion (px) |" in text
    assert report.UNLIKE in text  # b saw one clip only


def test_quoted_rows_are_marked_never_bold_and_not_in_details(swept: Evaluation) -> None:
    text = markdown(swept)
    lines = lines_of(text, "GCD")
    assert lines == ["| GCD (quoted: Yu et al. 2025, Table 1) | 10.77 | – | – | – |"] * 2
    best = dataclasses.replace(swept, quoted=[Quoted("X", {"psnr": 99.0}, "elsewhere")])
    assert "**99" not in markdown(best)


def test_failures_and_command_are_told() -> None:
    broken = Entry("a", "bad | clip", {"range": "5"}, error="ValueError: no\nframes")
    text = markdown(evaluation([entry("a", "x", 1, range="5"), broken]))
    assert "## Failures (1)" in text
    assert r"- **a**, bad \| clip (range 5): ValueError: no frames" in text
    assert "1 of 2" in text
    assert "- command: trajectorycrafter evaluate 'a b'" in text
    assert "- machine: desk" in text
    assert "- seconds: 1 min 15 s" in text


def test_missing_values_are_counted_in_their_cell() -> None:
    some = [entry("a", f"c{i}", 1.0) for i in range(3)]
    some.append(Entry("a", "c3", {}, {"lpips": 0.5, "psnr": math.inf}))
    (line,) = lines_of(markdown(evaluation(some)), "a")
    assert "1.00 [1.00, 1.00] (n = 3)" in line
    assert line.endswith("| 4 |")


def test_a_table_survives_any_name() -> None:
    text = markdown(evaluation([entry(NASTY, NASTY, 1), entry("b", NASTY, 2)]))
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    assert len(rows) == 4
    assert len(set(cells)) == 1


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-0.001, 2, "0.00"), (-1.5, 1, "−1.5"), (math.nan, 2, "–"), (math.inf, 2, "–"), (3, 0, "3")],
)
def test_numbers(value: float, digits: int, text: str) -> None:
    assert number(value, Column("x", "x", "higher", digits=digits)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.25, "3.2 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text


def test_an_evaluation_without_results_still_reports() -> None:
    empty = Evaluation("folder", [PSNR], [])
    assert "Nothing was recorded." in markdown(empty)
    page = Page.of(html(empty))
    assert page.count("table") == 0
    assert "Nothing was recorded." in page.words


# ------------------------------------------------------------------------------------- the page


class Page(HTMLParser):
    """What a browser would see: elements, addresses, words."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []

    @classmethod
    def of(cls, text: str) -> "Page":
        page = cls()
        page.feed(text)
        page.close()
        assert page.open == [], f"not closed: {page.open}"
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data.strip())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def test_the_page_is_well_formed_and_needs_no_network(swept: Evaluation) -> None:
    text = html(swept)
    page = Page.of(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data-src"):
            where = attributes.get(name) or "#"
            assert where.startswith(("#", "data:,")), (tag, where)
    assert not re.search(r"@import|url\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)", text)
    assert page.count("table") == 8
    assert page.words.count("quoted") == 2
    for name in ("report.css", "report.js"):
        assert (ASSETS / name).read_text() in text
    assert "trajectorycrafter evaluate 'a b'" in page.words


def test_foreign_text_stays_text() -> None:
    broken = Entry(NASTY, NASTY, {NASTY: NASTY}, error=NASTY)
    good = Entry(NASTY, "x", {NASTY: NASTY}, {"psnr": 1.0}, media={"result": NASTY})
    column = Column("psnr", NASTY, "higher", NASTY)
    quoted = [Quoted(NASTY, {"psnr": 1.0}, NASTY)]
    everything = Evaluation(NASTY, [column], [broken, good], quoted, {NASTY: {NASTY: [NASTY]}})
    page = Page.of(html(everything))
    assert page.count("script") == 2  # the data and our own
    assert "alert" not in page.scripts[1]
    assert not set("<>&") & set(page.scripts[0])  # nothing that could end it
    data = json.loads(page.scripts[0])
    assert data["entries"][0]["clip"] == NASTY
    assert NASTY in page.words  # whole, hence escaped where it is shown


def test_the_data_of_the_page_is_strict_json() -> None:
    odd = Entry("a", "x", {}, {"psnr": math.inf, "lpips": math.nan, "motion": 1.0})
    page = Page.of(html(evaluation([odd])))
    data = json.loads(page.scripts[0], parse_constant=lambda name: pytest.fail(name))
    assert data["entries"][0]["values"] == {"motion": 1.0}


def test_the_page_gets_scales_means_and_media(swept: Evaluation) -> None:
    first = dataclasses.replace(swept.entries[0], media={"truth": "media/a/truth.mp4"})
    page = Page.of(html(dataclasses.replace(swept, entries=[first, *swept.entries[1:]])))
    data = json.loads(page.scripts[0])
    assert data["keys"] == [
        {"key": "depth", "scale": False, "values": ["exact", "embedded"]},
        {"key": "range", "scale": True, "values": ["5", "10", "40"]},
    ]
    assert data["rows"] == ["fill", "render"]
    assert len(data["means"]) == 2 * 3 * 2 * 3
    assert data["entries"][0]["media"] == {"truth": "media/a/truth.mp4"}


def test_write_report_leaves_three_whole_files(swept: Evaluation, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    write_report(swept, out)
    write_report(swept, out)
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "report.json", "report.md"]
    assert read_evaluation(out / "report.json") == swept
    (quoted,) = json.loads((out / "report.json").read_text())["quoted"]
    assert list(quoted) == ["row", "values", "source"]
    assert (out / "report.md").read_text() == markdown(swept)


# ---------------------------------------------------------------------------------------- the clips


def clip_of(seed: int, frames: int = 3) -> Video:
    generator = torch.Generator().manual_seed(seed)
    return Video(torch.rand(frames, 3, 32, 48, generator=generator), 8.0)


def test_no_difference_is_black_and_more_is_lighter() -> None:
    true = torch.full((1, 3, 8, 64), 0.4)
    made = true + torch.linspace(0, 0.5, 64)
    found = difference_video(made, true)
    assert found[..., 0].max() < 0.02
    light = (found * torch.tensor([0.2126, 0.7152, 0.0722]).reshape(3, 1, 1)).sum(1)[0, 0]
    assert (light.diff() >= -1e-3).all()
    assert light[-1] > 0.9


@given(st.floats(0, 1), st.floats(0, 1))
def test_difference_has_no_sign(x: float, y: float) -> None:
    a, b = torch.full((1, 3, 2, 2), x), torch.full((1, 3, 2, 2), y)
    assert torch.equal(difference_video(a, b), difference_video(b, a))


def test_media_is_named_relative_and_shared_once(tmp_path: Path) -> None:
    source, true = clip_of(0), clip_of(1)
    group = {"depth": "exact", "range": "40"}
    one = write_media(tmp_path, "park walk", "fill", clip_of(2), true, source, group)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.mp4")}
    two = write_media(tmp_path, "park walk", "render (released)", clip_of(3), true, source, group)
    far = write_media(
        tmp_path, "park walk", "fill", clip_of(4), clip_of(5), source, {"range": "60"}
    )
    assert set(one) == {"source", "truth", "result", "difference"}
    assert one["source"] == two["source"] == far["source"]
    assert one["truth"] == two["truth"] != far["truth"]
    assert len({found["result"] for found in (one, two, far)}) == 3
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.mp4")}
    assert written == {path for found in (one, two, far) for path in found.values()}
    assert all(re.fullmatch(r"[a-z0-9._/-]+", path) for path in written)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    shown = Video.read(tmp_path / one["result"])
    assert (len(shown), shown.height, shown.width, shown.fps) == (3, 32, 48, 8.0)


def test_media_of_a_second_run_replaces_the_result(tmp_path: Path) -> None:
    black = Video(torch.zeros(2, 3, 32, 48), 8.0)
    white = Video(torch.ones(2, 3, 32, 48), 8.0)
    first = write_media(tmp_path, "c", "fill", black, black, None)
    assert first == write_media(tmp_path, "c", "fill", white, black, None)
    assert Video.read(tmp_path / first["result"]).frames.mean() > 0.95
    assert Video.read(tmp_path / first["difference"]).frames.mean() > 0.7


def test_media_without_truth_has_no_difference(tmp_path: Path) -> None:
    found = write_media(tmp_path, "c", "fill", clip_of(0), None, clip_of(1), "left")
    assert set(found) == {"source", "result"}
    assert "left" in found["result"]


def test_a_row_cannot_take_the_name_of_anothers_difference(tmp_path: Path) -> None:
    one = write_media(tmp_path, "c", "fill", clip_of(0), clip_of(1), None)
    two = write_media(tmp_path, "c", "fill.difference", clip_of(2), clip_of(1), None)
    assert one["difference"] != two["result"]


def test_media_of_unequal_shapes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'fill' on 'c'.*\(4, 3, 32, 48\); got \(3, 3, 32, 48\)"):
        write_media(tmp_path, "c", "fill", clip_of(0), clip_of(1, frames=4), None)
    assert not any(tmp_path.iterdir())


@given(st.text(), st.text())
def test_file_names_are_safe_and_differ(one: str, two: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", report.file_name(one))
    assert (report.file_name(one) == report.file_name(two)) == (one == two)


# -------------------------------------------------------------------------------------- comparison


def pair_of(
    gains: list[float], column: str = "psnr", hard: float = 10.0
) -> tuple[Evaluation, Evaluation]:
    """Two evaluations of one row whose clips differ by `gains`, on clips of very unequal ease."""
    a = [Entry("fill", f"c{i}", {}, {column: hard * i}) for i in range(len(gains))]
    b = [dataclasses.replace(e, values={column: e.values[column] + g}) for e, g in zip(a, gains)]
    return evaluation(a), evaluation(b)


@pytest.mark.parametrize(
    ("gains", "column", "verdict"),
    [
        ([0.1, 0.2, 0.15, 0.1, 0.3, 0.2], "psnr", "better"),  # though the clips spread over 50 dB
        ([-0.1, -0.2, -0.15, -0.1, -0.3, -0.2], "psnr", "worse"),
        ([-0.1, -0.2, -0.15, -0.1, -0.3, -0.2], "lpips", "better"),
        ([0.1, 0.2, 0.15, 0.1, 0.3, 0.2], "lpips", "worse"),
        ([0.1, 0.2, 0.15, 0.1, 0.3, 0.2], "motion", None),
        ([0.1, -0.2, 0.15, -0.1, 0.3, -0.2], "psnr", "undecided"),
        ([0.1, 0.2, 0.15, 0.1, 0.3], "psnr", "undecided"),  # too few clips
        ([0.0] * 8, "psnr", "undecided"),
        ([0.004] * 8, "psnr", "undecided"),  # prints as no difference
    ],
)
def test_verdicts(gains: list[float], column: str, verdict: str | None) -> None:
    (change,) = compare(*pair_of(gains, column)).changes
    assert change.verdict == verdict
    assert change.difference == pytest.approx(sum(gains) / len(gains))
    assert change.low - 1e-9 <= change.difference <= change.high + 1e-9


def test_wins_follow_the_better_side_and_ties_are_below_a_printed_digit() -> None:
    (change,) = compare(*pair_of([-0.1, -0.2, 0.3, 0.0002], "lpips")).changes
    assert (change.wins, change.losses, change.ties) == (2, 1, 1)
    assert change.sign_p == pytest.approx(1.0)
    (change,) = compare(*pair_of([0.5] * 6)).changes
    assert change.sign_p == pytest.approx(2 / 2**6)


def test_largest_changes_come_first_and_carry_both_values() -> None:
    (change,) = compare(*pair_of([0.1, -3.0, 0.2, 1.0, 0.0])).changes
    assert [pair.clip for pair in change.largest] == ["c1", "c3", "c2"]
    assert (change.largest[0].a, change.largest[0].b) == (10.0, 7.0)
    assert len(change.largest) == comparison.LARGEST


def test_steps_of_a_scale_are_pooled_and_other_keys_told_apart(swept: Evaluation) -> None:
    better = [
        dataclasses.replace(e, values=e.values | {"psnr": e.values["psnr"] + 1})
        for e in swept.entries
    ]
    found = compare(swept, dataclasses.replace(swept, entries=better[::-1]))
    psnr = [change for change in found.changes if change.column == PSNR]
    assert {(c.row, c.group["depth"]) for c in psnr} == {
        (row, depth) for row in ("fill", "render") for depth in ("exact", "embedded")
    }
    assert {(c.clips, round(c.difference, 6)) for c in psnr} == {(4, 1.0)}
    by_range = compare(swept, swept, by=["range"])
    assert len(by_range.changes) == 2 * 3 * 3


def test_lone_rows_of_different_names_are_compared() -> None:
    a, b = pair_of([1.0, 1.0])
    renamed = [dataclasses.replace(e, row="fill v2") for e in b.entries]
    found = compare(a, dataclasses.replace(b, entries=renamed))
    assert [change.row for change in found.changes] == ["fill -> fill v2"]


def test_what_one_side_lacks_is_listed() -> None:
    a, b = pair_of([1.0, 1.0, 1.0])
    failed = dataclasses.replace(b.entries[1], values={}, error="out of memory")
    extra = Entry("other", "c9", {}, {"psnr": 1.0})
    b = dataclasses.replace(b, entries=[b.entries[0], failed, b.entries[2], extra], columns=[PSNR])
    found = compare(a, b, names=("old", "new"))
    assert found.changes[0].clips == 2
    assert [e.clip for e in found.only[0]] == ["c1"]
    assert [e.clip for e in found.only[1]] == ["c9"]
    text = comparison_markdown(found)
    assert "- Only old has fill for c1." in text
    assert "- Only new has other for c9." in text
    assert "- Only old has the columns LPIPS, Motion (px)." in text


def test_other_benchmarks_and_nothing_in_common_are_refused() -> None:
    a, b = pair_of([1.0])
    with pytest.raises(ValueError, match="'synthetic-4d' and 'iphone'"):
        compare(a, dataclasses.replace(b, benchmark="iphone"))
    elsewhere = [dataclasses.replace(e, clip="z") for e in b.entries]
    with pytest.raises(ValueError, match="Evaluate the same clips"):
        compare(a, dataclasses.replace(b, entries=elsewhere))


def test_comparison_is_printed_and_written(tmp_path: Path) -> None:
    a, b = pair_of([0.1, 0.2, 0.15, 0.1, 0.3, 0.2])
    found = write_comparison(a, b, tmp_path, names=("main", NASTY))
    text = (tmp_path / "comparison.md").read_text()
    assert text == comparison_markdown(found)
    assert "1 better, 0 worse, 0 undecided." in text
    (line,) = [line for line in lines_of(text, "PSNR") if "**better**" in line]
    assert "| 25.00 | 25.18 | +0.18 |" in line
    assert "| 6 / 0 / 0 | 0.031 |" in line
    page = Page.of((tmp_path / "comparison.html").read_text())
    assert page.count("script") == 2
    assert "better" in page.words
    assert page.count("table") == 2


def test_a_group_without_the_scale_has_one_table_and_rows_of_other_columns_warn_nobody() -> None:
    columns = [Column("psnr", "PSNR", "higher"), Column("ate", "ATE", "lower")]
    entries = [
        Entry("a", "x", {"set": "named"}, {"psnr": 20.0}),
        Entry("a", "y", {"set": "drawn", "range": "10"}, {"psnr": 21.0, "ate": 0.1}),
        Entry("a", "z", {"set": "drawn", "range": "20"}, {"psnr": 22.0}),
        Entry("truth", "y", {"set": "drawn", "range": "10"}, {"ate": 0.05}),
    ]
    found = tables(Evaluation("synthetic-4d", columns, entries))
    groups = [table.group for table in found]
    assert groups.count({"set": "named"}) == 1 and len(groups) == 4
    assert all(table.alike for table in found)
