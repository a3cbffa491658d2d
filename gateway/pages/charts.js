// Small charts in SVG: stacked bars and lines over time, a gauge, a spark line. Shapes come from numbers, looks from CSS.
//
// The values of the step under the pointer, or chosen with the arrow keys, are written beside the names of the series, so
// a chart needs no room for them. Ticks of time are round in the reader's time zone.

import { exactly, tickLabel } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 150, TOP = 8, BOTTOM = 20, LEFT = 50, RIGHT = 8;
const TICK_WIDTH = 64; // pixels a label of time needs
const MINUTE = 60, HOUR = 3600, DAY = 86400;
const ROUND_SECONDS = [1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE).concat([1, 2, 3, 6, 12].map((hours) => hours * HOUR), [1, 2, 7, 14].map((days) => days * DAY));

function shape(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class Chart {
  // `open(start)` is called when a step is clicked, or chosen with the keys and Enter pressed.
  constructor(title, { open = null } = {}) {
    this.title = title;
    this.open = open;
    this.caption = document.createElement("figcaption");
    this.spoken = Object.assign(document.createElement("p"), { className: "hidden" });
    this.spoken.setAttribute("aria-live", "polite");
    this.element = document.createElement("figure");
    this.element.append(this.caption, this.spoken);
    this.chosen = -1;
    new ResizeObserver(() => this.data && this.width() !== this.drawnWidth && this.draw(this.data)).observe(this.element);
  }

  width() {
    return Math.max(240, this.element.clientWidth - 30);
  }

  // `series` is [{name, style, values}], all as long as `starts` (UTC seconds, one each `bucket`); null where nothing is
  // known. `stacked` draws bars on top of each other, else lines. `format` makes a value readable.
  draw(data) {
    this.data = data;
    const { starts, bucket, series, stacked = false, format } = data;
    const width = (this.drawnWidth = this.width());
    const tops = starts.map((_, at) => (stacked ? sum : greatest)(series.map((one) => one.values[at] ?? 0)));
    const top = niceTop(Math.max(...tops, 0)), whole = stacked && tops.every(Number.isInteger);
    this.step = (width - LEFT - RIGHT) / Math.max(1, starts.length);
    this.x = (at) => LEFT + at * this.step;
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", tabindex: 0, preserveAspectRatio: "none" });
    const most = series.map((one) => `${one.name} at most ${format(greatest(one.values.filter((value) => value != null).concat(0)))}`);
    svg.setAttribute("aria-label", `${this.title}: ${most.join(", ")}. Arrow keys read single values${this.open ? ", Enter shows the requests" : ""}.`);
    for (const part of [0, 0.5, 1]) {
      svg.append(shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(top * part), y2: y(top * part) }));
      // Half a request is no value to write beside a line.
      if (part !== 0.5 || !whole || Number.isInteger(top / 2)) svg.append(label(format(top * part), LEFT - 6, y(top * part) + 4, "end"));
    }
    for (const { at, text } of ticks(starts, bucket, width - LEFT - RIGHT)) svg.append(label(text, LEFT + at * (width - LEFT - RIGHT), HEIGHT - 4, "middle"));
    stacked ? drawBars(svg, series, this.x, y, this.step) : series.forEach((one) => drawLine(svg, one, (at) => this.x(at) + this.step / 2, y));
    this.cursor = shape("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    svg.append(this.cursor);
    this.place(svg);
  }

  place(svg) {
    this.listen(svg);
    const old = this.element.querySelector("svg"), had = old === document.activeElement;
    old ? old.replaceWith(svg) : this.element.append(svg);
    if (had) svg.focus({ preventScroll: true });
    this.choose(Math.min(this.chosen, this.data.starts.length - 1), false);
  }

  listen(svg) {
    const last = this.data.starts.length - 1;
    const under = (event) => {
      const box = svg.getBoundingClientRect();
      return Math.floor((((event.clientX - box.left) / box.width) * this.drawnWidth - LEFT) / this.step);
    };
    svg.addEventListener("pointermove", (event) => this.choose(under(event), false));
    svg.addEventListener("pointerleave", () => this.choose(-1, false));
    svg.addEventListener("blur", () => this.choose(-1, false));
    svg.addEventListener("click", () => this.chosen >= 0 && this.open?.(this.data.starts[this.chosen]));
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && this.chosen >= 0) return this.open?.(this.data.starts[this.chosen]);
      const moves = { ArrowLeft: this.chosen < 0 ? last : Math.max(0, this.chosen - 1), ArrowRight: this.chosen + 1, Home: 0, End: last, Escape: -1 };
      if (event.key in moves) {
        event.preventDefault();
        this.choose(moves[event.key], true);
      }
    });
  }

  // Show the values of the step `at`, or with -1 none; `aloud` also for a screen reader.
  choose(at, aloud) {
    const { starts, series, format } = this.data;
    this.chosen = Math.min(starts.length - 1, Math.max(-1, at));
    const there = this.chosen >= 0;
    this.cursor.setAttribute("visibility", there ? "visible" : "hidden");
    if (there) for (const side of ["x1", "x2"]) this.cursor.setAttribute(side, this.x(this.chosen) + this.step / 2);
    const value = (one) => (one.values[this.chosen] == null ? "–" : format(one.values[this.chosen]));
    const names = series.map((one) => Object.assign(document.createElement("span"), { className: `key ${one.style}`, textContent: there ? `${one.name} ${value(one)}` : one.name }));
    const when = Object.assign(document.createElement("span"), { className: "when", textContent: there ? exactly(starts[this.chosen]) : "" });
    this.caption.replaceChildren(this.title, ...names, when);
    this.spoken.textContent = there && aloud ? `${when.textContent}: ${names.map((name) => name.textContent).join(", ")}` : "";
  }
}

