"""The bodies of requests about managed agents, as pydantic checks them: no unknown field passes,
and a field of the vendor's that has no counterpart here is refused by its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.bus.channels import CUSTOM_TOOLS_PREFIX
from shared.formats.json_text import is_whole, may_hold_halves
from shared.runtime.exact_json import dump_json

MOST_METADATA = 16
MOST_TOOLS = 64  # settings of single tools, and custom tools
UNSERVED_TOOLS = ("mcp_toolset",)
# Of a custom tool's name. The vendor allows 128; the name that the model sees is longer here, and a
# provider takes 128.
MOST_TOOL_NAME = 128 - len(CUSTOM_TOOLS_PREFIX)
SCHEMA_BYTES = 64 * 1024  # of one custom tool's input
MOST_SYSTEM = 100_000  # characters, the vendor's own limit
MOST_EVENTS = 50  # of one request, the vendor's own limit of first events

BuiltInTool = Literal["bash", "edit", "read", "write", "glob", "grep", "web_fetch", "web_search"]
EffortName = Literal["low", "medium", "high", "xhigh", "max"]
PolicyName = Literal["always_allow", "always_ask", "auto"]


def text_of_characters(text: str) -> str:
    """Return `text`. Raises ValueError for half of a surrogate pair, impossible in UTF-8."""
    if not is_whole(text):
        raise ValueError("holds half of a character (an unpaired surrogate)")
    return text


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return `metadata`. Raises ValueError past the vendor's limits."""
    if len(metadata) > MOST_METADATA:
        raise ValueError(f"at most {MOST_METADATA} pairs")
    for key, value in metadata.items():
        text_of_characters(key)
        if not 1 <= len(key) <= 64:
            raise ValueError("a key has 1 to 64 characters")
        if value is not None and len(text_of_characters(value)) > 512:
            raise ValueError(f"{key}: at most 512 characters")
    return metadata


def refuse_other_tools(tools: Any) -> Any:
    """Return `tools`. Raises ValueError for a set of tools not served here."""
    for tool in tools if isinstance(tools, list) else []:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind in UNSERVED_TOOLS:
            raise ValueError(
                f"{kind} is not served here; agent_toolset_20260401 and custom tools are"
            )
    return tools


def check_tool_names(tools: list[Any]) -> list[Any]:
    """Return `tools`. Raises ValueError for a second set of tools, and for two custom tools of one
    name.
    """
    names = [tool.name for tool in tools if isinstance(tool, CustomToolBody)]
    if len(tools) - len(names) > 1:
        raise ValueError("at most one agent_toolset_20260401")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two custom tools have the name {name!r}")
    return tools


def check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a custom tool's schema without empty fields. Raises ValueError for a schema of another
    type than `object`, or past the limits.
    """
    if schema.get("type") != "object":
        raise ValueError("type: has to be 'object'")
    found = {name: value for name, value in schema.items() if value is not None}
    if not isinstance(found.get("properties", {}), dict):
        raise ValueError("properties: expected an object")
    required = found.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ValueError("required: expected a list of names")
    text = dump_json(found).decode("utf-8", "replace")
    if may_hold_halves(text):
        raise ValueError("holds half of a character (an unpaired surrogate)")
    if len(text.encode()) > SCHEMA_BYTES:
        raise ValueError(f"at most {SCHEMA_BYTES:,} bytes")
    return found


def refuse_unserved(value: Any) -> Any:
    """Return an empty `value`. Raises ValueError for a wish not served here."""
    if value:
        raise ValueError("is not served here; leave it out")
    return value


Text = Annotated[str, AfterValidator(text_of_characters)]
Name = Annotated[Text, Field(min_length=1, max_length=256)]
Description = Annotated[Text, Field(max_length=2048)]
System = Annotated[Text, Field(max_length=MOST_SYSTEM)]
Metadata = Annotated[dict[str, str], AfterValidator(check_metadata)]
MetadataPatch = Annotated[dict[str, str | None], AfterValidator(check_metadata)]
NotServed = Annotated[Any, AfterValidator(refuse_unserved)]


class StrictBody(BaseModel):
    """An object of a request: exact types, and only named fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ToolPolicy(StrictBody):
    """The decider on a tool's calls before they act."""

    type: PolicyName


class EffortLevel(StrictBody):
    """The level of effort, spelled as an object."""

    type: EffortName


class ModelConfig(StrictBody):
    """A model with its settings. Region and fast mode are the vendor's own."""

    id: Name
    effort: EffortName | EffortLevel | None = None
    inference_geo: NotServed = None
    speed: Literal["standard"] | None = None


class ToolDefaults(StrictBody):
    """The settings of a set's tools without settings of their own."""

    enabled: bool | None = None
    permission_policy: ToolPolicy | None = None


class ToolSettings(StrictBody):
    """The settings of one of Claude Code's tools. Domains and places are the vendor's own."""

    name: BuiltInTool
    type: BuiltInTool | None = None
    enabled: bool | None = None
    permission_policy: ToolPolicy | None = None
    allowed_domains: NotServed = None
    blocked_domains: NotServed = None
    user_location: NotServed = None


