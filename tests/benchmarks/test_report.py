"""Medians of paired measurements, goals of either direction, and a page that says what was measured."""

from xml.etree import ElementTree as ET

from benchmarks import report
from benchmarks.figures import Figure, alternate

FACTOR = Figure("a `run`", "the <usual>: way", "CPU-ms", 8.0, True, [(10.0, 1.0), (9.0, 1.0), (70.0, 10.0)])
SHARE = Figure("import", "boto3", "CPU-ms", 0.5, False, [(100.0, 40.0), (100.0, 60.0), (100.0, 51.0)])


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
    page = report.markdown([FACTOR, SHARE], "picture.svg")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert [(row[3], row[4], row[5], row[6]) for row in rows] == [
        ("&ge; 8x", "**9.0x**", "7.0x to 10.0x", "yes |"),
        ("&le; 0.5x", "**0.51x**", "0.40x to 0.60x", "**no** |"),
    ]
    texts = ["".join(text.itertext()) for text in ET.fromstring(report.svg([FACTOR, SHARE])).iter() if text.text]
    assert {"a run", "the <usual>: 10 CPU-ms", "ICS: 1 CPU-ms", "9.0x", "0.51x"} <= set(texts)
    assert [one["met"] for one in report.as_json([FACTOR, SHARE])["figures"]] == [True, False]
