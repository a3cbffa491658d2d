from __future__ import annotations

from typing import Any

import pytest

from gateway.providers.worker_choice import WORKER_HEADER, choose_workers, read_choice
from shared.runtime.errors import ClientError, NoWorker


class Present:
    """The processes of a stack."""

    def __init__(self, *workers: dict[str, Any]) -> None:
        self.found = [{"service": "sdk_worker", **worker} for worker in workers]
        self.found.append({"service": "gateway", "instance": "gateway", "labels": ["gpu"]})

    async def processes(self) -> list[dict[str, Any]]:
        return self.found


ATTIC = {"instance": "attic", "labels": ["gpu", "home"]}
CELLAR = {"instance": "cellar", "labels": ["home"]}
PLAIN = {"instance": "plain"}


def test_the_header_is_a_list_of_labels_in_any_order() -> None:
    assert read_choice({WORKER_HEADER: b" home,gpu , "}) == {"gpu", "home"}
    assert read_choice({}) == frozenset()
    assert read_choice({WORKER_HEADER: b""}) == frozenset()


@pytest.mark.parametrize("value", [b"a b", b"g\xc3\xbc", b"-x", b"a,b,c,d,e,f"])
def test_a_header_that_no_worker_could_match_is_refused(value: bytes) -> None:
    with pytest.raises(ClientError, match="x-ccproxy-worker"):
        read_choice({WORKER_HEADER: value})


@pytest.mark.parametrize(
    ("wanted", "names", "queue"),
    [
        ({"home"}, {"attic", "cellar"}, "sdk:turn+home"),
        ({"home", "gpu"}, {"attic"}, "sdk:turn+gpu+home"),
        ({"plain"}, {"plain"}, "sdk:turn+plain"),
        ({"attic", "gpu"}, {"attic"}, "sdk:turn+attic"),
    ],
)
async def test_the_workers_with_all_of_the_labels_are_chosen(
    wanted: set[str], names: set[str], queue: str
) -> None:
    choice = await choose_workers(Present(ATTIC, CELLAR, PLAIN), frozenset(wanted))
    assert (choice.names, choice.queue.name) == (names, queue)


async def test_labels_that_no_worker_has_together_are_told_with_those_that_exist() -> None:
    present = Present(ATTIC | {"labels": ["gpu"]}, CELLAR)
    with pytest.raises(NoWorker) as refused:
        await choose_workers(present, frozenset({"gpu", "home"}))
    assert refused.value.message == (
        "x-ccproxy-worker: no worker has gpu, home together; the labels are gpu, home, and the "
        "workers are attic, cellar."
    )


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ([CELLAR], "no worker has gpu; the labels are home"),
        ([PLAIN], "no worker has a label"),
        ([], "no worker is there"),
        ([ATTIC | {"draining": True}], "no worker is there"),
    ],
)
async def test_without_a_worker_that_takes_turns_the_refusal_says_what_there_is(
    workers: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(NoWorker, match=words):
        await choose_workers(Present(*workers), frozenset({"gpu"}))
