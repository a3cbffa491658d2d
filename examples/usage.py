"""The last requests, model by model: python usage.py."""

from __future__ import annotations

import os
from collections import defaultdict

import httpx

URL = os.environ.get("CCPROXY_URL", "http://127.0.0.1:8000")
HEADERS = {"x-api-key": os.environ.get("CCPROXY_TOKEN", "anything")}

found = (
    httpx.get(f"{URL}/logs/query", params={"limit": 1000}, headers=HEADERS)
    .raise_for_status()
    .json()
)
totals: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0])
for request in found["results"]:
    if request["model"]:
        amounts = (1, request["tokens_input"], request["tokens_output"], request["cost_usd"] or 0.0)
        totals[request["model"]] = [
            sum(pair) for pair in zip(totals[request["model"]], amounts, strict=True)
        ]
print(f"{'model':<24} {'requests':>8} {'tokens in':>10} {'tokens out':>10} {'cost':>10}")
for model, (requests, tokens_in, tokens_out, cost) in sorted(totals.items()):
    print(f"{model:<24} {requests:>8} {tokens_in:>10} {tokens_out:>10} {cost:>9.4f}$")
