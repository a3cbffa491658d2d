"""The desk's two channels: tools ask for permission, people look at what is asked."""

from __future__ import annotations

from permission_service.desk import Desk
from shared.bus import Delivery
from shared.channels import DeskQuestion, PermissionAsk, decode, encode
from shared.errors import ClientError
from shared.log import get_log
from shared.metrics import DeskMetrics


class DeskServer:
    """Brings deliveries to the desk and its answers back."""

    def __init__(self, desk: Desk, metrics: DeskMetrics) -> None:
        self._desk = desk
        self._metrics = metrics

    async def ask(self, delivery: Delivery) -> None:
        """Send the one decision. Raises ClientError."""
        ask = decode(PermissionAsk, delivery.payload)
        decision = self._desk.open(ask)
        self._metrics.pending.set(len(self._desk.pending()))
        self._metrics.decided.labels(decision.outcome).inc()
        get_log().info(
            "permission_decided",
            request_id=ask.request_id,
            tool=ask.tool_name,
            caller=ask.caller,
            outcome=decision.outcome,
            reason=decision.message,
        )
        await delivery.send(encode(decision))

    async def answer(self, delivery: Delivery) -> None:
        """Send what a person wants to know: `pending` is the list of open asks. Raises ClientError."""
        question = decode(DeskQuestion, delivery.payload)
        if question.verb != "pending":
            raise ClientError(f"verb: the desk does not know {question.verb!r}.")
        await delivery.send(encode(self._desk.pending()))
