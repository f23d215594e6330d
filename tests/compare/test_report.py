import base64
import re
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from seglab.compare import (
    Criteria,
    Metric,
    analyse,
    compare,
    compare_folder,
    read_folder,
    to_frame,
    to_markdown,
    to_table,
    wording,
    write_report,
)
from seglab.compare.numbers.detectable import detectable
from seglab.records import StudyRecord
from tests.compare.drawn import result, study, write_study

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "$\\frac{1$", "道路")
RECORD = StudyRecord(
    "study",
    "none",
    "test/miou",
    {"data": {"root": "<script>alert(3)</script>"}, "epochs": 30},
    {"none": {"loss": "CE"}, "l1": {"loss": "CE"}, "l2": {}},
)
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def report(folder: Path, metric: str | None = None, baseline: str | None = None) -> Path:
    study = read_folder(folder)
    return write_report(analyse(study, study.criteria(metric, baseline)))


class Page(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results = [result("none", seed, 0.60 + seed / 100, classes=HOSTILE) for seed in range(7)]
    results += [result("l1", seed, 0.58 + seed / 100 + seed % 2 / 1000, classes=HOSTILE) for seed in range(7)]
    write_study(tmp_path, results, RECORD)
    for found in results[:-1]:
        directory = found.run.directory(tmp_path)
        (directory / "metrics.csv").write_text("epoch,step,train/loss,val/miou\n0,4,0.5,\n0,4,,0.3\n1,8,0.4,\n1,8,,0.5\n")
        (directory / "predictions.png").write_bytes(PNG)
    damaged = tmp_path / "none" / "seed-9"
    damaged.mkdir()
    (damaged / "result.json").write_text("{")
    (tmp_path / "l1" / "seed-8").mkdir()
    return tmp_path


def test_report_answers_first_and_hides_nothing(folder: Path) -> None:
    path = report(folder)
    page = path.read_text(encoding="utf-8")
    assert path == folder / "report.html"
    answer = page.index("l1 is worse than none by 1.96 points (95 % interval −2.00 to −1.90), adjusted p = 0.031 over 7 seeds.")
    assert answer < page.index("<table>")
    for expected in (
        "damaged (not JSON",
        "l1: seed 8 has not finished",
        "l2: declared in the study, but no run of it has a readable result",
        "l1, seed 6: no learning curve",
        "epochs",
        "seglab 0.1.0; commit abc",
        "Differences from the baseline",
        "Every run",
        "Learning curves",
        "Class by class (exploratory)",
        "none, seed 0",
        "sign-flip",
        "Holm",
    ):
        assert expected in page, expected


def test_report_is_self_contained_and_escapes_hostile_names(folder: Path) -> None:
    text = report(folder).read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    addresses = [value or "" for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href", "xlink:href")]
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)
    assert sum(tag == "img" for tag, _ in page.tags) == 2
    assert "url(http" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "道路" in text


def test_a_tuned_study_says_how_its_settings_were_chosen(tmp_path: Path) -> None:
    tuned = {arm: {"tuning": {"chosen": f"{arm}-2", "settings": [f"{arm}-1", f"{arm}-2"]}} for arm in ("none", "l1")}
    shared = {"tuning": {"metric": "val/miou", "seeds": [1000, 1001], "settings": 2}}
    write_study(tmp_path, study({"none": [0.5, 0.6], "l1": [0.4, 0.5]}), StudyRecord("study", "none", "test/miou", shared, tuned))
    line = (
        "Tuned: 2 settings each, on val mIoU over seeds 1000, 1001. Chosen: none none-2; l1 l1-2. "
        "Every p holds for these settings: another tuning can choose others, and its own chance is not in the p."
    )
    assert f"<li>{line}</li>" in report(tmp_path).read_text(encoding="utf-8")
    assert wording.tuning(RECORD) is None
    assert wording.tuning(None) is None


def test_report_without_record_needs_a_baseline(tmp_path: Path) -> None:
    write_study(tmp_path, study({"a": [0.5, 0.6], "b": [0.4, 0.5]}), None)
    with pytest.raises(
        ValueError, match=re.escape("study.json: is missing. It says which arm is the baseline; without it, name one of a, b by")
    ):
        report(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(
        ValueError, match=re.escape("study.json: damaged (not JSON: Input data was truncated). Restore it, use the version")
    ):
        report(tmp_path)
    (tmp_path / "study.json").unlink()
    assert "settings are not known" in report(tmp_path, baseline="b").read_text(encoding="utf-8")


def test_report_of_a_single_arm_and_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        report(tmp_path / "absent")
    with pytest.raises(ValueError, match="no results to compare"):
        report(tmp_path, baseline="a")
    write_study(tmp_path, study({"a": [0.5]}), None)
    assert "nothing to compare" in report(tmp_path, baseline="a").read_text(encoding="utf-8")


def test_a_damaged_record_is_listed(folder: Path) -> None:
    (folder / "study.json").write_text("[]")
    assert any("study.json" in note for note in compare_folder(read_folder(folder), Criteria(Metric("test", "miou"), "none")).notes)


def test_arms_keep_their_declared_order(folder: Path) -> None:
    assert [arm.arm for arm in compare_folder(read_folder(folder)).arms] == ["none", "l1"]
    assert read_folder(folder).results[0].run.arm == "none"


def test_the_table_fits_a_hundred_columns_without_colour() -> None:
    arms = {
        "none": [0.6 + s / 100 for s in range(10)],
        "elastic-net": [0.62 + s / 99 for s in range(10)],
        "smooth-l1": [0.601 + s / 100 for s in range(10)],
    }
    console = Console(width=100, no_color=True, record=True, file=StringIO())
    console.print(to_table(compare(study(arms), Criteria(Metric("test", "miou"), "none"))))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "64.5 ±3.0" in text
    assert "baseline" in text
    assert re.search(r"elastic-net.*\+2\.05 \[\+2\.02, \+2\.07\]  0\.004  better ", text)
    assert re.search(r"smooth-l1.*better ≈", text)


def test_markdown_and_frame_tell_the_same() -> None:
    found = compare(study({"none": [0.5, 0.6], "a": [0.6, 0.7]}), Criteria(Metric("test", "miou"), "none"))
    rows = [line for line in to_markdown(found).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {10}
    assert "| a | 2 | 65.0 ±7.1 |" in rows[3]
    frame = to_frame(found)
    assert frame.loc["a", "mean"] == pytest.approx(0.65)
    assert frame.loc["a", "verdict"] == "no verdict"
    assert frame.loc["none", "cost/seconds"] == 10


@pytest.mark.parametrize("metric", ["cost/seconds", "val/loss", "test/dice", "cost/exact_zeros"])
def test_every_kind_of_metric_is_reported(folder: Path, metric: str) -> None:
    assert "verdict" in report(folder, metric=metric).read_text(encoding="utf-8")


def test_comparing_imports_no_torch_and_the_package_is_cheap() -> None:
    code = (
        "import sys, seglab.compare\n"
        "assert not {'numpy', 'scipy', 'pandas', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "from seglab.compare import analyse, compare, compare_folder, to_table, to_frame, write_report, per_class\n"
        "assert not {'torch', 'lightning', 'pandas', 'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "import seglab.compare.report\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_results_of_other_settings_are_left_out_and_named(tmp_path: Path) -> None:
    """A run copied from elsewhere, say."""
    write_study(tmp_path / "study", [result(arm, seed, 0.5) for arm in ("none", "l1") for seed in range(6)], RECORD)
    for seed in (3, 5):
        stranger = tmp_path / "study" / "l1" / f"seed-{seed}" / "result.json"
        stranger.write_text(stranger.read_text().replace('"identity": "', '"identity": "other'))
    found = read_folder(tmp_path / "study")
    assert len(found.results) == 10
    assert "l1, seeds 3, 5: made with other settings than those of study.json; left out" in found.problems


class Document(HTMLParser):
    """The text of a page before its contents, and what keyboards and screen readers need."""

    def __init__(self) -> None:
        super().__init__()
        self.first_screen = ""
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.scrolling: list[dict[str, str | None]] = []
        self.pictures: list[dict[str, str | None]] = []
        self.inside = False
        self.after = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.inside = self.inside or tag == "main"
        self.after = self.after or tag == "nav"
        if tag == "h2":
            self.ids.append(found["id"] or "")
        if tag == "a" and self.after:
            self.targets.append((found["href"] or "").removeprefix("#"))
        if found.get("class") == "scroll":
            self.scrolling.append(found)
        if tag in ("svg", "img"):
            self.pictures.append(found)

    def handle_data(self, data: str) -> None:
        if self.inside and not self.after:
            self.first_screen += data


def page_of(path: Path) -> Document:
    found = Document()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def test_the_first_screen_has_verdicts_the_picture_and_what_could_be_shown(folder: Path) -> None:
    page = page_of(report(folder))
    for expected in (
        "test mIoU of 2 arms, baseline none",
        "worse:",
        "l1 is worse than none by 1.96 points",
        "Large dot and bar",
    ):
        assert expected in page.first_screen, expected
    (contrast,) = compare_folder(read_folder(folder)).contrasts
    size = 100 * detectable(contrast.sd_difference, 7, 2, 0.05)  # l2 is declared, and counts
    assert f"Detectable: these seeds show a true difference of {size:.2f} points (l1) with 80 % power" in page.first_screen


def test_contents_lead_to_every_section(folder: Path) -> None:
    page = page_of(report(folder))
    assert page.targets == page.ids
    assert {"notes", "numbers", "pictures", "protocol", "settings"} <= set(page.ids)
    assert 'href="#contents"' in report(folder).read_text()


def test_what_scrolls_is_reached_by_keyboard_and_pictures_have_names(folder: Path) -> None:
    page = page_of(report(folder))
    assert len(page.scrolling) > 5
    assert all((found["tabindex"], found["role"], bool(found["aria-label"])) == ("0", "region", True) for found in page.scrolling)
    assert all(found.get("alt") or found.get("aria-label") for found in page.pictures)


def test_an_exploratory_comparison_says_so_on_the_first_screen(folder: Path) -> None:
    page = page_of(report(folder, metric="test/dice"))
    assert "Exploratory: not the declared comparison, but metric" in page.first_screen


def test_many_arms_are_folded_and_drawn_in_part(tmp_path: Path) -> None:
    arms = [f"arm-{place}" for place in range(30)]
    scores = {arm: [0.5 + 0.01 * seed + 0.002 * (place * seed % 5) for seed in range(6)] for place, arm in enumerate(arms)}
    write_study(tmp_path, study(scores), StudyRecord("study", arms[0], "test/miou", {}, {arm: {} for arm in arms}))
    found = analyse(read_folder(tmp_path))
    assert [arm.arm for arm in found.pictured.comparison.arms] == arms[:24]
    assert found.pictured.pictured is found.pictured
    assert found.classes is not None
    assert found.pictured.classes is not None
    kept = [cell for cell in found.classes.cells if cell.arm in arms[:24]]
    assert list(found.pictured.classes.cells) == kept  # p is adjusted over all arms
    page = page_of(write_report(found))
    assert "inconclusive: arm-1, arm-2" in " ".join(page.first_screen.split())
    inconclusive = [contrast for contrast in found.comparison.contrasts if contrast.verdict == "inconclusive"]
    assert f"and {len(inconclusive) - 12} more" in page.first_screen
    assert "Each arm in a sentence (29)" in page.first_screen
    assert "The first 24 of 30 arms; the table has all." in page.first_screen
