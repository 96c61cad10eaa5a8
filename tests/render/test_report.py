"""The report file: what it holds, how large it is, and that no text of a trace gets out of it."""

import base64
import hashlib
import html
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxarc_trace.analysis import facts
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.report import Report, report
from jaxarc_trace.render.report.index import plain
from jaxarc_trace.render.report.pack import pack
from jaxarc_trace.render.theme import theme
from tests.render.report_fixtures import (
    HOSTILE,
    balancing,
    hostile,
    numbered,
    painted,
    real,
)
from tests.render.stored import NAMES


class Page(HTMLParser):
    """The scripts of a page, its elements, and its policy."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, str] = {}
        self.policy = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        self._open = found.get("id") or tag if tag in ("script", "style", "title") else ""
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.data[self._open] = self.data.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        self._open = ""

    @property
    def index(self) -> dict[str, Any]:
        return json.loads(zlib.decompress(base64.b64decode(self.data["index"]), -15))

    def block(self, row: int) -> bytes:
        columns = self.index["columns"]
        chunk = self.data[f"chunk-{columns['chunk'][row]}"]
        start = columns["start"][row]
        text = chunk[start : start + columns["length"][row]]
        return zlib.decompress(base64.b64decode(text), -15)


def written(path: Path, episodes: Any, **options: Any) -> Page:
    return Page(report(episodes, path, **options).path.read_text(encoding="utf-8"))


def test_the_index_has_a_row_of_every_column_for_every_episode(tmp_path: Path) -> None:
    episodes = [*real(), balancing(), *hostile()]
    index = written(tmp_path / "r.html", episodes).index
    assert index["count"] == len(episodes)
    assert {len(column) for column in index["columns"].values()} == {len(episodes)}
    assert len(base64.b64decode(index["sparks"])) == 24 * len(episodes)
    assert index["columns"]["id"][0] == episodes[0].id
    assert index["tasks"][index["columns"]["task"][0]] == "0e206a2e"
    assert index["scoreLabel"] == "Similarity"


def test_it_begins_with_the_whole_episode_that_earned_most(tmp_path: Path) -> None:
    plain = balancing()
    earned = (
        (9.0, 3, True),
        (1.0, 0, True),
        (7.0, 0, True),
        (8.0, 0, False),
        (float("nan"), 0, True),
    )
    episodes = [
        replace(plain, number=number, total_return=value, dropped=dropped, complete=complete)
        for number, (value, dropped, complete) in enumerate(earned)
    ]
    assert written(tmp_path / "r.html", episodes).index["start"] == 2
    assert written(tmp_path / "s.html", episodes[:1]).index["start"] == 0


def test_the_index_has_what_only_the_steps_tell(tmp_path: Path) -> None:
    episodes = [*real(), balancing()]
    index = written(tmp_path / "r.html", episodes).index
    columns = index["columns"]
    for row, episode in enumerate(episodes):
        known = facts(episode)
        words = index["failures"][columns["failures"][row]]
        assert words.replace(", ", ",") == (known["failures"] or "none")
        for name, fact in (
            ("best_at", "step_of_best"),
            ("revisits", "revisits"),
            ("distinct", "distinct_operations"),
            ("submits", "submits"),
            ("size_match", "dimension_match"),
        ):
            assert columns[name][row] == (None if known[fact] < 0 else known[fact]), name
        idle = known["no_op_share"]
        assert columns["no_ops"][row] == (None if np.isnan(idle) else pytest.approx(idle))
    for name in ("submits", "no_ops", "revisits"):
        assert columns[name][-1] is None


def test_every_block_is_where_the_index_says(tmp_path: Path) -> None:
    episodes = list(numbered([painted(i, 60) for i in range(5)], 900))
    page = written(tmp_path / "r.html", episodes)
    assert page.index["columns"]["chunk"][-1] > 0
    for row in (0, 1, 450, 899):
        assert page.block(row) == zlib.decompress(pack(episodes[row]), -15)


def test_numbers_that_json_cannot_hold_are_words(tmp_path: Path) -> None:
    odd = [
        replace(painted(1, 3), total_return=value, metrics={"m": value}, lane=lane)
        for lane, value in enumerate((float("nan"), float("inf"), float("-inf")))
    ]
    columns = written(tmp_path / "r.html", odd).index["columns"]
    assert columns["return"] == ["nan", "Infinity", "-Infinity"] == columns["metric.m"]


def test_a_metric_that_an_episode_lacks_is_none(tmp_path: Path) -> None:
    episodes = [
        replace(painted(1, 3), metrics={}),
        replace(painted(2, 3), metrics={"late": 2.5}),
        replace(painted(3, 3), metrics={}),
    ]
    columns = written(tmp_path / "r.html", episodes).index["columns"]
    assert columns["metric.late"] == [None, 2.5, None]


def test_episodes_of_one_identity_get_names_of_their_own(tmp_path: Path) -> None:
    ids = written(tmp_path / "r.html", [painted(1, 3)] * 3).index["columns"]["id"]
    assert ids == ["lane0001-ep000000", "lane0001-ep000000~2", "lane0001-ep000000~3"]


def test_the_same_episodes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        report([*real(), balancing()], tmp_path / f"{name}.html", title="t")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_only_the_pages_own_script_and_style_may_run(tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", real())
    scripts = [a for tag, a in page.elements if tag == "script" and a.get("type") != "text/plain"]
    assert scripts == [{}]
    for name in ("script", "style"):
        digest = hashlib.sha256(page.data[name].encode()).digest()
        assert f"{name}-src 'sha256-{base64.b64encode(digest).decode()}';" in page.policy
    assert page.policy.startswith("default-src 'none';")
    assert "unsafe" not in page.policy


def test_the_page_names_no_address_to_load(tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", real())
    for tag, attributes in page.elements:
        assert "src" not in attributes
        assert tag not in {"img", "iframe", "object", "embed", "base", "form"}
        address = attributes.get("href") or ""
        assert address == "" or address.startswith(("#", "data:image/svg+xml"))
    addresses = set(re.findall(r"\bhttps?://[^\s\"'`]+", page.data["script"] + page.data["style"]))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_the_viewer_never_parses_text_as_markup(tmp_path: Path) -> None:
    script = written(tmp_path / "r.html", real()).data["script"]
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert sink not in script


def test_hostile_text_adds_no_element(tmp_path: Path) -> None:
    calm = written(tmp_path / "a.html", [painted(n, 5) for n in range(len(HOSTILE))], title="t")
    for text in HOSTILE:
        page = written(tmp_path / "b.html", hostile(), title=text)
        assert page.elements == calm.elements
        assert page.data["title"].strip()
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e\ud800-\udfff]", page.data["title"])


def test_hostile_text_arrives_whole_in_the_index(tmp_path: Path) -> None:
    index = written(tmp_path / "r.html", hostile(), title=HOSTILE[3]).index
    assert index["tasks"] == list(HOSTILE)
    assert index["title"] == HOSTILE[3]
    assert index["metadata"][0] == {HOSTILE[0]: [HOSTILE[0], {"deep": HOSTILE[0]}]}


def test_metadata_that_json_cannot_hold_is_named_by_its_type() -> None:
    value = {1: np.float32(0.5), "a": np.arange(2), "s": {"y", "x"}, "o": object(), "n": np.inf}
    assert plain(value) == {
        "1": 0.5,
        "a": [0, 1],
        "s": ["x", "y"],
        "o": "<object>",
        "n": "Infinity",
    }


def test_the_title_is_the_files_name_unless_given(tmp_path: Path) -> None:
    assert written(tmp_path / "my run.html", real()).data["title"] == "my run"
    assert written(tmp_path / "r.html", real(), title="A & B").data["title"] == "A & B"


@pytest.mark.parametrize(
    ("name", "palette", "mode"),
    [
        ("default", "default", "auto"),
        ("colorblind", "colorblind", "auto"),
        ("dark", "default", "dark"),
    ],
)
def test_the_theme_is_what_the_page_begins_with(
    tmp_path: Path, name: str, palette: str, mode: str
) -> None:
    index = written(tmp_path / "r.html", real(), theme=theme(name, digits=True)).index
    assert (index["palette"], index["mode"], index["digits"]) == (palette, mode, True)


def test_a_theme_of_ones_own_is_one_more_palette(tmp_path: Path) -> None:
    mine = replace(theme("default"), name="mine", cells=("#123456",) * 10)
    index = written(tmp_path / "r.html", real(), theme=mine).index
    assert index["palette"] == "custom"
    assert index["palettes"][-1]["cells"] == ["#123456"] * 10


def test_the_result_says_where_and_how_large(tmp_path: Path) -> None:
    made = report(real(), tmp_path / "r.html")
    assert made == Report(tmp_path / "r.html", len(NAMES), (tmp_path / "r.html").stat().st_size)
    assert Path(made) == made.path


def test_a_large_file_is_written_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"r\.html is 0\.\d MB \(7 episodes\).*fewer episodes"):
        report(real(), tmp_path / "r.html", warn_above=10_000)
    assert (tmp_path / "r.html").exists()


def test_a_huge_file_is_refused_before_all_is_packed(tmp_path: Path) -> None:
    seen = []
    episodes = (seen.append(0) or painted(1, 50) for _ in range(1000))
    with pytest.raises(RenderError) as caught:
        report(episodes, tmp_path / "r.html", refuse_above=20_000)
    assert str(caught.value) == (
        f"The report would be larger than 0.0 MB: {len(seen)} episodes take 0.0 MB. Pass fewer "
        "episodes (`episodes[:1000]`, or only those kept by `best` and `worst`), write several "
        "reports, or raise refuse_above."
    )
    assert len(seen) < 50
    assert not list(tmp_path.iterdir())


def test_no_episode_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"at least one episode; none was given\. Check the"):
        report([], tmp_path / "r.html")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"Cannot write '.*missing.*r\.html'"):
        report(real(), tmp_path / "missing" / "r.html")


def test_an_unknown_theme_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="Did you mean 'colorblind'"):
        report(real(), tmp_path / "r.html", theme="colourblind")


def test_a_lazy_sequence_is_read_one_episode_at_a_time(tmp_path: Path) -> None:
    alive = 0

    def lazily() -> Any:
        nonlocal alive
        for seed in range(5):
            alive += 1
            yield painted(seed, 5)
            alive -= 1
            assert alive == 0

    assert report(lazily(), tmp_path / "r.html").episodes == 5


def test_a_thousand_episodes_of_a_hundred_steps_stay_below_three_megabytes(tmp_path: Path) -> None:
    made = report(numbered([painted(i, 100) for i in range(20)], 1000), tmp_path / "r.html")
    assert made.size <= 3_000_000


def test_title_is_escaped_once(tmp_path: Path) -> None:
    text = report(real(), tmp_path / "r.html", title="a<b&c").path.read_text(encoding="utf-8")
    assert f"<title>{html.escape('a<b&c')}</title>" in text