class CustomToolBody(StrictBody):
    """A tool whose calls the session's client answers."""

    type: Literal["custom"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", max_length=MOST_TOOL_NAME)]
    description: Annotated[Text, Field(min_length=1, max_length=2048)]
    input_schema: Annotated[dict[str, Any], AfterValidator(check_schema)]


class Toolset(StrictBody):
    """Claude Code's own tools."""

    type: Literal["agent_toolset_20260401"]
    configs: list[ToolSettings] = Field(default_factory=list, max_length=MOST_TOOLS)
    default_config: ToolDefaults | None = None


Tool = Annotated[Toolset | CustomToolBody, Field(discriminator="type")]
Tools = Annotated[
    list[Tool],
    BeforeValidator(refuse_other_tools),
    AfterValidator(check_tool_names),
    Field(max_length=MOST_TOOLS),
]


class ServiceAccount(StrictBody):
    """The default identity of an agent's runs, the only identity here: the owner's own."""

    type: Literal["service_account"]


class AgentSettings(StrictBody):
    """The fields shared by a new agent, a change of an agent and a session's overrides. A field
    left out of the request is not in `model_fields_set`.
    """

    model: Name | ModelConfig | None = None
    system: System | None = None
    tools: Tools | None = None
    mcp_servers: NotServed = None
    skills: NotServed = None


class AgentBody(AgentSettings):
    """A new agent."""

    model: Name | ModelConfig
    name: Name
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)
    multiagent: NotServed = None
    execution_identity: ServiceAccount | None = None


class AgentChanges(AgentSettings):
    """A change of an agent: left-out fields stay. `version` is the version known to the client."""

    name: Name = ""
    description: Description | None = None
    metadata: MetadataPatch | None = None
    multiagent: NotServed = None
    execution_identity: ServiceAccount | None = None
    version: Annotated[int, Field(ge=1)] | None = None


class OpenNetwork(StrictBody):
    """The only network policy here: every connection is allowed."""

    type: Literal["unrestricted"]


class Packages(StrictBody):
    """Packages of a container. There is no container here, so none can be asked for."""

    type: Literal["packages"] | None = None
    apt: NotServed = None
    cargo: NotServed = None
    gem: NotServed = None
    go: NotServed = None
    npm: NotServed = None
    pip: NotServed = None


class CloudConfig(StrictBody):
    """The vendor's container; here the owner's machine as it is."""

    type: Literal["cloud"]
    networking: OpenNetwork | None = None
    packages: Packages | None = None


class SelfHostedConfig(StrictBody):
    """The owner's machine."""

    type: Literal["self_hosted"]


EnvironmentConfig = Annotated[CloudConfig | SelfHostedConfig, Field(discriminator="type")]


class EnvironmentBody(StrictBody):
    """A new environment. The working folder is `cwd` in the metadata."""

    name: Name
    config: EnvironmentConfig | None = None
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)
    scope: Literal["organization"] | None = None


class EnvironmentChanges(StrictBody):
    """A change of an environment: left-out fields stay."""

    name: Name | None = None
    config: EnvironmentConfig | None = None
    description: Description | None = None
    metadata: MetadataPatch | None = None
    scope: Literal["organization"] | None = None


class AgentReference(StrictBody):
    """A stored agent, in the latest version or in the named version."""

    type: Literal["agent"]
    id: Name
    version: Annotated[int, Field(ge=1)] | None = None


class OverriddenAgent(AgentSettings):
    """A stored agent, with changed settings for a session."""

    type: Literal["agent_with_overrides"]
    id: Name
    version: Annotated[int, Field(ge=1)] | None = None


class SessionBody(StrictBody):
    """A new session."""

    agent: Name | Annotated[AgentReference | OverriddenAgent, Field(discriminator="type")]
    environment_id: Name
    title: Name | None = None
    metadata: Metadata = Field(default_factory=dict)
    initial_events: Annotated[list[dict[str, Any]], Field(max_length=MOST_EVENTS)] | None = None
    budget: NotServed = None
    resources: NotServed = None
    vault_ids: NotServed = None


class SessionAgentChanges(StrictBody):
    """The settings of a session's agent open to change between two turns."""

    tools: Tools | None = None
    mcp_servers: NotServed = None


class SessionChanges(StrictBody):
    """A change of a session: left-out fields stay."""

    title: Name | None = None
    metadata: MetadataPatch | None = None
    agent: SessionAgentChanges | None = None
    budget: NotServed = None
    vault_ids: NotServed = None


def patched_metadata(known: dict[str, str], patch: dict[str, str | None]) -> dict[str, str]:
    """Return `known` with the keys of `patch` set, and null keys removed. Raises ValueError past
    the limits.
    """
    whole = {**known, **patch}
    return check_metadata({key: value for key, value in whole.items() if value is not None})
