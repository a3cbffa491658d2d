// Tables: rows brought up to date in place, and columns that sort by a button in their head.
//
// A column is {name, title, cell(row), sort(row), number, wide, head}: `cell` returns a text or a node, `sort` makes the
// column sortable, `wide` leaves it out on a phone, and `head` makes it the head of its row. The order is in the address.

import { fill, make } from "./dom.js";
import { current, go, withChanges } from "./state.js";

export class Table {
  // `sorted` is the column at the beginning, as "name" for the largest first or "-name" for the smallest.
  constructor({ caption, columns, key, empty, sorted = "", parameter = "sort", opened = null }) {
    Object.assign(this, { columns, key, sorted, parameter, opened });
    this.body = make("tbody");
    this.heads = columns.map((column) => this.head(column));
    const title = make("caption", { textContent: caption, className: "hidden" });
    this.table = make("table", {}, title, make("thead", {}, make("tr", {}, ...this.heads)), this.body);
    this.scroll = make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption }, this.table);
    this.empty = make("p", { className: "note", textContent: empty, hidden: true });
    this.element = make("div", { className: "table" }, this.scroll, this.empty);
    this.body.addEventListener("click", (event) => this.clicked(event));
  }

  head(column) {
    const head = make("th", { scope: "col", className: classes(column) });
    if (column.sort) head.append(make("button", { type: "button", textContent: column.title, onclick: () => this.sortBy(column.name) }));
    else head.append(column.title);
    return head;
  }

  order() {
    const chosen = current().get(this.parameter) ?? this.sorted;
    return { name: chosen.replace(/^-/, ""), down: !chosen.startsWith("-") };
  }

  // Sort by a column; a second time, the other way round. A column whose `sort` is true is sorted by the server, which
  // knows one direction only.
  sortBy(name) {
    const order = this.order(), again = order.name === name && order.down;
    const other = this.columns.find((column) => column.name === name).sort === true ? null : `-${name}`;
    go(withChanges({ [this.parameter]: again ? other : name }), { replace: true });
  }

  inOrder(rows) {
    const { name, down } = this.order();
    this.columns.forEach((column, at) => {
      if (column.sort) this.heads[at].setAttribute("aria-sort", column.name === name ? (down ? "descending" : "ascending") : "none");
    });
    const column = this.columns.find((each) => each.name === name && each.sort);
    if (!column || column.sort === true) return rows;
    const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
    return [...rows].sort((one, other) => compare(column.sort(one) ?? -1, column.sort(other) ?? -1) * (down ? -1 : 1));
  }

  // Show `rows`; `state(row)` is the class of a row, and `flash` marks the rows that were not there before.
  show(rows, state = () => "", { flash = false } = {}) {
    this.scroll.hidden = !rows.length;
    this.empty.hidden = rows.length > 0;
    const cells = new Map(rows.map((row) => [row, this.columns.map((column) => ({ column, content: column.cell(row) }))]));
    const text = (row) => state(row) + cells.get(row).map(({ content }) => content?.outerHTML ?? content).join("\u0000");
    fill(this.body, this.inOrder(rows), this.key, text, (row, existed) => {
      const parts = cells.get(row).map(({ column, content }) =>
        make(column.head ? "th" : "td", { className: classes(column), ...(column.head ? { scope: "row" } : {}) }, content ?? ""));
      return make("tr", { className: `${state(row)}${flash && !existed ? " new" : ""}` }, ...parts);
    });
  }

  // A click beside the links of a row opens the row.
  clicked(event) {
    const row = event.target.closest("tr");
    if (this.opened && row?.dataset.key && !event.target.closest("a, button") && !String(getSelection())) this.opened(row.dataset.key);
  }
}

const classes = ({ number, wide }) => [number && "number", wide && "wide"].filter(Boolean).join(" ");
