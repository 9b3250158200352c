"""While passes compute, linear algebra has one thread; afterwards as many as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from ocompress.blas import one_thread
from ocompress.ir import Model
from ocompress.pipeline import Context, Outcome, Pass
from tests.contract.harness import context
from tests.graphs import ZOO


def threads() -> set[int]:
    found = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in found}


@pytest.fixture(autouse=True)
def two() -> Iterator[None]:
    if not threads():
        pytest.skip("no library that is known is behind this numpy")
    with threadpool_limits(2, user_api="blas"):
        yield


def test_passes_compute_with_one_thread() -> None:
    seen: list[set[int]] = []

    class Look(Pass):
        """Look how many threads there are."""

        name = "look"

        def run(self, model: Model, ctx: Context) -> Outcome:
            seen.append(threads())
            return Outcome()

    model = ZOO["mlp"]()
    context(model).run_one(Look(), model)
    assert seen == [{1}]
    assert threads() == {2}


def test_the_last_one_who_leaves_gives_the_threads_back() -> None:
    first, second = one_thread(), one_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == {2}


def fail() -> None:
    with one_thread():
        assert threads() == {1}
        msg = "odd"
        raise ValueError(msg)


def test_a_pass_that_fails_gives_them_back() -> None:
    with pytest.raises(ValueError, match="odd"):
        fail()
    assert threads() == {2}
