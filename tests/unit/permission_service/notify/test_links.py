"""Links are bound to one request and one answer, and outlive the process that made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from permission_service.notify.links import AnswerLinks
from permission_service.requests import PermissionRequests, RequestAnswer
from shared.bus.channels import PermissionRequest
from shared.permissions.answer_links import link_digest
from shared.runtime.errors import BusUnavailable, Gone
from tests.unit.permission_service.conftest import MemoryBus

Make = Callable[[], AnswerLinks]


@pytest.fixture
def requests() -> PermissionRequests:
    found = PermissionRequests(300)
    found.keep(found.open(PermissionRequest("a", "Bash", {}, asked_at=5.0), 5.0))
    return found


@pytest.fixture
def make(requests: PermissionRequests, bus: MemoryBus) -> Make:
    return lambda: AnswerLinks(requests, bus)  # type: ignore[arg-type]


async def test_marks_and_links_are_found_by_the_next_process(
    make: Make, requests: PermissionRequests
) -> None:
    links, stored = make(), requests.find("a")
    tokens = await links.renew(stored, 5.0)
    await links.mark(stored, "ntfy", 5.0)
    again = make()
    await again.load()
    assert again.has_sent("a", "ntfy") is True
    assert again.has_sent("a", "webhook") is False
    assert again.find(link_digest(tokens.allow)) == ("a", True)
    assert again.find(link_digest(tokens.deny)) == ("a", False)
    await again.unmark(stored, "ntfy", 5.0)
    assert again.has_sent("a", "ntfy") is False


async def test_new_links_end_the_earlier_ones(make: Make, requests: PermissionRequests) -> None:
    links, stored = make(), requests.find("a")
    first = await links.renew(stored, 5.0)
    await links.renew(stored, 5.0)
    with pytest.raises(Gone):
        links.find(link_digest(first.allow))


async def test_a_link_of_an_ended_or_forgotten_request_is_gone(
    make: Make, requests: PermissionRequests
) -> None:
    links, stored = make(), requests.find("a")
    tokens = await links.renew(stored, 5.0)
    requests.keep(requests.settle("a", RequestAnswer(True, "bob"), 6.0))
    with pytest.raises(Gone, match="bob allowed"):
        links.find(link_digest(tokens.deny))
    requests.drop(stored)
    with pytest.raises(Gone, match="used up"):
        links.find(link_digest(tokens.deny))
    links.forget_ended()
    with pytest.raises(Gone, match="used up"):
        links.find(link_digest(tokens.deny))


async def test_a_link_that_redis_refused_is_an_error(
    make: Make, requests: PermissionRequests, bus: MemoryBus
) -> None:
    bus.down = True
    stored: Any = requests.find("a")
    with pytest.raises(BusUnavailable):
        await make().renew(stored, 5.0)
