"""The image tool: what it takes, when the simulated model uses it, and the pictures it makes.

The backend lets nobody force the tool and chooses size, quality and format itself, whatever it is
asked; the public interface does as it is told. The Codex program asks the backend for pictures at
routes of their own, without a model.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from simulator.codex.problem import refuse_parameter
from simulator.shape import (
    Check,
    at_least,
    at_most,
    integer,
    list_of,
    literal,
    mapping,
    matching,
    nullable,
    record,
    text,
)

Item = dict[str, Any]

TOOL = "image_generation"
CALL = "image_generation_call"
FORMATS = ("png", "webp", "jpeg", "gif", "svg")
QUALITIES = ("low", "medium", "high", "xhigh", "max", "auto")
SHAPE: Check = record(
    action=literal("generate", "edit", "auto"),
    background=literal("transparent", "opaque", "auto"),
    complexity=literal("low", "medium", "high"),
    frame_count=at_least(2, at_most(16, integer)),
    frame_duration_ms=at_least(1),
    input_fidelity=nullable(literal("high", "low")),
    input_image_mask=record(image_url=text, file_id=text),
    model=text,
    moderation=literal("auto", "low"),
    output_compression=at_least(0, at_most(100, integer)),
    output_format=literal(*FORMATS),
    partial_images=at_least(0, at_most(3, integer)),
    quality=literal(*QUALITIES),
    svg=mapping,
    size=matching(r"^(auto|[1-9]\d{1,3}x[1-9]\d{1,3})$"),
)
OF_A_ROUTE: dict[str, Check] = {
    "prompt": matching(r"\S"),
    "model": text,
    "background": literal("transparent", "opaque", "auto"),
    "n": at_least(1, at_most(10, integer)),
    "quality": literal("low", "medium", "high", "auto"),
    "size": text,
}
GENERATION: Check = record("prompt model", **OF_A_ROUTE)
EDIT: Check = record(
    "prompt images", **OF_A_ROUTE, images=list_of(record("image_url", image_url=text))
)
CHOSEN_BY_BACKEND = {
    "size": "1254x1254",
    "quality": "medium",
    "background": "opaque",
    "output_format": "png",
}
DEFAULTS = {"size": "1024x1024", "quality": "high", "background": "opaque", "output_format": "png"}
MAGIC = {
    "jpeg": b"\xff\xd8\xff\xe0",
    "webp": b"RIFF\x24\x00\x00\x00WEBP",
    "gif": b"GIF89a",
    "svg": b"<svg/>",
}
INPUT_TOKENS = 20
OUTPUT_TOKENS = 1_000


def check_tool(tool: Item, choice: Any, items: list[Item], *, public: bool) -> None:
    """Raise the service's refusal for a tool without sense, or for a forced tool where no tool can
    be forced.
    """
    if not public and isinstance(choice, dict) and choice.get("type") == TOOL:
        refuse_parameter(f"Tool choice '{TOOL}' not found in 'tools' parameter.", "tool_choice")
    form = tool.get("output_format", "png")
    if tool.get("background") == "transparent" and form not in {"png", "webp"}:
        refuse_parameter(
            "Transparent background is not supported for this output format.",
            "tools",
            "invalid_value",
        )
    if tool.get("output_compression", 100) != 100 and form not in {"jpeg", "webp"}:
        refuse_parameter(
            f"Compression is not supported for {form} output format.", "tools", "invalid_value"
        )
    if tool.get("model", "").startswith(("gpt-image-1-2025", "dall-e")):
        refuse_parameter(f"Invalid value: '{tool['model']}'.", "tools", "invalid_value")
    if tool.get("action") == "edit" and not any(holds_image(item) for item in items):
        refuse_parameter("An image is required to edit.", "input", "missing_required_parameter")


def holds_image(item: Item) -> bool:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return item["type"] == CALL or any(part.get("type") == "input_image" for part in parts)


def wants_image(tools: dict[str, Item], choice: Any, told: str, prompt: str) -> bool:
    """Return True if the model uses the tool: the tool is forced, the instructions (`told`) say so,
    or the prompt says "draw".
    """
    if TOOL not in tools or choice == "none":
        return False
    is_forced = isinstance(choice, dict) and choice.get("type") == TOOL
    return is_forced or TOOL in told or "draw" in prompt.lower().split()


def make_call(tool: Item, prompt: str, *, public: bool) -> Item:
    """Return the finished call, with the picture."""
    asked = {name: value for name, value in tool.items() if name in DEFAULTS and value != "auto"}
    # The public interface does as it is told; the backend chooses for itself, and a client has to
    # read what it got.
    settings = DEFAULTS | asked if public else CHOSEN_BY_BACKEND
    return {
        "type": CALL,
        "action": tool.get("action", "generate"),
        "revised_prompt": f"A picture: {prompt}"[:200],
        "result": picture(prompt, settings["output_format"]),
        **settings,
    }


def picture(prompt: str, form: str, share: float = 1.0) -> str:
    """Return a picture in a single colour, chosen by the prompt, in base64; `share` makes partial
    pictures differ.
    """
    seed = zlib.crc32(f"{prompt} {share}".encode())
    if form != "png":
        return base64.b64encode(MAGIC[form] + struct.pack(">I", seed)).decode()
    row = b"\x00" + struct.pack(">I", seed)[:3]
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


def partial_pictures(item: Item, count: int) -> list[str]:
    """Return the earlier states of a call's picture."""
    return [
        picture(item["revised_prompt"], item["output_format"], (step + 1) / 10)
        for step in range(count)
    ]


def tool_usage(output: list[Item]) -> Item | None:
    """Return the cost of the pictures among the output, if there are any."""
    count = sum(item["type"] == CALL for item in output)
    if not count:
        return None
    spent = {"image_tokens": OUTPUT_TOKENS * count, "text_tokens": 0}
    image_gen = {
        "input_tokens": INPUT_TOKENS * count,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": INPUT_TOKENS * count},
        "output_tokens": OUTPUT_TOKENS * count,
        "output_tokens_details": spent,
        "total_tokens": (INPUT_TOKENS + OUTPUT_TOKENS) * count,
    }
    return {"image_gen": image_gen, "web_search": {"num_requests": 0}}


def reply_of_route(body: Item) -> Item:
    """Return the answer of the backend's own routes for images."""
    count = body.get("n", 1)
    form = CHOSEN_BY_BACKEND["output_format"]
    usage = tool_usage([{"type": CALL}] * count) or {}
    data = [{"b64_json": picture(body["prompt"], form, number + 1)} for number in range(count)]
    return {
        "created": 1_780_000_000,
        "data": data,
        **CHOSEN_BY_BACKEND,
        "usage": usage["image_gen"],
    }
