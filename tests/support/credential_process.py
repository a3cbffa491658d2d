"""A process that holds the owner's Claude account, for tests that need several.

`serve N`: for each line on stdin, N authorizations at once; answers with a JSON line: the tokens
used and the errors. `die-asking`: renews, and is killed when the reply has come but nothing was
written. `die-writing`: renews, and is killed when the successor is on disk but not in its place.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from shared.accounts.accounts import ClaudeAccount
from shared.accounts.claude import ClaudeIssuer
from shared.accounts.refresher import Refresher
from shared.accounts.store import CredentialFile, LoginDraft
from shared.accounts.token_server import TokenServer
from shared.runtime.errors import CCProxyError
from shared.runtime.log import configure_log
from shared.settings.tree import load_settings


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class DyingServer(TokenServer):
    async def ask(self, url, ask):
        await super().ask(url, ask)
        die()


class DyingDraft(LoginDraft):
    def promote(self):
        die()


class DyingFile(CredentialFile):
    def draft(self, replaces):
        draft = super().draft(replaces)
        draft.__class__ = DyingDraft
        return draft


async def serve(count):
    async with ClaudeAccount(load_settings().claude, {}) as account:
        say("ready")
        while await asyncio.to_thread(sys.stdin.readline):
            found = await asyncio.gather(
                *(account.authorize() for _ in range(count)), return_exceptions=True
            )
            tokens = {
                one.headers["authorization"] for one in found if not isinstance(one, BaseException)
            }
            errors = {one.message for one in found if isinstance(one, CCProxyError)}
            say(json.dumps({"tokens": sorted(tokens), "errors": sorted(errors)}))


async def renew(file_type, server):
    settings = load_settings().claude
    refresher = Refresher(ClaudeIssuer(settings), file_type(settings.credentials_file), server)
    await refresher.renew(refresher.login())


configure_log(level="INFO", style="json", service="test", instance=str(os.getpid()))
match sys.argv[1:]:
    case ["serve", count]:
        asyncio.run(serve(int(count)))
    case ["die-asking"]:
        asyncio.run(renew(CredentialFile, DyingServer()))
    case ["die-writing"]:
        asyncio.run(renew(DyingFile, TokenServer()))
