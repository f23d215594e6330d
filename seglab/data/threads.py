"""Threads that read samples: decoding an image releases the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from seglab.processors import available_cpus

T = TypeVar("T")


def in_threads(function: Callable[[int], T], length: int, most: int = 8) -> Iterator[T]:
    """Yield `function(i)` for i = 0…length-1 in order, computed in at most `most` threads, a few results ahead."""
    workers = min(most, available_cpus())
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for index in range(length):
                waiting.append(pool.submit(function, index))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
