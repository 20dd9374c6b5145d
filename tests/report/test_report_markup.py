"""Nothing a user can name becomes markup, nothing in a page comes from elsewhere, and every tag is closed."""

import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstudio.report.charts import bars, count_map, curves
from headstudio.report.markup import Markup, bullets, element, facts, joined, table
from headstudio.report.page import Section, render_page, write_page
from headstudio.report.pictures import contact_sheet, error_map, inline, save_png, spread
from support.pages import EVIL, Checked, check_self_contained


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back_as_the_same_text_and_never_as_a_tag(text) -> None:
    page = "".join(element("p", text, title=text))
    parsed = Checked(page)
    assert parsed.tags == ["p"]
    assert parsed.text == text
    assert parsed.attributes == [("title", text)]


def test_every_builder_escapes_what_it_is_given() -> None:
    parts = (
        table((EVIL,), [(EVIL,)]),
        facts({EVIL: EVIL}),
        bullets([EVIL]),
        curves({EVIL: [(0, 1), (1, 2)]}, EVIL),
        bars([EVIL], [1], EVIL),
        count_map([[1]], [0, 1], [0, 1], EVIL, EVIL),
        inline(torch.zeros(3, 2, 2, dtype=torch.uint8), EVIL),
    )
    parsed = check_self_contained(render_page(EVIL, [Section(EVIL, parts)]))
    assert parsed.text.count(EVIL) >= 12
    assert ("alt", EVIL) in parsed.attributes


def test_markup_is_kept_and_stays_markup() -> None:
    inner = element("b", "1 < 2")
    assert joined(inner, "<i>") == "<b>1 &lt; 2</b>&lt;i&gt;"
    assert isinstance(joined("a"), Markup)
    assert element("rect", x=1, stroke_width=2, class_="a", title=None) == '<rect x="1" stroke-width="2" class="a"/>'


def test_a_page_is_replaced_whole(tmp_path) -> None:
    path = tmp_path / "new folder" / "report.html"
    write_page(path, "one", [])
    write_page(path, "two", [Section("a", (element("p", "ä"),))])
    page = path.read_text(encoding="utf-8")
    assert "<title>two</title>" in page and "ä" in page and "one" not in page
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page


def _points(chart: str) -> list[list[tuple[float, float]]]:
    lists = [value for name, value in Checked(chart).attributes if name == "points"]
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in lists]


def test_curves_put_points_in_proportion_and_leave_out_what_is_not_finite() -> None:
    nan = float("nan")
    (line,) = _points(curves({"a": [(0, 0), (1, nan), (2, 5), (4, 10)]}, "s"))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.5, abs=0.01)
    assert (y0 - y1) / (y0 - y2) == pytest.approx(0.5, abs=0.01)
    assert y2 < y0
    (line,) = _points(curves({"a": [(0, 1), (1, 10), (2, 0), (3, 100)]}, "s", logarithmic=True))
    assert len(line) == 3
    assert (line[0][1] - line[1][1]) == pytest.approx(line[1][1] - line[2][1], abs=0.2)


def test_long_curves_are_thinned_but_keep_their_end() -> None:
    (line,) = _points(curves({"a": [(float(i), float(i % 7)) for i in range(5003)]}, "s"))
    (whole,) = _points(curves({"a": [(0.0, 0.0), (5002.0, 6.0)]}, "s"))
    assert len(line) <= 601
    assert line[-1][0] == pytest.approx(whole[-1][0], abs=0.1)


def test_charts_without_data_say_so_and_constant_ones_draw() -> None:
    assert "nothing to draw" in curves({"a": []}, "s")
    assert "nothing to draw" in curves({"a": [(0, float("nan"))]}, "s")
    assert len(_points(curves({"a": [(0, 3), (0, 3)]}, "s"))) == 1
    Checked(bars([], [], "n"))
    Checked(bars(["a"], [0], "n"))


def test_the_map_tells_every_count() -> None:
    counts = [[0, 3], [7, 0]]
    text = Checked(count_map(counts, [-1, 0, 1], [10, 20, 30], "yaw", "pitch")).text
    assert "yaw 0 to 1, pitch 10 to 20: 3" in text
    assert "yaw -1 to 0, pitch 20 to 30: 7" in text


def test_an_inlined_picture_is_the_picture() -> None:
    ramp = torch.linspace(0, 255, 32).to(torch.uint8).expand(3, 24, 32)
    attributes = dict(Checked(inline(ramp, "a ramp")).attributes)
    assert (attributes["width"], attributes["height"]) == ("32", "24")
    data = base64.b64decode(attributes["src"].removeprefix("data:image/jpeg;base64,"))
    decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)
    assert np.abs(decoded - ramp.permute(1, 2, 0).numpy().astype(int)).max() <= 6


def test_a_contact_sheet_has_every_picture_in_its_cell(tmp_path) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    pictures = [torch.tensor(c, dtype=torch.uint8).view(3, 1, 1).expand(3, 7 + i, 9) for i, c in enumerate(colours)]
    sheet = contact_sheet(pictures, ["a", "b", "c"], columns=2, cell_px=40)
    assert sheet.shape == (3, 2 * 56, 80)
    for colour, (row, column) in zip(colours, ((20, 20), (20, 60), (76, 20)), strict=True):
        assert sheet[:, row, column].tolist() == list(colour)
    assert (sheet[:, 40:56, :40].float().std() > 0).item()  # the label
    save_png(tmp_path / "sheet.png", sheet)
    stored = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert np.array_equal(stored, sheet.permute(1, 2, 0).numpy())


def test_the_error_map_grows_from_black_to_white() -> None:
    truth = torch.zeros(3, 1, 4, dtype=torch.uint8)
    picture = torch.tensor([0, 20, 45, 255], dtype=torch.uint8).expand(3, 1, 4)
    shown = error_map(picture, truth).float().sum((0, 1))
    assert shown[0] == 0 and shown[3] == 3 * 255
    assert (shown[1:] > shown[:-1]).all()


@pytest.mark.parametrize(("total", "count"), [(1, 4), (3, 5), (10, 4), (100, 1)])
def test_spread_frames_are_distinct_and_reach_both_ends(total, count) -> None:
    chosen = spread(range(total), count)
    assert len(set(chosen)) == len(chosen) == min(total, count)
    assert chosen[0] == 0
    assert count == 1 or chosen[-1] == total - 1
