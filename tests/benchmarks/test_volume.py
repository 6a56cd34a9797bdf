"""Runs of any size: each image of a run is looked for, a missing one is found, and workers' peaks are measured."""

import pytest

from benchmarks import pipeline, volume
from benchmarks.__main__ import PICTURES
from benchmarks.figures import Figure, Part
from benchmarks.report import markdown


def test_a_run_is_reconciled_and_its_workers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "OBJECTS", 20)
    monkeypatch.setattr(volume, "SMALLEST", 20)
    with pipeline.local_aws() as bench:
        upload = volume.measure_upload(bench, 2)
        assert [seconds > 0 for _, seconds in upload.pairs] == [True, True]
        (figure,) = volume.measure(bench, [40], 1)
        assert all(cost > 0 for cost in figure.pairs[0])
        assert 10 < next(iter(figure.details.values())) < 1000
        run = volume.run_manifest(bench.deployment, 40)
        volume.reconcile(bench.deployment, run, 40)
        with pytest.raises(RuntimeError, match="did not succeed"):
            volume.reconcile(bench.deployment, run, 60)
        monkeypatch.setattr(volume, "OBJECTS", 40)
        with pytest.raises(RuntimeError, match="as often as it is listed"):
            volume.reconcile(bench.deployment, run, 40)


def test_the_page_has_sections_without_a_picture() -> None:
    figure = Figure("a run of 10,000 images", "a run of 1,000", "CPU-ms an image", 1.15, False, [(2.0, 2.1)])
    page = markdown({"volume": Part("2026-01-01", "a machine", [figure])}, PICTURES)
    assert "## Runs of any size" in page
    assert "## A million images on AWS" in markdown({"cost": Part("2026-01-01", "a machine", [figure])}, PICTURES)
    assert "&le; 1.15x | **1.05x**" in page
    assert ".svg" not in page
