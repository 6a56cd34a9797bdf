"""What AWS charges: a price list, read strictly. The one that ICS ships is `cli/prices.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ics.errors import InvalidPrices


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars; what ends in `_per_million` is the price of a million.

    `source` and `date` say where and when the prices were read, `region` where they are charged. `instance_hours` has
    the hourly price of SageMaker instance types; one that is not in it has no known price.
    """

    source: str
    date: str
    region: str
    state_transitions_per_million: float
    express_requests_per_million: float
    express_gb_second: float
    lambda_requests_per_million: float
    lambda_arm64_gb_second: float
    lambda_x86_64_gb_second: float
    s3_get_per_million: float
    s3_put_per_million: float
    dynamodb_reads_per_million: float
    dynamodb_writes_per_million: float
    sns_publish_per_million: float
    logs_gb: float
    rekognition_images_per_million: float
    instance_hours: Mapping[str, float]

    def lambda_gb_second(self, architecture: str) -> float:
        """A gigabyte-second of a function, by its architecture (`arm64` or `x86_64`)."""
        return self.lambda_arm64_gb_second if architecture == "arm64" else self.lambda_x86_64_gb_second


def prices_from(table: Mapping[str, Any]) -> Prices:
    """The price list that a TOML or JSON table holds.

    Raises:
        InvalidPrices: names the key that is missing, unknown or no price.
    """
    names = {field.name for field in fields(Prices)}
    for name in sorted(table.keys() - names):
        raise InvalidPrices(f"unknown key {name!r}; allowed are: {', '.join(sorted(names))}")
    for name in sorted(names - table.keys()):
        raise InvalidPrices(f"{name} is missing; copy cli/prices.toml and change what differs")
    hours = table["instance_hours"]
    if not isinstance(hours, Mapping):
        raise InvalidPrices("instance_hours must be a table of instance types and their prices an hour")
    texts = ("source", "date", "region")
    values: dict[str, Any] = {name: _text(name, table[name]) for name in texts}
    values |= {name: _price(name, table[name]) for name in names - {*texts, "instance_hours"}}
    return Prices(**values, instance_hours={kind: _price(kind, price) for kind, price in hours.items()})


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidPrices(f"{name} must be a string")
    return value


def _price(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e100:  # no infinity
        raise InvalidPrices(f"{name} is {value!r}; it must be a number of dollars, at least 0")
    return float(value)
