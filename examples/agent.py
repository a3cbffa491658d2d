"""An agent that may read the files of this folder: python agent.py "What does greet.py do?"."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from anthropic import Anthropic, beta_tool

FOLDER = Path.cwd()


@beta_tool
def list_files() -> str:
    """Name the files of this folder, one a line."""
    return "\n".join(sorted(path.name for path in FOLDER.iterdir() if path.is_file()))


@beta_tool
def read_file(name: str) -> str:
    """Read a file of this folder.

    Args:
        name: as list_files names it
    """
    path = (FOLDER / name).resolve()
    return (
        path.read_text()
        if path.parent == FOLDER.resolve()
        else "That is not a file of this folder."
    )


if __name__ == "__main__":
    client = Anthropic(
        base_url=os.environ.get("CCPROXY_URL", "http://127.0.0.1:8000") + "/api",
        api_key=os.environ.get("CCPROXY_TOKEN", "anything"),
    )
    runner = client.beta.messages.tool_runner(
        model="claude-sonnet-5-5",
        max_tokens=4000,
        tools=[list_files, read_file],
        messages=[{"role": "user", "content": " ".join(sys.argv[1:]) or "What is in this folder?"}],
        stream=True,
    )
    for turn in runner:
        for event in turn:
            if event.type == "text":
                print(event.text, end="", flush=True)
            elif event.type == "content_block_stop" and event.content_block.type == "tool_use":
                print(f"[{event.content_block.name} {event.content_block.input}]")
    print()
