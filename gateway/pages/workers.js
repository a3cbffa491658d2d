// The page Workers: every part of the stack, its processes, and the pools that run Claude Code for `/sdk`.

import { ask } from "./ask.js";
import { make, refill, section } from "./dom.js";
import { ago, bytes, clock, count, words } from "./format.js";
import { Table } from "./table.js";

const POOL = ["size", "idle", "busy", "waiting", "sessions", "starts", "hits", "misses"];
const NAMES = { oauth2_credentials: "Claude login or key", codex_credentials: "ChatGPT login or key", bus: "Redis" };

export class Workers {
  constructor() {
    this.title = "Workers";
    this.checks = new Table({
      caption: "Parts of the stack", key: (each) => each.key, empty: "Not known.",
      columns: [
        { name: "part", title: "Part", head: true, cell: (each) => each.name },
        { name: "state", title: "State", cell: (each) => make("span", { className: `status ${each.status === "pass" ? "good" : "bad"}`, textContent: { pass: "works", warn: "has a problem", fail: "does not work" }[each.status] }) },
        { name: "output", title: "Details", cell: (each) => each.output },
      ],
    });
    this.checks.element.id = "checks";
    this.checks.element.classList.add("wrapping");
    const number = (name, title) => ({ name, title, number: true, wide: !["idle", "busy", "waiting"].includes(name), cell: (each) => count(each[name]) });
    this.pools = new Table({
      caption: "Pools of Claude Code", key: (each) => each.instance, empty: "No worker runs: /sdk is switched off, or its workers are starting.",
      columns: [{ name: "worker", title: "Worker", head: true, cell: (each) => each.instance }, { name: "host", title: "Machine", wide: true, cell: (each) => each.host ?? "" },
        { name: "labels", title: "Labels", wide: true, cell: (each) => (each.labels ?? []).join(", ") }, ...POOL.map((name) => number(name, name[0].toUpperCase() + name.slice(1))),
        { name: "memory", title: "Memory", number: true, cell: (each) => bytes(each.memory_bytes) }, { name: "version", title: "Claude Code", wide: true, cell: (each) => each.version ?? "" }],
    });
    this.pools.element.id = "pools";
    this.processes = new Table({
      caption: "Processes", key: (each) => each.instance, empty: "No process has reported.",
      columns: [{ name: "process", title: "Process", head: true, cell: (each) => words(each.instance) }, { name: "pid", title: "PID", number: true, cell: (each) => String(each.pid) },
        { name: "since", title: "Started", cell: (each) => `${clock(each.started_at)} (${ago(each.started_at)})` }, { name: "problem", title: "Problem", wide: true, cell: (each) => each.problem ?? "" }],
    });
    this.processes.element.id = "processes";
    this.queue = make("p", { className: "soft", id: "queue" });
    this.element = make("div", {}, section("Parts of the stack", this.checks.element), section("Workers of /sdk", this.queue, this.pools.element), section("Processes", this.processes.element));
  }

  async refresh(state, stack) {
    const [health, sdk] = await Promise.all([stack.health, ask("/sdk/status").catch(() => ({ workers: [], line: null }))]);
    const checks = Object.entries(health.checks ?? {}).flatMap(([part, found]) => found.map((check, at) =>
      ({ key: `${part}${at}`, name: `${NAMES[part] ?? words(part)}${check.route ? `, ${check.route}` : ""}`, status: check.status, output: check.output, processes: check.processes ?? [] })));
    this.checks.show(checks);
    this.processes.show(checks.flatMap((check) => check.processes));
    this.pools.show(sdk.workers);
    refill(this.queue, JSON.stringify(sdk.line), () => (sdk.line ? [`${count(sdk.line.waiting)} of at most ${count(sdk.line.max)} requests wait for a worker.`] : []));
  }
}
