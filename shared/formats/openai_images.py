"""OpenAI's Images interface on the image tool of a Responses service: its requests in, its replies
and events out.

One request becomes as many Responses requests as images are wanted, for the tool makes one at a
time. A text model calls the tool; the image model that a client names goes to the tool. `FIELDS`
says what becomes of every field.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.formats import ir
from shared.formats.fields import (
    FieldPolicy,
    Object,
    apply_policies,
    count_in,
    drop_empty,
    field_error,
    inner_object,
    invalid,
    missing,
)
from shared.formats.generated_images import IMAGE_CALL, IMAGE_TOOL
from shared.formats.ir import Json
from shared.formats.openai_errors import read_error
from shared.formats.openai_parts import read_image
from shared.formats.responses.usage import read_usage
from shared.formats.written import Frame

IMAGE_MODELS = ("gpt-image-", "chatgpt-image-", "dall-e-")
INSTRUCTIONS = (
    "Use the image_generation tool once, with the user's description as it is, to make the image "
    "the user asks for. Answer with that image alone, without any text."
)
MOST_IMAGES = 10
MOST_INPUT_IMAGES = 16
MOST_PARTIAL = 3

_TOOL = FieldPolicy("carried", "to the image tool")
FIELDS = {
    "prompt": FieldPolicy("carried"),
    "model": FieldPolicy(
        "carried",
        "an image model goes to the image tool; any other model is the one that calls the tool",
    ),
    "n": FieldPolicy(
        "carried", f"one request to the provider for each image, {MOST_IMAGES} at most"
    ),
    "stream": FieldPolicy("carried"),
    "partial_images": FieldPolicy("carried", "when streaming; as many as the provider sends"),
    **dict.fromkeys(
        (
            "size",
            "background",
            "complexity",
            "frame_count",
            "frame_duration_ms",
            "input_fidelity",
            "moderation",
            "output_compression",
            "output_format",
        ),
        _TOOL,
    ),
    "quality": FieldPolicy(
        "carried", "to the image tool; `standard` and `hd` are `auto` and `high`"
    ),
    "image": FieldPolicy("carried", f"edits only; up to {MOST_INPUT_IMAGES}"),
    "images": FieldPolicy("carried", "edits only; another spelling of `image`"),
    "mask": FieldPolicy("carried", "edits only"),
    "response_format": FieldPolicy(
        "refused", "no image is kept here, so that there is no address to tell", ("b64_json",)
    ),
    "style": FieldPolicy("dropped"),
    "user": FieldPolicy("dropped"),
    "safety_identifier": FieldPolicy("dropped"),
    "svg": FieldPolicy("refused", "the image tool has no setting for it"),
    "markup": FieldPolicy("refused", "the image tool has no setting for it"),
}
QUALITIES = {"standard": "auto", "hd": "high"}
REPORTED = ("size", "quality", "background", "output_format")
"""The settings that a finished image tells of itself."""
EDIT_ONLY = ("image", "images", "mask", "markup", "input_fidelity")


@dataclass(frozen=True, slots=True)
class ImagesRequest:
    """A request for images. `model` is the client's name, "" for none; `tool` the tool as offered
    to the model.
    """

    prompt: str
    tool: Json
    model: str = ""
    count: int = 1
    stream: bool = False
    images: tuple[Json, ...] = ()
    dropped: tuple[str, ...] = ()


def read_images_request(body: Json, *, edit: bool) -> ImagesRequest:
    """Return the request in `body`. Raises ClientError with the name of the unusable field."""
    dropped = apply_policies(body, FIELDS)
    asked = Object(body)
    prompt = asked.text("prompt")
    if not prompt.strip():
        raise invalid(prompt, "prompt", "Expected a description of the image.")
    if not edit:
        for name in EDIT_ONLY:
            if body.get(name) is not None:
                raise field_error(name, "it belongs to `/images/edits`")
    count = asked.count("n") or 1
    if count > MOST_IMAGES:
        raise invalid(count, "n", f"Expected at most {MOST_IMAGES}.")
    images = tuple(_input_images(asked)) if edit else ()
    model = asked.optional("model", str) or ""
    stream = asked.optional("stream", bool) or False
    return ImagesRequest(
        prompt, _read_tool(asked, edit, stream), model, count, stream, images, tuple(dropped)
    )


def _read_tool(asked: Object, edit: bool, stream: bool) -> Json:
    quality = asked.optional("quality", str)
    partial = asked.optional("partial_images", int)
    if partial is not None and not 0 <= partial <= MOST_PARTIAL:
        raise invalid(partial, "partial_images", f"Expected a number from 0 to {MOST_PARTIAL}.")
    mask = None
    if asked.get("mask") is not None:
        mask = {"image_url": _image_url(asked.get("mask"), "mask")}
    return {"type": IMAGE_TOOL, "action": "edit" if edit else "generate"} | drop_empty(
        size=asked.optional("size", str),
        quality=QUALITIES.get(quality or "", quality),
        background=asked.optional("background", str),
        complexity=asked.optional("complexity", str),
        frame_count=asked.count("frame_count"),
        frame_duration_ms=asked.count("frame_duration_ms"),
        input_fidelity=asked.optional("input_fidelity", str),
        moderation=asked.optional("moderation", str),
        output_compression=asked.optional("output_compression", int),
        output_format=asked.optional("output_format", str),
        partial_images=(partial or None) if stream else None,
        input_image_mask=mask,
    )


def _input_images(asked: Object) -> Iterable[Json]:
    name = "image" if asked.get("image") is not None else "images"
    given = asked.get(name)
    if given is None:
        raise missing("image")
    found = given if isinstance(given, list) else [given]
    if not 1 <= len(found) <= MOST_INPUT_IMAGES:
        raise invalid(len(found), name, f"Expected 1 to {MOST_INPUT_IMAGES} images.")
    for number, image in enumerate(found):
        path = f"{name}[{number}]" if isinstance(given, list) else name
        yield {"type": "input_image", "image_url": _image_url(image, path)}


def _image_url(image: Any, path: str) -> str:
    """Return the address of an image: a `data:` or `https:` URL, alone or in an object's
    `image_url`.
    """
    if isinstance(image, dict):
        if image.get("file_id") is not None:
            raise field_error(
                f"{path}.file_id",
                "files kept by OpenAI cannot be reached from here; send the image itself",
            )
        image = image.get("image_url")
        path = f"{path}.image_url"
    if not isinstance(image, str):
        raise invalid(image, path, "Expected an https: or data: URL.")
    read = read_image(image, path)
    return read.url or f"data:{read.media_type};base64,{read.data}"


def is_image_model(name: str) -> bool:
    """Return True if `name` names a model for images; no text model has such a name."""
    return name.startswith(IMAGE_MODELS)


def write_images_request(
    asked: ImagesRequest, *, caller: str, image_model: str, forced: bool
) -> Json:
    """Return the Responses request for an image. `caller` is the text model; `forced` makes the
    model use the tool.
    """
    tool = asked.tool | drop_empty(
        model=image_model if not image_model.startswith("dall-e-") else None
    )
    content = [{"type": "input_text", "text": asked.prompt}, *asked.images]
    return {
        "model": caller,
        "instructions": INSTRUCTIONS,
        "input": [{"type": "message", "role": "user", "content": content}],
        "tools": [tool],
        **({"tool_choice": {"type": IMAGE_TOOL}} if forced else {}),
        "store": False,
        "stream": True,
    }


class ImagesReader:
    """The events of a Responses stream. Feed every payload; `image` or `failed` is set once
    `finished`.

    `partial` are the earlier states of the image that the last payload brought.
    """

    def __init__(self) -> None:
        self.image: Json | None = None
        self.partial: list[Json] = []
        self.failed: ir.Fail | None = None
        self.finished = False
        self.usage = ir.Usage()
        self.tool_usage: Json = {}
        self.model = ""
        self._words: list[str] = []

    def feed(self, payload: Json) -> None:
        # The states of the payload before are over: they were read between two calls.
        self.partial = []
        kind = payload.get("type")
        if kind == f"response.{IMAGE_CALL}.partial_image":
            self.partial = [payload]
        elif kind == "response.output_item.done":
            self._keep(inner_object(payload, "item"))
        elif kind in ("response.completed", "response.done", "response.incomplete"):
            self._finish(inner_object(payload, "response"))
        elif kind in ("response.failed", "response.cancelled"):
            error = inner_object(inner_object(payload, "response"), "error")
            self._fail(
                read_error({"error": error or {"message": "The provider failed to answer."}}, 0)
            )
        elif kind == "error":
            self._fail(read_error({"error": payload.get("error") or payload}, 0))

    def _keep(self, item: Json) -> None:
        if (
            item.get("type") == IMAGE_CALL
            and isinstance(item.get("result"), str)
            and item["result"]
        ):
            self.image = item
        elif item.get("type") == IMAGE_CALL:
            error = inner_object(item, "error")
            message = str(error.get("message") or "The image was not made.")
            self.failed = ir.Fail(message, 400, str(error.get("code") or "image_not_made"))
        elif item.get("type") == "message":
            parts = item.get("content")
            for part in parts if isinstance(parts, list) else []:
                if isinstance(part, dict):
                    self._words.append(str(part.get("text") or part.get("refusal") or ""))

    def _finish(self, response: Json) -> None:
        output = response.get("output")
        for item in output if isinstance(output, list) and self.image is None else []:
            if isinstance(item, dict) and item.get("type") == IMAGE_CALL:
                self._keep(item)
        self.model = str(response.get("model") or "")
        self.usage = read_usage(response.get("usage"))
        self.tool_usage = inner_object(inner_object(response, "tool_usage"), "image_gen")
        self.finished = True
        if self.image is not None:
            self.failed = None
        elif self.failed is None:
            said = " ".join(self._words)[:500]
            why = f"The model answered without making an image{f': {said}' if said else '.'}"
            self.failed = ir.Fail(why, 400, "image_not_made", "prompt")

    def _fail(self, fail: ir.Fail) -> None:
        self.finished = True
        self.failed = fail


def images_usage(readers: Iterable[ImagesReader]) -> Json:
    """Return the cost of the images: the tool's own count, else the tokens of the model that called
    the tool.
    """
    totals = {
        "input_tokens": 0,
        "output_tokens": 0,
        "text_in": 0,
        "image_in": 0,
        "text_out": 0,
        "image_out": 0,
    }
    for reader in readers:
        told = reader.tool_usage or {
            "input_tokens": reader.usage.prompt,
            "output_tokens": reader.usage.output,
        }
        given = inner_object(told, "input_tokens_details")
        made = inner_object(told, "output_tokens_details")
        image_in = count_in(given, "image_tokens")
        totals["input_tokens"] += count_in(told, "input_tokens")
        totals["output_tokens"] += count_in(told, "output_tokens")
        totals["image_in"] += image_in
        totals["text_in"] += count_in(told, "input_tokens") - image_in
        totals["image_out"] += count_in(made, "image_tokens")
        totals["text_out"] += count_in(told, "output_tokens") - count_in(made, "image_tokens")
    return {
        "input_tokens": totals["input_tokens"],
        "input_tokens_details": {
            "image_tokens": totals["image_in"],
            "text_tokens": totals["text_in"],
        },
        "output_tokens": totals["output_tokens"],
        "output_tokens_details": {
            "image_tokens": totals["image_out"],
            "text_tokens": totals["text_out"],
        },
        "total_tokens": totals["input_tokens"] + totals["output_tokens"],
    }


def changed_settings(asked: ImagesRequest, images: Iterable[Json]) -> list[str]:
    """Return the settings chosen by the provider against the request."""
    wanted = {
        name: asked.tool[name] for name in REPORTED if asked.tool.get(name) not in (None, "auto")
    }
    found = list(images)
    return [
        name
        for name, value in wanted.items()
        if any(image.get(name) not in (None, value) for image in found)
    ]


def write_images_reply(images: list[Json], usage: Json, *, created: int) -> Json:
    """Return the whole reply with every image."""
    data = [
        {"b64_json": image["result"], **drop_empty(revised_prompt=image.get("revised_prompt"))}
        for image in images
    ]
    settings = {
        name: images[0].get(name) for name in REPORTED if images[0].get(name) not in (None, "auto")
    }
    return {"created": created, "data": data, **settings, "usage": usage}


def write_partial_image(payload: Json, kind: str, *, created: int) -> Frame:
    """Return the event of an earlier state of an image; `kind` is `image_generation` or
    `image_edit`.
    """
    number = payload.get("partial_image_index")
    event = {"type": f"{kind}.partial_image", "b64_json": payload.get("partial_image_b64") or ""}
    return Frame(
        event["type"], event | _settings(payload, created) | {"partial_image_index": number or 0}
    )


def write_finished_image(image: Json, kind: str, usage: Json, *, created: int) -> Frame:
    """Return the event of a finished image."""
    event = {"type": f"{kind}.completed", "b64_json": image["result"]}
    return Frame(event["type"], event | _settings(image, created) | {"usage": usage})


def _settings(told: Json, created: int) -> Json:
    defaults = {"size": "auto", "quality": "auto", "background": "auto", "output_format": "png"}
    return {"created_at": created} | {
        name: told.get(name) or default for name, default in defaults.items()
    }
