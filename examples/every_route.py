"""One question through every route and format: python every_route.py "Why is the sky blue?"."""

from __future__ import annotations

import os
import sys

from anthropic import Anthropic
from openai import OpenAI

URL = os.environ.get("CCPROXY_URL", "http://127.0.0.1:8000")
TOKEN = os.environ.get("CCPROXY_TOKEN", "anything")
MODELS = {"api": "claude-sonnet-5-5", "sdk": "claude-sonnet-5-5", "codex": "gpt-5.5"}


def messages(route: str, question: str) -> str:
    client = Anthropic(base_url=f"{URL}/{route}", api_key=TOKEN)
    turns = [{"role": "user", "content": question}]
    reply = client.messages.create(model=MODELS[route], max_tokens=2000, messages=turns)
    return "".join(block.text for block in reply.content if block.type == "text")


def chat_completions(route: str, question: str) -> str:
    client = OpenAI(base_url=f"{URL}/{route}/v1", api_key=TOKEN)
    turns = [{"role": "user", "content": question}]
    return (
        client.chat.completions.create(model=MODELS[route], messages=turns)
        .choices[0]
        .message.content
    )


def responses(route: str, question: str) -> str:
    client = OpenAI(base_url=f"{URL}/{route}/v1", api_key=TOKEN)
    return client.responses.create(model=MODELS[route], input=question).output_text


if __name__ == "__main__":
    question = " ".join(sys.argv[1:]) or "Say hello."
    for route in MODELS:
        for ask in (messages, chat_completions, responses):
            print(f"/{route:<6} {ask.__name__:<17} {ask(route, question)}")
