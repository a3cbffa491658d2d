"""The bus between the processes: `publish`, `call` (its answer is a stream) and `serve`, over Redis
6.2 streams.

`bus` has the verbs. `calls` and `deliveries` are the two ends of a conversation, `states` what can
happen to each, `wire` what travels between them. `link` is the connection to Redis, `peers` this
process among the others, `consumer` the reading of channels, `watch` the silence of processes.
"""

from shared.bus.bus import Bus
from shared.bus.calls import Call
from shared.bus.deliveries import Delivery, Slots
from shared.bus.watch import Timings

__all__ = ["Bus", "Call", "Delivery", "Slots", "Timings"]
