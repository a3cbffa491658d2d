// Rows of a page as a file: CSV for spreadsheets, JSON for programs, made in the browser from what is shown.

import { make } from "./dom.js";

const FORMULA = /^[=+\-@\t\r]/; // what a spreadsheet takes for the beginning of a formula
const KINDS = { csv: ["text/csv", asCsv], json: ["application/json", (columns, rows) => JSON.stringify(rows.map((row) => facts(columns, row)), null, 1)] };

// The numbers of requests, by the names that `ccproxy usage --csv` has for them.
export const COUNTED = {
  requests: (each) => each.requests, failed: (each) => each.requests - each.succeeded,
  tokens: (each) => each.tokens_input + each.tokens_output + each.cache_read_tokens + each.cache_write_tokens,
  cached_tokens: (each) => each.cache_read_tokens, unpriced_tokens: (each) => each.unpriced_tokens, cost_usd: (each) => each.cost_usd,
};

const facts = (columns, row) => Object.fromEntries(Object.entries(columns).map(([name, read]) => [name, read(row) ?? null]));

function asCsv(columns, rows) {
  const lines = rows.map((row) => Object.values(facts(columns, row)).map(cell).join(","));
  return [Object.keys(columns).join(","), ...lines, ""].join("\n");
}

function cell(value) {
  if (typeof value !== "string") return value ?? "";
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Two buttons, hidden at first, that save what `rows()` returns. `columns` has a function for each column; `what` is the name of the file.
export function downloads(what, columns, rows) {
  const button = (kind) => make("button", { type: "button", className: "copy", textContent: kind.toUpperCase(), ariaLabel: `Save ${what} as ${kind.toUpperCase()}`, onclick: () => save(`ccproxy-${what}.${kind}`, kind, columns, rows()) });
  return make("p", { className: "downloads soft", hidden: true }, "Save as", ...Object.keys(KINDS).map(button));
}

function save(name, kind, columns, rows) {
  const [type, write] = KINDS[kind];
  const href = URL.createObjectURL(new Blob([write(columns, rows)], { type }));
  make("a", { href, download: name }).click();
  URL.revokeObjectURL(href);
}
