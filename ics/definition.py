"""What a state machine's definition says of a run that goes well: its states, what they cost, what history they write.

Sources: AWS Step Functions Developer Guide, "Quotas" and "Using Map state in Distributed mode"; API reference,
HistoryEvent; pricing page: a Standard execution pays each state that is entered, and one transition for each child
execution that a distributed Map starts. What happens in a child is no transition and no event of its parent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ics.errors import InvalidDefinition

# Events of a state that succeeds, by type. A Task: entered, scheduled, started, succeeded, exited. A Map in distributed
# mode: entered, started, its Map run started and succeeded, succeeded, exited.
_EVENTS = {"Task": 5, "Map": 6, "Choice": 2, "Pass": 2, "Succeed": 2, "Wait": 2}
_OF_THE_EXECUTION = 2  # started, succeeded
_LAMBDA = "arn:aws:states:::lambda:invoke"
_SNS = "arn:aws:states:::sns:publish"

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Walk:
    """One way through a definition, from its start to its success: the states by name, in order."""

    states: Mapping[str, State]

    @property
    def functions(self) -> list[str]:
        """The Lambda functions invoked: by the definition's placeholder, or the state's name where a run chooses it."""
        return [function for name, state in self.states.items() for function in _invoked(name, state)]

    @property
    def published(self) -> int:
        """Messages published to SNS."""
        return sum(state.get("Resource") == _SNS for state in self.states.values())

    @property
    def events(self) -> int:
        """Events that a Standard execution writes on this way, whatever its distributed Maps work through."""
        return _OF_THE_EXECUTION + sum(_EVENTS[state["Type"]] for state in self.states.values())

    def batch(self) -> "Walk":
        """The way of a batch: through the inline Map of the Express children of this way's distributed Map.

        Raises:
            InvalidDefinition: there is not exactly one of either.
        """
        child = self._map({"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"})
        return child._map({"Mode": "INLINE"})

    def _map(self, config: Mapping[str, str]) -> "Walk":
        """The way through the item processor of the only Map on this way, which must be of this kind."""
        maps = [state["ItemProcessor"] for state in self.states.values() if state["Type"] == "Map"]
        if len(maps) != 1 or maps[0]["ProcessorConfig"] != config:
            raise InvalidDefinition(f"expected one Map of {dict(config)} on the way to success, found {len(maps)}")
        return walk(maps[0])


def walk(definition: Mapping[str, Any]) -> Walk:
    """The way of a run that goes well: no Catch is taken, and of a Choice the first branch that leads to success.

    Raises:
        InvalidDefinition: no way leads to success.
    """
    found = _way(definition["States"], definition["StartAt"], ())
    if found is None:
        raise InvalidDefinition(f"no way leads from {definition['StartAt']} to success")
    return Walk({name: definition["States"][name] for name in found})


def invoked_by(definition: Mapping[str, Any]) -> Iterator[str]:
    """The functions that a definition invokes on any way, its Maps included, named as `Walk.functions` names them."""
    for name, state in definition["States"].items():
        yield from _invoked(name, state)
        if "ItemProcessor" in state:
            yield from invoked_by(state["ItemProcessor"])


def _invoked(name: str, state: State) -> Iterator[str]:
    if state.get("Resource") == _LAMBDA and "FunctionName.$" in state["Parameters"]:
        yield name
    elif state.get("Resource") == _LAMBDA:
        yield str(state["Parameters"]["FunctionName"]).removeprefix("${").removesuffix("}")


def _way(states: Mapping[str, State], name: str, before: tuple[str, ...]) -> tuple[str, ...] | None:
    way = (*before, name)
    state = states[name]
    if state["Type"] == "Succeed" or state.get("End"):
        return way
    ways = (_way(states, following, way) for following in _following(state) if following not in way)
    return next((found for found in ways if found is not None), None)


def _following(state: State) -> Iterator[str]:
    if state["Type"] == "Choice":
        yield from (choice["Next"] for choice in state["Choices"])
        if "Default" in state:
            yield state["Default"]
    elif "Next" in state:
        yield state["Next"]
