"""The executor seam: what holds for every engine that work is mapped over."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dfprompt.errors import DFPromptError
from dfprompt.executor import Executor, LocalExecutor
from dfprompt.executor.dispatch import CrewExecutor
from dfprompt.executor.on_ray import RayCrew
from dfprompt.executor.processes import ProcessCrew
from threaded_executor import ThreadedExecutor

Make = Callable[[], Executor]


def _on_processes() -> Executor:
    # Functions of tests are local to them: what a worker is given otherwise can be imported there.
    cloudpickle = pytest.importorskip("ray.cloudpickle", reason="the extra ray is not installed")
    return CrewExecutor(ProcessCrew(2, dumps=cloudpickle.dumps))


def _on_ray() -> Executor:
    return CrewExecutor(RayCrew(2))


@pytest.fixture(
    params=[
        pytest.param(LocalExecutor, id="local"),
        pytest.param(partial(ThreadedExecutor, 2), id="threads-2"),
        pytest.param(partial(ThreadedExecutor, 5), id="threads-5"),
        pytest.param(_on_processes, id="processes-2"),
        pytest.param(_on_ray, id="ray-2", marks=[pytest.mark.enable_socket, pytest.mark.nightly]),
    ]
)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Every implementation, closed after the test."""
    if request.param is _on_ray:
        request.getfixturevalue("ray_cluster")
    made: list[Executor] = []

    def one() -> Executor:
        made.append(request.param())
        return made[-1]

    yield one
    for executor in made:
        executor.close()


def _double(number: int) -> int:
    return 2 * number


def test_it_is_an_executor(make: Make) -> None:
    assert isinstance(make(), Executor)


@pytest.mark.parametrize("count", [0, 1, 2, 37])
def test_results_come_in_the_order_of_the_items(make: Make, count: int) -> None:
    assert list(make().map(_double, range(count))) == [2 * number for number in range(count)]


def test_order_holds_whatever_finishes_first(make: Make) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    assert list(make().map(slow_first, range(12))) == list(range(12))


def test_an_endless_stream_can_be_mapped(make: Make) -> None:
    drawn = itertools.count()
    assert list(itertools.islice(make().map(_double, drawn), 5)) == [0, 2, 4, 6, 8]
    assert next(drawn) <= 5 + 2 * 5  # a bounded number ahead


def test_nothing_is_drawn_before_a_result_is_asked_for(make: Make) -> None:
    drawn: list[int] = []

    def items():
        for number in range(3):
            drawn.append(number)
            yield number

    results = make().map(_double, items())
    assert drawn == []
    assert next(results) == 0
    assert drawn


def test_the_first_failure_is_raised_at_its_place_as_it_is(make: Make) -> None:
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise KeyError("three")
        return number

    results = make().map(fail_at_three, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_it_can_be_used_again_after_a_failure(make: Make) -> None:
    executor = make()

    def fail(number: int) -> int:
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        list(executor.map(fail, range(4)))
    assert list(executor.map(_double, [1])) == [2]


def test_an_abandoned_map_leaves_it_usable(make: Make) -> None:
    executor = make()
    results = executor.map(_double, itertools.count())
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert list(executor.map(_double, [4])) == [8]


def test_every_item_is_worked_on_once(make: Make, tmp_path: Path) -> None:
    def note(number: int) -> int:  # in a file: the work may be done by another process
        descriptor = os.open(tmp_path / str(number), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, b".")
        os.close(descriptor)
        return number

    list(make().map(note, range(50)))
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {str(n): "." for n in range(50)}


def test_two_maps_may_be_alive_at_once(make: Make) -> None:
    executor = make()
    first, second = executor.map(_double, range(5)), executor.map(str, range(5))
    pairs = list(zip(first, second, strict=True))
    assert pairs == [(2 * number, str(number)) for number in range(5)]


def test_closing_twice_is_fine_and_ends_its_work(make: Make) -> None:
    executor = make()
    running = executor.map(_double, range(100))
    next(running)
    executor.close()
    executor.close()
    with pytest.raises(DFPromptError, match="closed"):
        list(running)
    with pytest.raises(DFPromptError, match="closed"):
        executor.map(_double, [1])
