"""Who hides or releases an image is written down before it is done; what fails on the way leaves it hidden."""

import json

import pytest

from ics import quarantine
from ics.contracts import ImageRef

AT = "2026-01-31T12:00:00.000Z"
ROW = {
    "image_id": "f" * 64, "s3_uri": "s3://b/k é/1.png", "version": "v1", "label": "7", "confidence": 0.5, "run": "r",
    "batch": 3, "policy": "p", "threshold": 0.94,
}  # fmt: skip
RECORD = f"audit/quarantine/{ROW['image_id']}/{AT}"


class Recorded:
    """A place that remembers what was done, and fails at one thing."""

    def __init__(self, broken: str = "") -> None:
        self.done: list[tuple[str, object]] = []
        self.written: dict[str, object] = {}
        self._broken = broken

    def _do(self, what: str, about: object) -> None:
        if what == self._broken:
            raise OSError(what)
        self.done.append((what, about))

    def write(self, key: str, content: bytes) -> None:
        self._do("write", key)
        self.written[key] = json.loads(content)

    def delete(self, key: str) -> None:
        self._do("delete", key)

    def take_tag_off(self, image: ImageRef) -> None:
        self._do("take_tag_off", image)


def test_a_release_is_written_down_then_done_then_no_longer_listed() -> None:
    place, entry = Recorded(), quarantine.entry_of(ROW, AT)
    record = quarantine.release(entry, "ann", "a toy", AT, place)
    assert place.done == [
        ("write", f"{RECORD}-released.json"),
        ("take_tag_off", ImageRef("b", "k é/1.png", version="v1")),
        ("delete", f"quarantine/{ROW['image_id']}.json"),
    ]
    assert place.written == {f"{RECORD}-released.json": record}
    assert record == {**entry, "released_at": AT, "released_by": "ann", "because": "a toy"}
    assert entry == {name: ROW[name] for name in ROW if name != "threshold"} | {"quarantined_at": AT}


@pytest.mark.parametrize(("broken", "done"), [("write", 0), ("take_tag_off", 1)])
def test_what_cannot_be_released_stays_listed(broken: str, done: int) -> None:
    place = Recorded(broken)
    with pytest.raises(OSError, match=broken):
        quarantine.release(quarantine.entry_of(ROW, AT), "ann", "a toy", AT, place)
    assert len(place.done) == done


def test_who_hides_by_hand_is_written_down_with_the_entry() -> None:
    place = Recorded()
    entry = quarantine.by_hand(ROW, "ann", "not for all", AT, place)
    assert place.written == {f"{RECORD}-quarantined.json": entry}
    assert (entry["quarantined_by"], entry["quarantined_because"]) == ("ann", "not for all")


def test_a_reason_is_a_line_of_some_length() -> None:
    assert quarantine.reason("  a\n toy ") == "a toy"
    assert len(quarantine.reason("x" * quarantine.LONGEST_REASON)) == quarantine.LONGEST_REASON
    for text in ("", " \n", "x" * (quarantine.LONGEST_REASON + 1)):
        with pytest.raises(ValueError, match="1 to 1,000"):
            quarantine.reason(text)
