"""A process on the bus, to be killed: `bus_process.py URL INSTANCE TIMINGS ROLE`. Every line it
prints is a fact.

work    serves TURNS: prints `started ID`, then sends what the payload asks for
hoard   takes TURNS without accepting any: prints `took ID`
alone   says its address, takes calls to it alone without accepting any: prints `took ID`
late    takes one of TURNS, prints `took ID`, and works on it when it is sent a line
think   accepts ASKS and never decides: prints `took ID`
ask     calls TURNS: prints every reply
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from shared.bus import Bus, Delivery, Timings
from shared.bus.channels import Channel
from shared.runtime.errors import CallerGone

TURNS = Channel("test:turns", "on_accept")
ASKS = Channel("test:asks", "when_done")


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def work(bus: Bus, slots: int = 10) -> None:
    async with asyncio.TaskGroup() as tasks:
        async for delivery in bus.serve(TURNS, slots=slots):
            tasks.create_task(run_turn(delivery))


async def run_turn(delivery: Delivery) -> None:
    """Send `replies` numbers, `pause` seconds apart."""
    asked = json.loads(delivery.payload)
    try:
        await delivery.accept()
        say("started", delivery.request_id)
        for number in range(asked["replies"]):
            await delivery.send(str(number).encode())
            await asyncio.sleep(asked.get("pause", 0))
    except CallerGone:
        say("gone", delivery.request_id)
    await delivery.finish()


async def hoard(bus: Bus) -> None:
    async for delivery in bus.serve(TURNS, slots=10):
        say("took", delivery.request_id)


async def alone(bus: Bus) -> None:
    say(bus.address)
    async for delivery in bus.serve(TURNS.at(bus.address), slots=10):
        say("took", delivery.request_id)


async def late(bus: Bus) -> None:
    delivery = await anext(bus.serve(TURNS, slots=1))
    say("took", delivery.request_id)
    await asyncio.to_thread(sys.stdin.readline)
    await run_turn(delivery)


async def think(bus: Bus) -> None:
    async for delivery in bus.serve(ASKS, slots=10):
        await delivery.accept()
        say("took", delivery.request_id)


async def ask(bus: Bus) -> None:
    async with bus.call(TURNS, {"replies": 100_000, "pause": 0.01}, request_id="asked") as replies:
        async for reply in replies:
            say(reply.decode())


async def main(url: str, instance: str, timings: str, role: str) -> None:
    roles = {"work": work, "hoard": hoard, "alone": alone, "late": late, "think": think, "ask": ask}
    async with Bus(
        url, service=role, instance=instance, timings=Timings(**json.loads(timings))
    ) as bus:
        say("ready")
        await roles[role](bus)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
