// Small charts in SVG: stacked bars and lines over time, a gauge, a spark line. Shapes come from numbers, looks from CSS.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 150, TOP = 8, BOTTOM = 20, LEFT = 46, RIGHT = 6;

export function shape(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// `series` is [{name, style, values}], all as long as `starts` (UTC seconds); null where nothing is known.
// `stacked` draws bars on top of each other, else lines. `format` makes a value readable.
export function draw(figure, { starts, bucket, series, stacked = false, format }) {
  keys(figure, series);
  const width = Math.max(240, figure.clientWidth - 30);
  const tops = starts.map((_, at) => (stacked ? sum : greatest)(series.map((one) => one.values[at] ?? 0)));
  const top = niceTop(Math.max(...tops, 0));
  const step = (width - LEFT - RIGHT) / Math.max(1, starts.length);
  const x = (at) => LEFT + at * step, y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", tabindex: 0, preserveAspectRatio: "none" });
  svg.setAttribute("aria-label", `${figure.dataset.title}: ${series.map((one) => describe(one, format)).join(", ")}. Arrow keys read single values.`);
  for (const part of [0, 0.5, 1]) {
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(top * part), y2: y(top * part) }));
    svg.append(label(format(top * part), LEFT - 6, y(top * part) + 4, "end"));
  }
  for (const at of ticks(starts.length, width)) svg.append(label(moment(starts[at], bucket, starts), x(at) + step / 2, HEIGHT - 4, "middle"));
  stacked ? drawBars(svg, series, x, y, step) : series.forEach((one) => drawLine(svg, one, (at) => x(at) + step / 2, y));
  readable(figure, svg, { starts, bucket, series, format, x, step, width });
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

// The pointer or the arrow keys choose a step; its values are written below the chart.
function readable(figure, svg, { starts, bucket, series, format, x, step, width }) {
  const cursor = shape("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const readout = figure.querySelector(".readout") ?? figure.appendChild(Object.assign(document.createElement("p"), { className: "readout" }));
  readout.setAttribute("aria-live", "polite");
  let chosen = -1;
  const choose = (at) => {
    chosen = Math.min(starts.length - 1, Math.max(-1, at));
    cursor.setAttribute("visibility", chosen < 0 ? "hidden" : "visible");
    if (chosen < 0) return void (readout.textContent = "");
    for (const side of ["x1", "x2"]) cursor.setAttribute(side, x(chosen) + step / 2);
    const values = series.map((one) => `${one.name} ${one.values[chosen] == null ? "–" : format(one.values[chosen])}`);
    readout.textContent = `${new Date(starts[chosen] * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" })}  ${values.join(" · ")}`;
  };
  svg.append(cursor);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    choose(Math.floor((((event.clientX - box.left) / box.width) * width - LEFT) / step));
  });
  svg.addEventListener("pointerleave", () => choose(-1));
  svg.addEventListener("blur", () => choose(-1));
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: chosen < 0 ? starts.length - 1 : chosen - 1, ArrowRight: chosen + 1, Home: 0, End: starts.length - 1, Escape: -1 };
    if (event.key in moves) { event.preventDefault(); choose(moves[event.key]); }
  });
  const old = figure.querySelector("svg"), had = old === document.activeElement;
  old ? old.replaceWith(svg) : figure.insertBefore(svg, readout);
  if (had) svg.focus();
}

function keys(figure, series) {
  const caption = figure.querySelector("figcaption");
  figure.dataset.title ??= caption.textContent;
  caption.replaceChildren(figure.dataset.title, ...series.map((one) => Object.assign(document.createElement("span"), { className: `key ${one.style}`, textContent: one.name })));
}

export function gauge(used, pace) {
  const svg = shape("svg", { class: "gauge", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": true },
    shape("rect", { class: "bar", width: 100, height: 12, rx: 1 }), shape("rect", { width: Math.min(100, used), height: 12, rx: 1 }));
  if (pace != null) svg.append(shape("line", { class: "cursor", x1: Math.min(100, pace), x2: Math.min(100, pace), y1: 0, y2: 12 }));
  return svg;
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

function describe(one, format) {
  const known = one.values.filter((value) => value != null);
  return `${one.name} at most ${format(known.length ? Math.max(...known) : 0)}`;
}

function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].find((times) => times * power >= value) * power;
}

function ticks(count, width) {
  const every = Math.max(1, Math.ceil(count / Math.max(2, Math.floor(width / 110))));
  return Array.from({ length: count }, (_, at) => at).filter((at) => at % every === Math.floor(every / 2));
}

function moment(start, bucket, starts) {
  const when = new Date(start * 1000);
  if (bucket >= 43200 || starts.at(-1) - starts[0] > 172800) return when.toLocaleDateString([], { day: "numeric", month: "short" });
  return when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
