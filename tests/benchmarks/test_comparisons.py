"""What the bench compares does the same work: equal labels by all three designs, and functions that do import."""

from benchmarks import imports, photo, pipeline
from benchmarks.naive import design
from cli.deployment import ROOT
from serving.model import load_model


def test_the_usual_design_the_loop_and_ics_give_equal_labels() -> None:
    with pipeline.local_aws() as bench:
        deployment = bench.deployment
        keys = pipeline.upload(deployment, "equal/", 20)
        machine = design.deploy(deployment, "ics-local-digits")
        naive = design.run(deployment, machine, deployment.images_bucket, keys, 0.1)
        assert [answer["s3_key"] for answer in naive] == keys
        labels = [answer["label"] for answer in naive]
        assert pipeline.run_loop(deployment, load_model(ROOT / "models" / "digits"), keys) == labels
        assert pipeline.labels_of(deployment, pipeline.run_ics(deployment, "equal/")) == labels
        assert len(set(labels)) > 5
        spent = bench.milliseconds(lambda: pipeline.run_loop(deployment, load_model(ROOT / "models" / "digits"), keys))
        assert spent > 0
        design.remove(deployment)


def test_every_function_imports_as_lambda_would_import_it() -> None:
    assert len(imports.functions()) == 16
    assert all(imports.milliseconds(imports.of_function(name)) > 0 for name in imports.functions())


def test_the_plain_way_makes_a_picture_of_the_same_size() -> None:
    content = photo.photo()
    assert photo.plainly(content).startswith(b"\xff\xd8")
    assert photo.measure(1).details["largest difference"] > 0
