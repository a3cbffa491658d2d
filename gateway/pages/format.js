// Numbers, money and times as every page shows them: a clock of 24 hours, dollars with two decimals for sums and four for
// a single request, and "–" for what is not known.

const compact = new Intl.NumberFormat([], { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat();
const dollars = (digits) => new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", minimumFractionDigits: digits, maximumFractionDigits: digits });
const [sums, singles] = [dollars(2), dollars(4)];
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const DAY = { day: "numeric", month: "short" };
const MINUTE = 60, HOUR = 3600, A_DAY = 86400;

export const count = (value) => (value == null ? "–" : value < 100_000 ? exact.format(Math.round(value)) : compact.format(value));
export const money = (value) => (value == null ? "–" : value > 0 && value < 0.005 ? "< $0.01" : sums.format(value));
export const price = (value) => (value == null ? "–" : value > 0 && value < 0.00005 ? "< $0.0001" : singles.format(value));
// An id of any length, short enough for a cell.
export const shortId = (id) => (id.length > 16 ? `${id.slice(0, 8)}…` : id);
export const words = (name) => name.replaceAll("_", " ");

// Milliseconds for a person.
export function duration(ms) {
  if (ms == null) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ${seconds % MINUTE} s`;
  if (seconds < 2 * A_DAY) return `${Math.floor(seconds / HOUR)} h ${Math.floor((seconds % HOUR) / MINUTE)} min`;
  return `${Math.floor(seconds / A_DAY)} d ${Math.floor((seconds % A_DAY) / HOUR)} h`;
}

export function percent(part, whole) {
  if (!whole) return "–";
  const share = (part / whole) * 100;
  return `${share.toFixed(share > 0 && share < 10 ? 1 : 0)} %`;
}

export function bytes(value) {
  if (value == null) return "–";
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  return `${value} B`;
}

const sameDay = (one, other) => one.toDateString() === other.toDateString();

// A moment in UTC seconds: the clock, with the day unless that is today.
export function clock(seconds, { withSeconds = false } = {}) {
  if (seconds == null) return "–";
  const when = new Date(seconds * 1000);
  const time = when.toLocaleTimeString([], withSeconds ? { ...CLOCK, second: "2-digit" } : CLOCK);
  return sameDay(when, new Date()) ? time : `${when.toLocaleDateString([], DAY)}, ${time}`;
}

export const exactly = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

// The label of a tick on an axis that covers `span` seconds.
export function tickLabel(seconds, span) {
  const when = new Date(seconds * 1000);
  const midnight = when.getHours() === 0 && when.getMinutes() === 0;
  return span > 2 * A_DAY || (midnight && span > HOUR) ? when.toLocaleDateString([], DAY) : when.toLocaleTimeString([], CLOCK);
}

export const ago = (seconds) => {
  const past = Date.now() / 1000 - seconds;
  if (past < MINUTE) return "just now";
  if (past < HOUR) return `${Math.floor(past / MINUTE)} min ago`;
  return past < A_DAY ? `${Math.floor(past / HOUR)} h ago` : `${Math.floor(past / A_DAY)} d ago`;
};

// The tokens of a prompt: read from the cache, written to it, and neither.
export const promptTokens = (each) => each.tokens_input + each.cache_read_tokens + each.cache_write_tokens;
export const cacheShare = (each) => percent(each.cache_read_tokens, promptTokens(each));
