"""The ledger in the table: look up what is known, claim what is not, keep what was answered."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ics import ledger
from lambdas import table

Answer = dict[str, Any]


def look_up(image_ids: Iterable[str], version: str) -> dict[str, Answer]:
    """The answers that are known of images, by image id."""
    found = table.get_many({ledger.key(one, version) for one in image_ids})
    answers = (ledger.answer_in(item) for item in found.values())
    return {answer["id"]: answer for answer in answers if answer}


def claim(image_ids: Iterable[str], version: str, owner: str) -> tuple[dict[str, Answer], set[str]]:
    """The answers that are known by now, and the images that are the owner's to classify; others have the rest."""
    now = int(time.time())
    claims = {one: ledger.claim(one, version, owner, now) for one in image_ids}
    written = table.insert_many(list(claims.values()))
    mine = {one for one, new in zip(claims, written, strict=True) if new}
    known: dict[str, Answer] = {}
    found = table.get_many(ledger.key(one, version) for one in claims.keys() - mine)
    for one in claims.keys() - mine:
        item = found.get(ledger.key(one, version), {})
        answer = ledger.answer_in(item)
        if answer:
            known[one] = answer
        elif ledger.may_claim(item, owner, now):
            seen = {name: item[name] for name in ("owner", "until")}
            if table.put_over(claims[one], seen):
                mine.add(one)
    return known, mine


def keep(answers: Mapping[str, tuple[Answer, str]]) -> None:
    """Keep answers, each with the S3 version of its image, by image id."""
    table.write_many([ledger.answer(one, given, version) for one, (given, version) in answers.items()])


def await_answers(wanted: Mapping[str, str], seconds: float, every: float = 0.5) -> dict[str, Answer]:
    """Wait for the answers of images that others classify, and give those that came in time, by image id.

    Args:
        wanted: the version of the model, by image id.
        seconds: how long to wait at most.
        every: seconds between two looks.
    """
    answers: dict[str, Answer] = {}
    until = time.monotonic() + seconds
    while True:
        for version in set(wanted.values()):
            answers |= look_up([one for one in wanted if one not in answers and wanted[one] == version], version)
        if len(answers) == len(wanted) or time.monotonic() + every > until:
            return answers
        time.sleep(every)
