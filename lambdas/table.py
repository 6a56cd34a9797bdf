"""The environment's DynamoDB table: single items, batches of them, and writes that happen only once.

An item is a flat dictionary with the keys `pk` and `sk`; one with `expires` (Unix seconds) goes some time after that.
Requests and answers are those of the DynamoDB API reference (JSON 1.0, version 2012-08-10); boto3 would cost a cold
function some 200 ms of CPU. A request without an answer is sent again: where a condition was on it and the first did
its work, the second finds it done, and the item is said not to be written though it is.
"""

import http.client
import json
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ics.errors import TableUnavailable
from lambdas import aws_http
from lambdas.runtime import settings

Value = str | int | float | bool
Item = dict[str, Value]
Key = tuple[str, str]

ATTEMPTS = 6
"""Requests made for one answer, with 50 ms before the second and twice as long before each further one, less chance."""

MAX_READ, MAX_WRITTEN, MAX_STATEMENTS = 100, 25, 25
"""Items of one BatchGetItem, BatchWriteItem and BatchExecuteStatement."""

_AGAIN = (
    "Throttling",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "InternalServerError",
)


def get(pk: str, sk: str) -> Item | None:
    """An item as it is now, or None. Raises TableUnavailable, as all here do, where DynamoDB does not do as asked."""
    found = _call(
        "GetItem", {"TableName": settings().table, "Key": _typed({"pk": pk, "sk": sk}), "ConsistentRead": True}
    )
    return _plain(found["Item"]) if "Item" in found else None


def get_many(keys: Iterable[Key]) -> dict[Key, Item]:
    """Those of the items that exist, as they are now, by key. `keys` may hold none twice."""
    found: dict[Key, Item] = {}
    wanted = [_typed({"pk": pk, "sk": sk}) for pk, sk in keys]
    for chunk in _chunks(wanted, MAX_READ):
        left: Sequence[Any] = chunk
        for _ in _attempts():
            asked = {settings().table: {"Keys": left, "ConsistentRead": True}}
            answer = _call("BatchGetItem", {"RequestItems": asked})
            for typed in answer["Responses"].get(settings().table, ()):
                item = _plain(typed)
                found[str(item["pk"]), str(item["sk"])] = item
            left = answer.get("UnprocessedKeys", {}).get(settings().table, {}).get("Keys", ())
            if not left:
                break
        else:
            raise TableUnavailable("BatchGetItem: throttled")
    return found


def query(pk: str, begins: str = "", *, after: str = "", most: int = 100) -> tuple[list[Item], str]:
    """The items of a partition in the order of their `sk`, which begins so and comes behind `after`; at most so many.

    With them comes the `sk` behind which there may be more, empty where there is none.
    """
    asked: dict[str, Any] = {
        "TableName": settings().table,
        "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :begins)" if begins else ""),
        "ExpressionAttributeValues": _typed({":pk": pk, **({":begins": begins} if begins else {})}),
        "ConsistentRead": True,
        "Limit": most,
    }
    if after:
        asked["ExclusiveStartKey"] = _typed({"pk": pk, "sk": after})
    answer = _call("Query", asked)
    last = answer.get("LastEvaluatedKey")
    return [_plain(item) for item in answer["Items"]], str(_plain(last)["sk"]) if last else ""


def delete(pk: str, sk: str) -> None:
    """Delete an item, whether there is one or not."""
    _call("DeleteItem", {"TableName": settings().table, "Key": _typed({"pk": pk, "sk": sk})})


def lease(pk: str, sk: str, holder: str, now: int, until: int) -> bool:
    """Note on an item that `holder` has it until then (Unix seconds), where nobody else has; whether it does now.

    An item that is not there is nobody's to have.
    """
    answer = _call(
        "UpdateItem",
        {
            "TableName": settings().table,
            "Key": _typed({"pk": pk, "sk": sk}),
            "UpdateExpression": "SET holder = :holder, held_until = :until",
            "ConditionExpression": "attribute_exists(pk) AND "
            "(attribute_not_exists(holder) OR holder = :holder OR held_until < :now)",
            "ExpressionAttributeValues": _typed({":holder": holder, ":until": until, ":now": now}),
        },
    )
    return bool(answer["__type"] != "ConditionalCheckFailed")


def put(item: Mapping[str, Value]) -> None:
    """Write an item, whatever was there."""
    _call("PutItem", {"TableName": settings().table, "Item": _typed(item)})


def put_new(item: Mapping[str, Value]) -> bool:
    """Write an item where there is none with its key; whether it was written."""
    return _put_if({"ConditionExpression": "attribute_not_exists(pk)"}, item)


def put_over(item: Mapping[str, Value], known: Mapping[str, Value]) -> bool:
    """Write an item where the one there still has the values of `known`; whether it was written."""
    names = list(known)
    return _put_if(
        {
            "ConditionExpression": " AND ".join(f"#n{number} = :v{number}" for number in range(len(names))),
            "ExpressionAttributeNames": {f"#n{number}": name for number, name in enumerate(names)},
            "ExpressionAttributeValues": _typed({f":v{number}": known[name] for number, name in enumerate(names)}),
        },
        item,
    )


