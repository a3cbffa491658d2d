from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from shared.settings.problems import leaves, misspelt_names, name_of, unknown
from shared.settings.sources import Origins


class Inner(BaseModel):
    port: int = Field(1)


class Tree(BaseModel):
    server: Inner = Inner()
    name: str = ""


def origins(**environ: str) -> Origins:
    return Origins(environ, Path("nowhere.env"), [])


def test_leaves_are_settings_and_not_sections():
    assert [name_of(path) for path, _ in leaves(Tree)] == ["SERVER__PORT", "NAME"]


def test_a_near_miss_is_pointed_out_and_a_far_one_is_not():
    assert unknown(("server", "prot"), origins(), Tree).endswith("did you mean SERVER__PORT?")
    assert unknown(("server", "umbrella"), origins(), Tree).endswith("is not a setting")


def test_only_a_variable_that_clearly_means_us_is_misspelt():
    said = list(
        misspelt_names(
            origins(SERVR__PORT="1", SERVR__UMBRELLA="1", OTHER__PORT="1", SERVER__PORT="1"), Tree
        )
    )
    assert said == [
        "SERVR__PORT (environment SERVR__PORT) is not a setting; did you mean SERVER__PORT?"
    ]
