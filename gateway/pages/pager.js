// The pages of a long table: which of its rows are shown, and links to newer and older ones. The page is in the address.

import { make } from "./dom.js";
import { count, exactly } from "./format.js";
import { withChanges } from "./state.js";

export const PAGE = 50;
export const pageOf = (state) => Math.max(1, Number(state.get("page")) || 1);

export class Pager {
  constructor(label) {
    this.place = make("p", { className: "soft" });
    this.limit = make("p", { className: "soft", hidden: true });
    this.newer = make("a", { textContent: "Newer", className: "step" });
    this.older = make("a", { textContent: "Older", className: "step" });
    this.steps = make("nav", { className: "pager", ariaLabel: label }, this.newer, this.older);
  }

  // Say that `page` has `rows` of all the `total` rows, and that nothing before `since` was looked at.
  show(page, rows, total, since) {
    const first = (page - 1) * PAGE + 1, last = first + rows - 1;
    this.place.textContent = rows ? `${count(first)} to ${count(last)} of ${count(total)}` : "";
    this.limit.hidden = !since;
    this.limit.textContent = since ? `Only requests since ${exactly(since)} were looked at. For older ones, choose an earlier “until”.` : "";
    lead(this.newer, page > 1 ? page - 1 : null);
    lead(this.older, last < total ? page + 1 : null);
  }
}

function lead(element, page) {
  element.hidden = page === null;
  if (page !== null) element.href = withChanges({ page: page === 1 ? null : String(page) });
}
