"""A price list: the shipped one is whole, a wrong one is told what would be right."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ics.errors import InvalidPrices
from ics.prices import prices_from

SHIPPED = tomllib.loads((Path(__file__).parents[2] / "cli" / "prices.toml").read_text("utf-8"))


def test_the_shipped_list_has_every_price_its_source_and_its_date() -> None:
    prices = prices_from(SHIPPED)
    assert prices.region == "us-east-1"
    assert prices.date
    assert prices.source
    assert prices.lambda_gb_second("arm64") < prices.lambda_gb_second("x86_64")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sns": 1}, "unknown key 'sns'"),
        ({"s3_get_per_million": None}, "s3_get_per_million is missing"),
        ({"s3_get_per_million": "0.4"}, "s3_get_per_million is '0.4'; it must be a number"),
        ({"s3_get_per_million": True}, "must be a number"),
        ({"s3_get_per_million": -1}, "at least 0"),
        ({"s3_get_per_million": float("nan")}, "must be a number"),
        ({"s3_get_per_million": float("inf")}, "must be a number"),
        ({"s3_get_per_million": 10**400}, "must be a number"),
        ({"date": 2026}, "date must be a string"),
        ({"instance_hours": 3}, "instance_hours must be a table"),
        ({"instance_hours": {"ml.c6g.large": "cheap"}}, "ml.c6g.large is 'cheap'"),
    ],
)
def test_a_wrong_list_is_told_what_would_be_right(change: dict[str, Any], told: str) -> None:
    table = {name: value for name, value in (SHIPPED | change).items() if value is not None}
    with pytest.raises(InvalidPrices, match=told):
        prices_from(table)
