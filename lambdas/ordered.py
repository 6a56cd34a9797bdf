"""Much to be done, some of it at once: the answers come in order, and memory does not grow with how much there is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], at_once: int) -> Iterator[Result]:
    """What `work` answers to each item, or raises, in their order; at most twice `at_once` answers wait to be fetched.

    `Executor.map` would begin all, and hold the answers of all, however slowly they are asked for.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(at_once) as workers:
        for item in items:
            if len(waiting) == 2 * at_once:
                yield waiting.popleft().result()
            waiting.append(workers.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
