"""Settings of the first ccproxy that are none here, and what became of each. Nobody's old file
fails without a reason.

A key is the beginning of a name. `docs/upgrade.md` lists them all.
"""

from __future__ import annotations

RETIRED = {
    "SERVER__RELOAD": "a stack is restarted whole: stop it and start it again",
    "SERVER__LOG_SHOW_PATH": "every log line names its service; use SERVER__LOG_FORMAT",
    "SERVER__LOG_SHOW_TIME": "every log line has its time; use SERVER__LOG_FORMAT",
    "SERVER__LOG_CONSOLE_WIDTH": "the terminal's own width is used",
    "SERVER__LOG_FILE": "logs go to standard output: send them where you like (`ccproxy serve >> "
    "FILE`, journald)",
    "SERVER__USE_TERMINAL_PERMISSION_HANDLER": "run `ccproxy permission-handler` in a terminal",
    "CORS": "pages of other origins may not use this server; put its own pages under "
    "SECURITY__ALLOWED_HOSTS",
    "CLAUDE__SDK_SESSION_POOL": "named sessions are SDK__MAX_SESSIONS and "
    "SDK__SESSION_IDLE_SECONDS",
    "CLAUDE__SYSTEM_PROMPT_INJECTION_MODE": "nothing is added to a request's system prompt",
    "CODEX__CALLBACK_PORT": "it is CODEX__OAUTH__CALLBACK_PORT",
    "CODEX__REDIRECT_URI": "the provider fixes it; only its port is a setting, "
    "CODEX__OAUTH__CALLBACK_PORT",
    "CODEX__OAUTH__SCOPES": "the login asks for what is needed",
    "CODEX__PROPAGATE_UNSUPPORTED_PARAMS": "what the backend refuses is left out and named in "
    "x-ccproxy-ignored",
    "CODEX__HEADER_OVERRIDE_ENABLED": "the name sent is CODEX__ORIGINATOR; Codex's own requests "
    "keep theirs",
    "CODEX__VERBOSE_LOGGING": "use SERVER__LOG_LEVEL",
    "REVERSE_PROXY": "the provider's address is CLAUDE__BASE_URL, its timeout "
    "SERVER__FIRST_BYTE_TIMEOUT_SECONDS",
    "AUTH__OAUTH": "the login servers are CLAUDE__OAUTH__TOKEN_URL and "
    "CLAUDE__OAUTH__AUTHORIZE_URL",
    "AUTH__STORAGE": "the login file is CLAUDE__CREDENTIALS_FILE; renewing is always on",
    "DOCKER": "ccproxy starts no containers; docker-compose.yml does",
    "OBSERVABILITY__LOG_STORAGE_BACKEND": "records are kept in DuckDB; "
    "OBSERVABILITY__LOGS_COLLECTION_ENABLED=false keeps none",
    "OBSERVABILITY__STATS_PRINTING_FORMAT": "see `ccproxy usage`",
    "OBSERVABILITY__LOGGING": "use SERVER__LOG_FORMAT",
    "SCHEDULER": "what recurs needs no settings; nothing here looks for new versions",
    "PRICING": "price tables come with each release; `ccproxy usage "
    "--refresh-prices` fetches a newer one",
}


def retired_advice(name: str) -> str:
    """Return the replacement of the old setting `name` (in capitals), or an empty text."""
    return next(
        (
            advice
            for old, advice in RETIRED.items()
            if name == old or name.startswith((f"{old}__", f"{old}_"))
        ),
        "",
    )
