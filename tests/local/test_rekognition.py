"""Amazon Rekognition API reference, DetectLabels and DetectCustomLabels; asked by boto3, which knows the shapes."""

import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from local.control import ACCOUNT, REGION
from local.rekognition import detectors
from local.rekognition.coco import LABELS, SIDE, decoded
from local.rekognition.detectors import DetectorFailed, Found, distinct
from tests.artifacts import write_artifact
from tests.rehearsal import set_faults


def saved(image, format_="JPEG"):
    out = io.BytesIO()
    image.save(out, format_)
    return out.getvalue()


def blank(width, height):
    return saved(Image.new("RGB", (width, height), "teal"), "PNG")


def version_of(project):
    return f"arn:aws:rekognition:{REGION}:{ACCOUNT}:project/{project}/version/{project}.2026/1700000000000"


@pytest.fixture
def rekognition(aws):
    return aws.client("rekognition")


@pytest.fixture
def broken(aws):
    """Tell the local Rekognition which faults to have, for the length of a test."""
    yield partial(set_faults, aws, "rekognition")
    set_faults(aws, "rekognition")


def test_a_picture_without_people_answers_in_awss_shape(rekognition):
    found = rekognition.detect_labels(Image={"Bytes": blank(300, 200)})
    assert found["LabelModelVersion"].startswith("opencv-4.")
    assert [label["Name"] for label in found["Labels"]] == []


ODD = {
    "a text": (b"milk, bread", "InvalidImageFormatException"),
    "a GIF": (saved(Image.new("L", (100, 100)), "GIF"), "InvalidImageFormatException"),
    "half a JPEG's header": (blank(100, 100)[:30], "InvalidImageFormatException"),
    "79 pixels": (blank(79, 300), "InvalidParameterException"),
    "10,001 pixels": (blank(10_001, 80), "ImageTooLargeException"),
    "over 5 MB": (blank(100, 100) + bytes(5_242_880), "ImageTooLargeException"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_image_that_rekognition_does_not_take_is_refused_by_awss_name(name, rekognition):
    content, code = ODD[name]
    with pytest.raises(ClientError) as refused:
        rekognition.detect_labels(Image={"Bytes": content})
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_eighty_pixels_are_enough(rekognition):
    assert rekognition.detect_labels(Image={"Bytes": blank(80, 80)})["Labels"] == []


def test_an_object_in_s3_is_refused_and_said_so(rekognition):
    with pytest.raises(ClientError, match=r"takes Image\.Bytes only"):
        rekognition.detect_labels(Image={"S3Object": {"Bucket": "bucket", "Name": "key"}})


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ({"kind": "throttle"}, "ProvisionedThroughputExceededException", 400),
        ({"kind": "unavailable"}, "InternalServerError", 500),
    ],
)
def test_a_fault_is_met_as_often_as_it_was_set(fault, code, status, rekognition, broken):
    broken(fault)
    with pytest.raises(ClientError) as met:
        rekognition.detect_labels(Image={"Bytes": blank(80, 80)})
    assert met.value.response["Error"]["Code"] == code
    assert met.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    rekognition.detect_labels(Image={"Bytes": blank(80, 80)})


def test_custom_labels_are_the_repositorys_models_by_their_projects_name(rekognition):
    seven = Image.new("L", (112, 112))
    seven.paste(255, (30, 25, 82, 35))
    seven.paste(255, (62, 35, 72, 90))
    asked = {"Image": {"Bytes": saved(seven, "PNG")}, "ProjectVersionArn": version_of("digits")}
    found = rekognition.detect_custom_labels(**asked, MinConfidence=0, MaxResults=3)["CustomLabels"]
    assert len(found) == 3
    assert found[0]["Name"] == "7"
    assert rekognition.detect_custom_labels(**asked, MinConfidence=100)["CustomLabels"] == []
    for project, said in (("shoes", "no project 'shoes'; .*digits"), ("cyrillic-text", "is a text model")):
        with pytest.raises(ClientError, match=said) as refused:
            rekognition.detect_custom_labels(**asked | {"ProjectVersionArn": version_of(project)})
        assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_of_overlapping_boxes_of_a_label_the_surest_stays():
    one, same = Found("Face", 0.9, 0.1, 0.1, 0.4, 0.4), Found("Face", 0.8, 0.12, 0.1, 0.4, 0.4)
    beside, other = Found("Face", 0.7, 0.6, 0.1, 0.4, 0.4), Found("Person", 0.6, 0.1, 0.1, 0.4, 0.4)
    unsure = Found("Face", 0.2, 0.1, 0.7, 0.1, 0.1)
    assert distinct([unsure, same, other, beside, one]) == [one, beside, other]


def test_a_grid_is_read_where_its_source_says():
    grid = np.full((85, 22, 22), -20.0, np.float32)
    grid[0], grid[5:] = 0, 0
    grid[:5, 10, 5], grid[5 + LABELS.index("Dog"), 10, 5] = (0.9, 0.0, 0.0, 0.0, -1.0986123), 0.8
    ((label, sure, left, top, width, height),) = decoded(grid, 0.5)
    assert (label, len(LABELS)) == ("Dog", 80)
    assert sure == pytest.approx(0.9**0.6 * 0.8**0.4)
    assert (left + width / 2, top + height / 2) == pytest.approx((5 / 22, 10 / 22))
    assert (width, height) == pytest.approx((0.5, 0.25))


def test_a_file_that_is_no_such_detector_is_told_before_it_is_used(tmp_path):
    with pytest.raises(DetectorFailed, match=r"absent\.onnx cannot be loaded"):
        detectors.load(tmp_path / "absent.onnx")
    write_artifact(tmp_path)
    with pytest.raises(DetectorFailed, match=r"model\.onnx takes .*; see local/rekognition/coco\.py"):
        detectors.load(tmp_path / "model.onnx")
    assert SIDE == 352


def test_the_detector_that_the_user_names_finds_what_is_on_real_photos(data):
    detector = detectors.load(data / "fastestdet" / "FastestDet.onnx")
    assert detector.version.startswith("onnx-")
    photos = sorted((data / "coco128" / "images" / "val2017").glob("*.jpg"))[:40]
    right = 0
    for photo in photos:
        lines = (data / "coco128" / "labels" / "val2017" / f"{photo.stem}.txt").read_text().splitlines()
        there = any(line.split()[0] == "0" for line in lines)
        picture = np.asarray(Image.open(photo).convert("RGB"))[:, :, ::-1]
        seen = any(one.label == "Person" and one.confidence > 0.5 for one in detector.find(picture))
        right += there == seen
    assert right >= 0.8 * len(photos)


@pytest.fixture
def data():
    """Data that is not part of the repository."""
    folder = os.environ.get("ICS_DATA")
    if not folder or not (Path(folder) / "fastestdet").is_dir():
        pytest.skip("ICS_DATA names no folder with fastestdet and coco128")
    return Path(folder)
