// Elements of a page: made in one call, and lists of them brought up to date in place.
//
// An element that still says the same is never replaced, so the focus of a keyboard user, a selection and a screen
// reader's place survive every refresh.

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// A link within the dashboard. Links that only repeat what a row offers elsewhere are left out of the Tab order.
export function link(href, text, properties = {}) {
  return make("a", { href, textContent: text, ...properties });
}

// A section of a page, below its heading.
export function section(title, ...content) {
  return make("section", {}, make("h2", { textContent: title }), ...content);
}

// Make the children of `place` those of `items`, in order. `key(item)` names an item, `text(item)` is all that its
// element shows, and `build(item)` makes the element.
export function fill(place, items, key, text, build) {
  const known = new Map([...place.children].map((child) => [child.dataset.key, child]));
  const kept = new Set(items.map((item) => String(key(item))));
  // What goes is taken out first: every element behind it would be moved otherwise, and a moved element loses the focus.
  for (const [name, element] of known) if (!kept.has(name)) element.remove();
  let next = place.firstElementChild;
  for (const item of items) {
    const name = String(key(item)), content = text(item);
    let element = known.get(name);
    if (element?.dataset.content !== content) {
      const fresh = build(item, Boolean(element));
      fresh.dataset.key = name;
      fresh.dataset.content = content;
      if (element) {
        if (next === element) next = fresh;
        element.replaceWith(fresh);
      }
      element = fresh;
    }
    if (element === next) next = element.nextElementSibling;
    else place.insertBefore(element, next);
  }
}

// Rebuild the content of `place` only when `text`, all that it shows, has changed.
export function refill(place, text, build) {
  if (place.dataset.content === text) return;
  place.replaceChildren(...build());
  place.dataset.content = text;
}

// Copy a text, also where the page is not served over https or from this machine.
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", { value: text, readOnly: true, className: "hidden" });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
