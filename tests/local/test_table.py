"""The table's helper, against the emulator's DynamoDB; and where DynamoDB throttles, breaks or refuses."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from ics.errors import TableUnavailable
from lambdas import aws_http, table
from lambdas.runtime import Settings
from local import control


@pytest.fixture(scope="session")
def made(aws):
    """A table with the keys of ours."""
    aws.client("dynamodb").create_table(
        TableName="table",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )
    return "table"


@pytest.fixture(autouse=True)
def function(aws, made, monkeypatch):
    """This process as a function that knows the table."""
    for name, value in {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": control.ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": control.REGION,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setattr(table, "settings", lambda: dataclasses.replace(Settings(), table=made))
    monkeypatch.setattr(table.time, "sleep", lambda _: None)
    yield
    for connection in chain.from_iterable(aws_http._connections.values()):
        connection.close()
    aws_http._connections.clear()


def item(pk, sk="x", **more):
    return {"pk": pk, "sk": sk, **more}


def test_items_come_back_as_they_were_put():
    given = item("put", text='a"b\n😀', empty="", yes=True, no=False, whole=-7, part=1e-9, large=2**60)
    assert table.get("put", "x") is None
    table.put(given)
    assert table.get("put", "x") == given
    assert [type(value) for value in table.get("put", "x").values()] == [type(value) for value in given.values()]


def test_an_item_is_new_once_and_replaced_only_where_it_is_what_was_known():
    assert table.put_new(item("once", run="a"))
    assert not table.put_new(item("once", run="b"))
    assert not table.put_over(item("once", run="b"), {"run": "c"})
    assert table.get("once", "x")["run"] == "a"
    assert table.put_over(item("once", run="b", at=5), {"run": "a"})
    assert not table.put_over(item("once", run="c"), {"run": "b", "at": 4})
    assert table.get("once", "x") == item("once", run="b", at=5)
    assert not table.put_over(item("never"), {"run": "a"})
    assert table.get("never", "x") is None


def test_numbers_are_added_up_by_many_at_once():
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda _: table.add("sum", "x", "sent", 2, also={"expires": 9}), range(50)))
    assert sorted(sums) == list(range(2, 101, 2))
    assert table.get("sum", "x") == item("sum", sent=100, expires=9)


def test_more_items_than_a_request_holds_are_written_read_and_deleted():
    items = [item("many", f"{number:03d}", number=number) for number in range(230)]
    table.write_many(items)
    keys = [("many", one["sk"]) for one in items]
    found = table.get_many([*keys, ("many", "none")])
    assert found == dict(zip(keys, items, strict=True))
    table.write_many([item("many", "000", number=-1)], deleted=keys[1:])
    assert list(table.get_many(keys).values()) == [item("many", "000", number=-1)]
    table.write_many([])
    assert table.get_many([]) == {}
    assert table.insert_many([]) == []


def test_of_many_who_insert_the_same_items_each_item_has_one_who_did():
    def insert(who):
        return table.insert_many([item("race", f"{number:03d}", who=who) for number in range(60)])

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(insert, range(8)))
    found = table.get_many([("race", f"{number:03d}") for number in range(60)])
    for number in range(60):
        (who,) = [who for who, outcome in enumerate(outcomes) if outcome[number]]
        assert found["race", f"{number:03d}"]["who"] == who


class Faulty:
    """`aws_http.request` that answers the scripted answers first: a status and JSON, or an exception."""

    def __init__(self, monkeypatch, *script):
        self.script, self.asked, self.real = list(script), [], aws_http.request
        monkeypatch.setattr(table.aws_http, "request", self.request)

    def request(self, *arguments, body, **more):
        self.asked.append(json.loads(body))
        if not self.script:
            return self.real(*arguments, body=body, **more)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return aws_http.Response(answer[0], {}, json.dumps(answer[1]).encode())


THROTTLED = 400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "m"}


def test_what_passes_is_tried_again(monkeypatch):
    faulty = Faulty(monkeypatch, THROTTLED, (500, {}), (503, "nonsense"), ConnectionResetError(), TimeoutError())
    table.put(item("again"))
    assert len(faulty.asked) == 6
    assert table.get("again", "x") == item("again")


@pytest.mark.parametrize(
    "answer", [THROTTLED, (500, {}), ConnectionRefusedError("refused")], ids=["throttled", "broken", "down"]
)
def test_what_does_not_pass_ends_as_an_error_that_names_the_table(monkeypatch, answer):
    faulty = Faulty(monkeypatch, *[answer] * 100)
    with pytest.raises(TableUnavailable, match="PutItem on the table 'table'"):
        table.put(item("never"))
    assert len(faulty.asked) == table.ATTEMPTS


def test_a_refusal_is_not_asked_again(monkeypatch):
    faulty = Faulty(monkeypatch)
    monkeypatch.setattr(table, "settings", lambda: dataclasses.replace(Settings(), table="none"))
    with pytest.raises(TableUnavailable, match="GetItem on the table 'none': ResourceNotFound"):
        table.get("a", "b")
    assert len(faulty.asked) == 1


def test_what_dynamodb_leaves_undone_is_asked_for_again(monkeypatch):
    keys = [("left", "0"), ("left", "1")]
    left = {"PutRequest": {"Item": {"pk": {"S": "left"}, "sk": {"S": "1"}}}}
    Faulty(monkeypatch, (200, {"UnprocessedItems": {"table": [left]}}))
    table.write_many([item(*key) for key in keys])
    assert list(table.get_many(keys)) == [("left", "1")]  # the fault swallowed the first
    unread = {"Keys": [{"pk": {"S": "left"}, "sk": {"S": "1"}}]}
    Faulty(monkeypatch, (200, {"Responses": {"table": []}, "UnprocessedKeys": {"table": unread}}))
    assert list(table.get_many(keys)) == [("left", "1")]
    for many, what in ((lambda: table.get_many(keys), "Keys"), (lambda: table.write_many([item("left")]), "Items")):
        answer = 200, {"Responses": {}, f"Unprocessed{what}": {"table": unread if what == "Keys" else [left]}}
        Faulty(monkeypatch, *[answer] * 100)
        with pytest.raises(TableUnavailable, match="throttled"):
            many()


def test_only_the_statements_that_were_throttled_are_sent_again(monkeypatch):
    throttled = {"Error": {"Code": "ThrottlingError", "Message": "slower"}}
    table.put(item("twice", "2"))
    faulty = Faulty(monkeypatch, (200, {"Responses": [{"TableName": "table"}, throttled, throttled]}))
    assert table.insert_many([item("twice", str(number)) for number in range(3)]) == [True, True, False]
    assert [len(asked["Statements"]) for asked in faulty.asked[-2:]] == [3, 2]
    invalid = {"Error": {"Code": "ValidationError", "Message": "bad"}}
    Faulty(monkeypatch, (200, {"Responses": [invalid]}))
    with pytest.raises(TableUnavailable, match="ValidationError: bad"):
        table.insert_many([item("twice")])