function drawBars(svg, series, x, y, step) {
  const bases = [];
  for (const one of series) one.values.forEach((value, at) => {
    if (!value) return;
    const base = bases[at] ?? 0, high = y(base) - y(base + value);
    svg.append(shape("rect", { class: one.style, x: x(at) + step * 0.08, width: Math.max(1, step * 0.84), y: y(base + value), height: Math.max(0.75, high) }));
    bases[at] = base + value;
  });
}

function drawLine(svg, one, x, y) {
  let points = [];
  const flush = () => {
    if (points.length === 1) svg.append(shape("circle", { class: one.style, cx: points[0][0], cy: points[0][1], r: 2.5 }));
    else if (points.length) svg.append(shape("polyline", { class: one.style, points: points.join(" ") }));
    points = [];
  };
  one.values.forEach((value, at) => (value == null ? flush() : points.push([x(at), y(value)])));
  flush();
}

export function gauge(used) {
  return shape("svg", { class: "gauge", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": true },
    shape("rect", { class: "bar", width: 100, height: 12, rx: 1 }), shape("rect", { width: Math.min(100, used), height: 12, rx: 1 }));
}

export function spark(readings) {
  const [first, last] = [readings[0][0], readings.at(-1)[0]];
  const points = readings.map(([at, used]) => `${((at - first) / Math.max(1, last - first)) * 100},${28 - used * 26}`);
  return shape("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": true },
    shape("polyline", { class: "s0", points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const greatest = (values) => Math.max(...values);
const label = (text, x, y, anchor) => shape("text", { x, y, "text-anchor": anchor }, text);

function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].find((times) => times * power >= value) * power;
}

// Round times along the axis: `at` is the place as a share of its length. A day's tick lies at local midnight.
export function ticks(starts, bucket, width) {
  const first = starts[0], length = starts.length * bucket;
  const every = ROUND_SECONDS.find((seconds) => (seconds / length) * width >= TICK_WIDTH) ?? ROUND_SECONDS.at(-1);
  const found = [];
  const day = new Date(first * 1000);
  day.setHours(0, 0, 0, 0);
  for (let at = day.getTime() / 1000; at <= first + length; at = every < DAY ? at + every : nextDay(at, every / DAY)) {
    const share = (at - first) / length;
    if (share >= 0.02 && share <= 0.98) found.push({ at: share, text: tickLabel(at, length) });
  }
  return found;
}

// Days are counted by the calendar, because some have 23 or 25 hours.
function nextDay(at, days) {
  const when = new Date(at * 1000);
  when.setDate(when.getDate() + days);
  return when.getTime() / 1000;
}
