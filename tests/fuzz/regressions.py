"""Inputs that broke a reader once: the smallest one of each find, as the search keeps them. The
defects have tests of their own beside the modules that had them.
"""

from __future__ import annotations

from tests.fuzz.targets.target import seed

DEEP = b"[" * 1000 + b"]" * 1000
ASKED = {"request_id": "p", "tool_name": "Bash", "input": {}}
HALF = "\ud83d"  # half of a surrogate pair

# Reasoning that nothing announced, or that was announced under another id than it ends with.
REASONING = [
    b'data: {"type":"response.reasoning_summary_text.delta","delta":"a"}',
    b'data: {"type":"response.reasoning_text.delta","delta":"a","item_id":"x"}',
    b'data: {"type":"response.output_item.added","item":{"type":"reasoning","id":"x"}}',
]
ENDING = (
    b'\n\ndata: {"type":"response.completed","response":{"output":['
    b'{"type":"reasoning","id":"y","encrypted_content":"e"}]}}\n\n'
)
TWO_OF_ONE_ID = (
    b'data: {"type":"response.completed","response":{"output":[{"type":"web_search_call","id":"x"},'
    b'{"type":"reasoning","id":"x","summary":[{"text":"a"}]}]}}\n\n'
)

REGRESSIONS: dict[str, list[bytes]] = {
    "claude-replies": [
        seed(9, {"unifiedWindows": [[]]}),
        seed(9, {"unifiedWindows": {"five_hour": 1.5}}),
    ],
    "codex-replies": [
        seed(4, b'data: {"type":{"response.created":19},"response":{"id":"r"}}\n\n'),
        seed(3, b'data: {"type":["error"]}\n\n'),
        seed(4, b'data: {"type":"\\ud800","response":{"error":null}}\n\n'),
        seed(
            2,
            b'data: {"type":"response.output_text.annotation.added","annotation":'
            b'{"type":["text"],"title":"a"}}\n\ndata: {"type":"response.completed"}\n\n',
        ),
        *(seed(2, first + ENDING) for first in REASONING),
        seed(2, TWO_OF_ONE_ID),
    ],
    "bus": [
        seed(20, b"a\0b"),
        seed(20, b"data\0{}\0id\0\xff"),
        seed(19, b"k\0reply\0n\0three"),
        seed(18, b'{"begun":f'),
        seed(18, {"begun": [{"model": HALF}]}),
        seed(21, {"error": {}, "message": [], "status": "busy", "headers": 7}),
        seed(21, {"error": "UpstreamRefused", "status": [], "body": [[]]}),
        seed(
            17,
            {
                "columns": ["request_id", "timestamp", "tokens_input", HALF],
                "rows": [["a", 1, 10**30, 0]],
            },
        ),
    ],
    "rules": [
        seed(1, {"rules": [{"tool": "Bash", "command": f"m{HALF}"}], "request": ASKED}),
        seed(3, b" cat 'a b' e\\ "),
    ],
    "requests": [
        seed(3, {"model": "m", "messages": [{"role": "user", "content": [{"type": {}}]}]}),
        seed(3, {"model": "m", "messages": [{"role": {}, "content": "hi"}]}),
        seed(3, {"model": "m", "system": [1], "messages": [{"role": "user", "content": "hi"}]}),
        seed(10, {"model": "gpt-5.5", "input": "hi", "prompt_cache_key": HALF}),
        seed(0, b'{"model":"m","messages":' + DEEP + b"}"),
        seed(12, b'{"model":"m","messages":' + DEEP[300:-300] + b"}"),
        seed(12, {"model": "m", "tools": [{"name": HALF}]}),
    ],
    "asking": [
        seed(0, {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": 1.5}),
        seed(2, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": 7}, 6),
        seed(2, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": "x"}, 7),
        seed(
            3,
            {"tool_name": "Read", "input": {"file_path": "a"}, "working_directory": "/b\0c"},
            7,
        ),
    ],
    "program": [
        seed(0, {"type": "stream_event", "event": 7}),
        seed(0, {"type": "assistant", "message": {"content": [{}]}}),
        seed(0, {"type": "user", "message": {"content": ["text"]}}),
        seed(1, {"type": "control_response"}),
        seed(1, {"type": "control_request", "request": False}),
        seed(1, {"type": "control_cancel_request", "request_id": {}}),
    ],
    "files": [
        seed(0, DEEP, 0),
        seed(3, b'{"claudeAiOauth":' + DEEP + b"}"),
        seed(3, {"claudeAiOauth": {"accessToken": "a", "expiresAt": 10**400}}),
        seed(4, DEEP),
    ],
}
