"""The bus between the processes: `publish`, `call` (its answer is a stream) and `serve`, over Redis
6.2 streams.

`bus` alone talks to Redis, over a `connection`; `calls` and `deliveries` are the two ends of a
conversation, `wire` is what travels between them, `watch` says who has fallen silent.
"""

from shared.bus.bus import Bus
from shared.bus.calls import Call
from shared.bus.deliveries import Delivery, Slots
from shared.bus.watch import Timings

__all__ = ["Bus", "Call", "Delivery", "Slots", "Timings"]
