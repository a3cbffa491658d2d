from __future__ import annotations

from gateway.proxy.estimate import IMAGE_TOKENS, estimate


def message(content: object) -> dict[str, object]:
    return {"model": "gpt-x", "messages": [{"role": "user", "content": content}]}


def test_text_counts_by_its_bytes() -> None:
    assert estimate(message("x" * 400)) in range(100, 110)
    assert estimate(message("ü" * 400)) in range(200, 210)


def test_an_image_counts_as_one_whatever_its_size() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}
    assert estimate(message([{"type": "image", "source": source}])) in range(
        IMAGE_TOKENS, IMAGE_TOKENS + 20
    )


def test_a_document_counts_by_its_size() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "A" * 100_000}
    assert estimate(message([{"type": "document", "source": source}])) in range(3_000, 3_020)


def test_what_no_model_reads_costs_nothing() -> None:
    assert estimate(message("hi") | {"metadata": {"user_id": "x" * 400}}) == estimate(message("hi"))


def test_tools_and_system_count() -> None:
    more = {
        "system": "x" * 400,
        "tools": [{"name": "f", "input_schema": {"type": "object", "required": ["x" * 400]}}],
    }
    assert estimate(message("hi") | more) > 200


def test_a_deeply_nested_part_is_counted() -> None:
    deepest: object = "x" * 400
    for _ in range(800):
        deepest = [deepest]
    assert estimate(message(deepest)) >= 100