def add(pk: str, sk: str, name: str, amount: int = 1, *, also: Mapping[str, Value] | None = None) -> int:
    """Add to an item's number, which begins at 0 with the item, and give the sum; `also` is set with it.

    A request whose answer was lost is sent again, and then counts twice.
    """
    set_ = {f"#s{number}": other for number, other in enumerate(also or {})}
    values = {":amount": amount, **{f":s{number}": value for number, value in enumerate((also or {}).values())}}
    assignments = ", ".join(f"{place} = :{place[1:]}" for place in set_)
    answer = _call(
        "UpdateItem",
        {
            "TableName": settings().table,
            "Key": _typed({"pk": pk, "sk": sk}),
            "UpdateExpression": "ADD #name :amount" + (f" SET {assignments}" if set_ else ""),
            "ExpressionAttributeNames": {"#name": name, **set_},
            "ExpressionAttributeValues": _typed(values),
            "ReturnValues": "UPDATED_NEW",
        },
    )
    return int(_plain(answer["Attributes"])[name])


def write_many(items: Iterable[Mapping[str, Value]], deleted: Iterable[Key] = ()) -> None:
    """Write items, whatever was there, and delete others. No key may come twice."""
    requests: list[Any] = [{"PutRequest": {"Item": _typed(item)}} for item in items]
    requests += [{"DeleteRequest": {"Key": _typed({"pk": pk, "sk": sk})}} for pk, sk in deleted]
    for chunk in _chunks(requests, MAX_WRITTEN):
        left: Sequence[Any] = chunk
        for _ in _attempts():
            answer = _call("BatchWriteItem", {"RequestItems": {settings().table: left}})
            left = answer.get("UnprocessedItems", {}).get(settings().table, ())
            if not left:
                break
        else:
            raise TableUnavailable("BatchWriteItem: throttled")


def insert_many(items: Sequence[Mapping[str, Value]]) -> list[bool]:
    """Write each item where there is none with its key; whether each was written. No key may come twice.

    BatchWriteItem takes no conditions, and a transaction costs twice as much: but PartiQL's INSERT fails where there is
    an item, and BatchExecuteStatement does 25 of them in one request, each for itself.
    """
    written: list[bool] = []
    for chunk in _chunks(items, MAX_STATEMENTS):
        outcome: dict[int, bool] = {}
        left = list(range(len(chunk)))
        for _ in _attempts():
            answer = _call("BatchExecuteStatement", {"Statements": [_insert(chunk[number]) for number in left]})
            for number, one in zip(left, answer["Responses"], strict=True):
                code = one.get("Error", {}).get("Code", "")
                if code not in _AGAIN:
                    outcome[number] = _inserted(code, one)
            left = [number for number in left if number not in outcome]
            if not left:
                break
        else:
            raise TableUnavailable("BatchExecuteStatement: throttled")
        written += [outcome[number] for number in range(len(chunk))]
    return written


def _insert(item: Mapping[str, Value]) -> dict[str, Any]:
    fields = ", ".join(f"'{name}': ?" for name in item)
    return {
        "Statement": f'INSERT INTO "{settings().table}" VALUE {{{fields}}}',
        "Parameters": list(_typed(item).values()),
    }


def _inserted(code: str, answer: Mapping[str, Any]) -> bool:
    if code not in ("", "DuplicateItem"):
        raise TableUnavailable(f"INSERT: {code}: {answer['Error'].get('Message')}")
    return not code


def _put_if(condition: Mapping[str, Any], item: Mapping[str, Value]) -> bool:
    answer = _call("PutItem", {"TableName": settings().table, "Item": _typed(item), **condition})
    return bool(answer["__type"] != "ConditionalCheckFailed")


def _call(operation: str, request: Mapping[str, Any]) -> Any:
    """The answer to one operation; a condition that does not hold is an answer too.

    Raises:
        TableUnavailable: it was refused, or throttled or not answered to the last.
    """
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    url, body = aws_http.service_url("dynamodb", "dynamodb") + "/", json.dumps(request).encode()
    problem = ""
    for _ in _attempts():
        try:
            answer = aws_http.request("POST", url, service="dynamodb", headers=headers, body=body, timeout=5)
        except (OSError, http.client.HTTPException) as error:
            problem = f"no answer: {error}"
            continue
        if answer.status >= 500:
            problem = f"HTTP {answer.status}"
            continue
        content: dict[str, Any] = json.loads(answer.body)
        kind = str(content.get("__type", "")).rpartition("#")[2].removesuffix("Exception")
        if answer.status == 200 or kind == "ConditionalCheckFailed":
            return content | {"__type": kind}
        problem = f"{kind}: {content.get('message') or content.get('Message')}"
        if kind not in _AGAIN:
            break
    raise TableUnavailable(f"{operation} on the table {settings().table!r}: {problem}")


def _attempts() -> Iterator[int]:
    """Counts the attempts, each after the first once its turn has come."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(0.05 * 2 ** (attempt - 1) * (0.5 + random.random() / 2))  # noqa: S311 - spreads callers out
        yield attempt


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _typed(item: Mapping[str, Value]) -> dict[str, Any]:
    """An item as DynamoDB writes it: each value with its type. Numbers are strings there, of up to 38 digits."""
    return {
        name: {"BOOL": value}
        if isinstance(value, bool)
        else {"S": value}
        if isinstance(value, str)
        else {"N": repr(value)}
        for name, value in item.items()
    }


def _plain(typed: Mapping[str, Any]) -> Item:
    item: Item = {}
    for name, value in typed.items():
        ((kind, content),) = value.items()
        item[name] = content if kind != "N" else int(content) if re.fullmatch(r"-?\d+", content) else float(content)
    return item
