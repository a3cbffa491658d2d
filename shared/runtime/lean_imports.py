"""Parts of libraries that this product never uses, kept out of every process.

Libraries import more than their callers need: redis-py a library for JSON Web Tokens, which no
Redis of ours asks for, and with it 8 MB of cryptography in each service. So such a module is loaded
at its first use, or is absent where its library expects that. A module that was loaded before is
left alone.

Invariant: every program behaves as without this module, and takes less memory.
"""

from __future__ import annotations

import _thread
import importlib
import importlib.util
import sys
from types import ModuleType

# Imported by their callers as whole modules, and used inside functions alone: by redis-py (tokens
# of cloud providers), by the SDK of Claude (the results of tools in its own process), by the
# standard library's HTTP client, which supervisord uses over a Unix socket. genai_prices, with
# tables of 2,300 models, is used by the first request that has a price; its HTTP client httpx2 by
# nobody, because we fetch price lists ourselves.
AT_FIRST_USE = ("genai_prices", "httpx", "httpx2", "jwt", "jsonschema", "ssl")
# The command line of httpx, with libraries for colours and tables. httpx does without it.
ABSENT = ("httpx._main",)
# From `_thread`: a container's health check, which runs all the time, needs no more of `threading`.
MAKING_ROOM = _thread.allocate_lock()


def keep_imports_lean() -> None:
    """Make the modules of AT_FIRST_USE load at the first use, and the modules of ABSENT not at
    all.
    """
    for name in AT_FIRST_USE:
        if name not in sys.modules:
            import_at_first_use(name)
    for name in ABSENT:
        if name not in sys.modules:
            # How Python marks an absent module; an import of it raises ModuleNotFoundError.
            sys.modules[name] = None  # type: ignore[assignment]


class LoadedAtFirstUse(ModuleType):
    """A stand-in for a module. The first read of an attribute loads the module.

    (With `importlib.util.LazyLoader` the next `import` would load it, which reads `__spec__`.)
    """

    def __getattr__(self, attribute: str) -> object:
        # Called for what the stand-in itself lacks, so for all contents of the module. The stand-in
        # makes room first, else the import would find it again; a second thread that comes here
        # meanwhile waits in the import.
        with MAKING_ROOM:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), attribute)


def import_at_first_use(name: str) -> None:
    """Put a stand-in for the module `name` in place. A module that is not installed stays
    absent.
    """
    spec = importlib.util.find_spec(name)
    if spec is not None:
        stand_in = LoadedAtFirstUse(name)
        # For libraries that ask with `find_spec` if the module is installed.
        stand_in.__spec__ = spec
        # A part of a package that is imported first must not be loaded a second time by the whole.
        if spec.submodule_search_locations is not None:
            stand_in.__path__ = spec.submodule_search_locations
        sys.modules[name] = stand_in
