"""Medians of paired measurements, goals of either direction, and a page that says what was measured."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks import report
from benchmarks.__main__ import PICTURES, write
from benchmarks.figures import Cost, Figure, Part, Start, alternate, from_json

FACTOR = Figure("a `run`", "the <usual>: way", "CPU-ms", 8.0, True, [(10.0, 1.0), (9.0, 1.0), (70.0, 10.0)])
SHARE = Figure("import", "boto3", "CPU-ms", 0.5, False, [(100.0, 40.0), (100.0, 60.0), (100.0, 51.0)])

SERVERS = Part(
    date="2026-01-01",
    machine="a machine",
    figures=[Figure("a load", "the raw limit", "CPU-ms an image", 0.9, True, [(0.8, 1.0)])],
    costs=[
        Cost("a load", 1, "the raw limit", 1.0, 30.0, None, None),
        Cost("a load", 1, "ICS", 2.0, 20.0, 3.0, 5.0),
        Cost("a load", 8, "the raw limit", 0.8, 2000.0, None, None),
        Cost("a load", 8, "ICS", 1.0, 1000.0, 4.0, 60.0),
    ],
    starts=[Start("ICS", 0.25, 0.2)],
    versions={"A": "1.0", "B": "2.0"},
)


def test_a_figure_is_the_median_of_its_pairs_not_the_ratio_of_medians() -> None:
    assert FACTOR.ratios() == [7.0, 9.0, 10.0]
    assert (FACTOR.measured(), FACTOR.met()) == (9.0, True)
    assert (SHARE.measured(), SHARE.met()) == (0.51, False)


def test_a_detail_over_its_limit_misses_the_goal() -> None:
    figure = Figure("", "", "", 4.0, True, [(8.0, 1.0)], {"largest difference": 4.0}, {"largest difference": 3.0})
    assert not figure.met()


def test_both_are_measured_in_turns_after_a_warm_up_of_each() -> None:
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    assert alternate(lambda: side("other"), lambda: side("ics"), 2) == [(3.0, 4.0), (5.0, 6.0)]
    assert calls == ["other", "ics"] * 3


def test_the_page_and_the_picture_show_each_figure_with_its_goal() -> None:
    part = Part("2026-01-01", "a machine", [FACTOR, SHARE])
    page = report.markdown({"pipeline": part}, PICTURES)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert [(row[3], row[4], row[5], row[6]) for row in rows] == [
        ("&ge; 8x", "**9.0x**", "7.0x to 10.0x", "yes |"),
        ("&le; 0.5x", "**0.51x**", "0.40x to 0.60x", "**no** |"),
    ]
    assert "## A run of the pipeline" in page
    assert "## The model server" not in page
    assert {"a run", "the <usual>: 10 CPU-ms", "ICS: 1 CPU-ms", "9.0x", "0.51x"} <= _texts(report.svg(part))


def test_the_servers_page_has_a_row_a_server_and_its_picture_a_bar_each() -> None:
    page = report.markdown({"server": SERVERS}, PICTURES)
    assert "| ICS | 2 / 1 | 0.50 / 0.80 | 20 / 1,000 | 3 / 4 | 5 / 60 |" in page
    assert "| the raw limit | 1 / 0.8 | 1.00 / 1.00 | 30 / 2,000 |  |  |" in page
    assert "| ICS | 0.25 | 0.20 |" in page
    assert "Beside it: A 1.0 and B 2.0.\n" in page
    picture = report.svg(SERVERS)
    assert {"a load", "ICS: 1 CPU-ms an image", "the raw limit: 0.8 CPU-ms an image"} <= _texts(picture)
    widths = [float(bar.get("width", "")) for bar in ET.fromstring(picture).iter() if bar.get("rx")]
    assert widths == [432.0, 540.0]


def test_a_part_measured_again_leaves_the_other_on_the_page_as_it_was(tmp_path: Path) -> None:
    part = Part("2026-01-01", "a machine", [FACTOR, SHARE])
    write({"pipeline": part, "server": SERVERS}, tmp_path)
    before = (tmp_path / "performance.md").read_text()
    write({"pipeline": replace(part, date="2026-02-02")}, tmp_path)
    after = (tmp_path / "performance.md").read_text()
    assert after == before.replace("Measured on 2026-01-01", "Measured on 2026-02-02", 1) != before
    found = json.loads((tmp_path / "performance.json").read_text())
    assert from_json(found["server"]) == SERVERS
    assert [one["met"] for one in found["pipeline"]["figures"]] == [True, False]
    for name in PICTURES.values():
        assert name in before
        assert (tmp_path / name).read_text().startswith("<svg")


def _texts(picture: str) -> set[str]:
    return {"".join(text.itertext()) for text in ET.fromstring(picture).iter() if text.text}
