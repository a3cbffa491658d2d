"""The target of a Responses request: the prompt to write, the model and the service to write for,
and what is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.formats import ir
from shared.formats.dropped import DroppedFields
from shared.formats.written import Capabilities


@dataclass(frozen=True, slots=True)
class Dialect:
    """The Responses service of a request, and the operator's instructions to every model.

    `codex` is the ChatGPT backend, which takes fewer fields. `instructions` are the operator's own:
    in mode "override" they take the client's place, which moves to the first developer message;
    "append" puts them after the client's; "disabled" leaves them out.
    """

    codex: bool = True
    mode: Literal["override", "append", "disabled"] = "disabled"
    instructions: str = ""

    def instruct(self, client: str) -> tuple[str, str]:
        """The `instructions` to send, and the client's own text where it has to move to a developer
        message.
        """
        if self.mode == "disabled" or not self.instructions:
            return client, ""
        if self.mode == "append":
            return f"{client}\n\n{self.instructions}".lstrip(), ""
        return self.instructions, client


CODEX = Dialect()


class ResponsesTarget(DroppedFields):
    """The `prompt` to write, the `model` and the service's `dialect` to write it for, and the names
    of the `dropped` fields.
    """

    def __init__(self, prompt: ir.Prompt, model: Capabilities, dialect: Dialect) -> None:
        super().__init__(prompt)
        self.prompt = prompt
        self.model = model
        self.dialect = dialect
