"""The admission of callers, and the limits reported with every reply.

Credentials are made up by whoever uses the simulator: `sk-ant-oat…` is an OAuth token, any other
`sk-ant-…` an API key; one that contains `expired` or `revoked` is refused, like everything else.
With `own-apps` in a token other programs than Claude Code are refused, with `extra-usage` they are
billed on top; the user agent that really arrived tells them apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from simulator.anthropic.problem import AnthropicProblem
from simulator.logins.families import has_ended
from simulator.shape import names

VERSION_2023 = "2023-06-01"
VERSION_2026 = "2026-10-21"
OAUTH_BETA = "oauth-2025-04-20"
# Those of the official SDK's list, and those only Anthropic's own programs send.
BETAS = frozenset(
    names(
        """
    advisor-tool-2026-03-01 admin-user-sign-out-2026-10-08 agent-memory-2026-07-22
    analytics-usage-cost-2026-08-24
    cache-diagnosis-2026-04-07 ce-claude-code-managed-settings-2026-10-06 ce-plugins-2026-09-01
    ce-user-management-2026-07-13 code-execution-2025-05-22 compact-2026-01-12 compact-2026-09-04
    computer-use-2024-10-22 computer-use-2025-01-24 computer-use-2025-11-24 context-1m-2025-08-07
    context-management-2025-06-27 dev-full-thinking-2025-05-14 dreaming-2026-04-21
    experimental-claude-tag-2026-10-21
    extended-cache-ttl-2025-04-11 fallback-credit-2026-06-01 fallback-credit-2026-07-01
    fast-mode-2026-02-01
    files-api-2025-04-14 inline-tools-2026-09-15 interleaved-thinking-2025-05-14
    managed-agents-2026-04-01
    mcp-client-2025-04-04 mcp-client-2025-11-20 mcp-client-2026-09-15 mcp-tunnels-2026-06-22
    message-batches-2024-09-24 message-threads-2026-08-12 mid-conversation-output-config-2026-07-01
    mid-conversation-system-clear-at-2026-08-21 mid-conversation-tool-changes-2026-07-01
    model-context-window-exceeded-2025-08-26 output-128k-2025-02-19 output-300k-2026-03-24
    pdfs-2024-09-25
    prompt-caching-2024-07-31 server-side-fallback-2026-06-01 server-side-fallback-2026-07-01
    skills-2025-10-02
    spend-limit-reads-2026-09-26 structured-outputs-2025-11-13 task-budgets-2026-03-13
    telemetry-destinations-2026-08-11 thinking-binding-controls-2026-08-01
    thinking-display-updates-2026-08-18
    thinking-token-count-2026-05-13 token-counting-2024-11-01 token-efficient-tools-2025-02-19
    user-profiles-2026-03-24 user-profiles-2026-08-18 user-profiles-2026-09-04
    user-profiles-billing-2026-10-01
    webhooks-2026-10-07
    advanced-tool-use-2025-11-20 afk-mode-2026-01-31 claude-code-20250219
    dangerous-tool-use-2026-09-03
    effort-2025-11-24 fine-grained-tool-streaming-2025-05-14
    mid-conversation-system-2026-04-07 oauth-2025-04-20 per-turn-control-2026-07-01
    prompt-caching-scope-2026-01-05
    redact-thinking-2026-02-12 tool-provenance-2026-10-26
    """,
    )
)


OWN_PROGRAM = "claude-cli/"  # how the user agent of Claude Code begins
THIRD_PARTY = "Third-party apps now draw from your extra usage, not your plan limits."


@dataclass(frozen=True, slots=True)
class AnthropicCaller:
    credential: str
    oauth: bool
    version: str
    betas: frozenset[str]
    pays_extra: bool = False


def admit(headers: Mapping[str, str]) -> AnthropicCaller:
    """Raises the service's 401 or 400. An `x-api-key` is judged before an `Authorization`, and
    alone.
    """
    betas = frozenset(
        part.strip() for part in headers.get("anthropic-beta", "").split(",") if part.strip()
    )
    credential, oauth = _authenticate(headers)
    if oauth and OAUTH_BETA not in betas:
        raise AnthropicProblem(401, "OAuth authentication is currently not supported.")
    version = headers.get("anthropic-version")
    if version is None:
        raise AnthropicProblem(400, "anthropic-version: header is required")
    if version not in (VERSION_2023, VERSION_2026):
        raise AnthropicProblem(400, f'anthropic-version: "{version}" is not a valid version')
    if unknown := sorted(betas - BETAS):
        named = ", ".join(f"`{value}`" for value in unknown)
        raise AnthropicProblem(
            400,
            f"Unexpected value(s) {named} for the `anthropic-beta` header. "
            "Please consult our documentation or try again without the header.",
        )
    # The user agent that arrives decides, whatever a body or a beta says about the program.
    is_third_party = oauth and not headers.get("user-agent", "").startswith(OWN_PROGRAM)
    if is_third_party and "own-apps" in credential:
        raise AnthropicProblem(400, THIRD_PARTY)
    return AnthropicCaller(
        credential, oauth, version, betas, is_third_party and "extra-usage" in credential
    )


def admit_account(headers: Mapping[str, str]) -> AnthropicCaller:
    """Return the caller of an account page: account pages know OAuth only and need neither version
    nor beta.
    """
    credential, oauth = _authenticate(headers)
    if not oauth:
        raise AnthropicProblem(403, "OAuth authentication is required for this endpoint.")
    return AnthropicCaller(credential, oauth, VERSION_2023, frozenset())


def _authenticate(headers: Mapping[str, str]) -> tuple[str, bool]:
    """Return the credential, and True if the credential is an OAuth token."""
    # A key is judged alone, even beside a good token, as in the service: a proxy must not send
    # both.
    key = headers.get("x-api-key")
    if key is not None:
        if not _usable(key) or key.startswith("sk-ant-oat"):
            raise AnthropicProblem(401, "invalid x-api-key")
        return key, False
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not token:
        raise AnthropicProblem(401, "x-api-key header is required")
    if scheme.lower() != "bearer" or not token.startswith("sk-ant-"):
        raise AnthropicProblem(401, "Invalid bearer token")
    oauth = token.startswith("sk-ant-oat")
    if not _usable(token):
        hint = "OAuth token has expired. Please obtain a new token or refresh your existing token."
        raise AnthropicProblem(401, hint if oauth else "Invalid bearer token")
    return token, oauth


def _usable(credential: str) -> bool:
    refused = "expired" in credential or "revoked" in credential or has_ended(credential)
    return credential.startswith("sk-ant-") and not refused


class AnthropicLimits:
    """The counts of requests and tokens by credential; deterministic, never enforced: only the 429
    scenario refuses.
    """

    REQUESTS = 4_000
    INPUT = 2_000_000
    OUTPUT = 400_000
    WINDOW_TOKENS = 10_000_000

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._input: Counter[str] = Counter()
        self._output: Counter[str] = Counter()

    def spend(self, caller: AnthropicCaller, input_tokens: int, output_tokens: int) -> None:
        self._requests[caller.credential] += 1
        self._input[caller.credential] += input_tokens
        self._output[caller.credential] += output_tokens

    def headers(
        self, caller: AnthropicCaller, *, exhausted_for: int | None = None
    ) -> dict[str, str]:
        """Return the limit headers for this kind of credential.

        `exhausted_for`: seconds until a refused caller may return.
        """
        reset = int(datetime.now(UTC).timestamp()) + (exhausted_for or 60)
        if caller.oauth:
            return self._unified(caller, reset, exhausted=exhausted_for is not None)
        stamp = datetime.fromtimestamp(reset, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        used_input = self._input[caller.credential]
        used_output = self._output[caller.credential]
        family = {
            "requests": (self.REQUESTS, self._requests[caller.credential]),
            "tokens": (self.INPUT + self.OUTPUT, used_input + used_output),
            "input-tokens": (self.INPUT, used_input),
            "output-tokens": (self.OUTPUT, used_output),
        }
        found = {}
        for name, (limit, used) in family.items():
            remaining = 0 if exhausted_for is not None else max(0, limit - used)
            found[f"anthropic-ratelimit-{name}-limit"] = str(limit)
            found[f"anthropic-ratelimit-{name}-remaining"] = str(remaining)
            found[f"anthropic-ratelimit-{name}-reset"] = stamp
        return found

    def _unified(self, caller: AnthropicCaller, reset: int, *, exhausted: bool) -> dict[str, str]:
        spent = self._input[caller.credential] + self._output[caller.credential]
        used = 1.0 if exhausted else min(1.0, spent / self.WINDOW_TOKENS)
        status = "rejected" if exhausted else "allowed_warning" if used > 0.8 else "allowed"
        values = {
            "status": status,
            "reset": str(reset),
            "representative-claim": "five_hour",
            "fallback": "available",
            "5h-status": status,
            "5h-utilization": f"{used:.4f}",
            "5h-reset": str(reset),
            "7d-status": "allowed",
            "7d-utilization": f"{used / 10:.4f}",
            "7d-reset": str(reset + 7 * 86_400),
        }
        if caller.pays_extra:
            values |= {"overage-status": "allowed", "overage-in-use": "true"}
        else:
            values |= {
                "overage-status": "rejected",
                "overage-disabled-reason": "org_level_disabled",
            }
        return {f"anthropic-ratelimit-unified-{name}": value for name, value in values.items()}
