from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from sdk_worker.transcripts import Transcripts, is_unbroken
from shared.bus.channels import KnownSession
from shared.runtime.errors import BusUnavailable, TooLarge

T1 = "00000000-0000-4000-8000-000000000001"


def chain(*names):
    """Entries that stand on one another, the first one on nothing."""
    parents = (None, *names)
    return [
        {"type": "user", "uuid": name, "parentUuid": parent}
        for name, parent in zip(names, parents, strict=False)
    ]


class Copies:
    """A SessionStore in memory, which a test may break."""

    def __init__(self):
        self.kept = {}
        self.fault = None

    async def append(self, key, entries):
        if self.fault:
            raise self.fault
        self.kept.setdefault(key["session_id"], []).extend(entries)

    async def load(self, key):
        if self.fault:
            raise self.fault
        return self.kept.get(key["session_id"])

    async def delete(self, key):
        self.kept.pop(key["session_id"], None)


class Machine:
    """The transcripts of a worker, below a home of its own."""

    def __init__(self, home, copies):
        self.projects = home / "projects"
        self.transcripts = Transcripts(copies, lambda: self.projects)

    def write(self, entries, folder="-work", cut=""):
        path = self.projects / folder / f"{T1}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + cut)
        return path

    async def find(self, last, transcript=T1):
        return await self.transcripts.find("key", KnownSession(transcript, last_entry=last))


@pytest.fixture
def copies():
    return Copies()


@pytest.fixture
def machine(tmp_path, copies):
    return Machine(tmp_path, copies)


def program(*lines):
    return SimpleNamespace(untold=list(lines))


def line(entries, path=f"/elsewhere/-work/{T1}.jsonl"):
    return {"type": "transcript_mirror", "filePath": path, "entries": entries}


async def test_a_file_with_the_last_turn_is_resumed_by_its_id(machine):
    machine.write(chain("a", "b"))
    assert await machine.find("b") == T1


async def test_a_conversation_of_another_machine_is_written_to_this_disk(machine, copies):
    copies.kept[T1] = chain("a", "b")
    resumed = await machine.find("b")
    assert resumed == str(machine.projects / "ccproxy" / f"{T1}.jsonl")
    written = (machine.projects / "ccproxy" / f"{T1}.jsonl").read_text().splitlines()
    assert [json.loads(each) for each in written] == chain("a", "b")


async def test_a_file_without_the_last_turn_is_replaced(machine, copies):
    path = machine.write(chain("a"))
    copies.kept[T1] = chain("a", "b")
    assert await machine.find("b") == T1
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("stored", [None, chain("a"), chain("a", "b", "c")[1:]])
async def test_a_copy_with_a_hole_is_not_resumed(machine, copies, stored):
    if stored is not None:
        copies.kept[T1] = stored
    machine.write(chain("a"))
    assert await machine.find("c") == ""
    assert len((machine.projects / "-work" / f"{T1}.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "*"])
async def test_a_name_that_is_no_transcript_finds_no_file(machine, name):
    machine.write(chain("a"))
    assert await machine.find("a", name) == ""


async def test_without_copies_the_program_is_asked_for_the_id(tmp_path):
    transcripts = Transcripts(None, lambda: tmp_path)
    assert await transcripts.find("key", KnownSession("any", last_entry="b")) == "any"
    assert await transcripts.save("key", T1, program(line(chain("a")))) == ""


@pytest.mark.parametrize("stored", [[], chain("a"), chain("a", "b", "c")[1:], chain("x", "y")])
async def test_the_copy_gets_what_it_lacks_of_the_file(machine, copies, stored):
    copies.kept[T1] = stored
    machine.write(chain("a", "b", "c"))
    assert await machine.find("c") == T1
    assert copies.kept[T1] == chain("a", "b", "c")


async def test_a_line_that_a_crash_cut_short_is_left_out(machine, copies):
    machine.write(chain("a", "b"), cut='{"type": "us')
    assert await machine.find("b") == T1
    assert copies.kept[T1] == chain("a", "b")


async def test_a_turn_is_added_without_what_its_subagents_wrote(machine, copies):
    told = program(
        line(chain("a", "b")),
        line(chain("s"), f"/elsewhere/-work/{T1}/subagents/agent-1.jsonl"),
        line([{"type": "mode"}]),
    )
    assert await machine.transcripts.save("key", T1, told) == "b"
    assert copies.kept[T1] == [*chain("a", "b"), {"type": "mode"}]
    assert told.untold == []


async def test_what_redis_did_not_take_is_added_with_the_next_turn(machine, copies):
    copies.fault = BusUnavailable()
    told = program(line(chain("a", "b")))
    assert await machine.transcripts.save("key", T1, told) == "b"
    copies.fault = None
    told.untold.append(line(chain("a", "b", "c")[2:]))
    assert await machine.transcripts.save("key", T1, told) == "c"
    assert copies.kept[T1] == chain("a", "b", "c")


async def test_a_transcript_that_is_too_large_is_let_go(machine, copies):
    copies.fault = TooLarge()
    told = program(line(chain("a")))
    assert await machine.transcripts.save("key", T1, told) == "a"
    assert told.untold == []


async def test_while_redis_is_away_only_a_file_with_the_last_turn_is_resumed(machine, copies):
    copies.fault = BusUnavailable()
    machine.write(chain("a"))
    assert await machine.find("a") == T1
    assert await machine.find("b") == ""


async def test_the_first_turn_that_breaks_off_leaves_no_copy(machine, copies):
    told = program(line(chain("a")))
    await machine.transcripts.save_broken_off("key", KnownSession(), told)
    assert copies.kept == {}
    await machine.transcripts.save_broken_off("key", KnownSession(T1), told)
    assert copies.kept[T1] == chain("a")


def test_entries_that_stand_on_one_another_in_a_circle_are_not_whole():
    circle = [{"uuid": "a", "parentUuid": "b"}, {"uuid": "b", "parentUuid": "a"}]
    assert not is_unbroken(circle, "a")
    assert not is_unbroken([], "")
