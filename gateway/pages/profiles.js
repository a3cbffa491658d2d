// The profiles of rules: which are in force, and a form that switches between them.
//
// Nothing is switched by a single tap: the boxes are ticked first, and the button sends the choice.

import { make, refill } from "./dom.js";

const LISTS = { active: "Now", while_away: "While away" };

export const namesInForce = (data) => data.profiles.filter((each) => each.in_force).map((each) => each.name).join(", ");

export class Profiles {
  // `send(choice)` switches and returns the new state, or throws; `switched(state)` hears of it.
  constructor({ send, switched }) {
    this.send = send;
    this.switched = switched;
    this.list = make("ul");
    this.last = make("p");
    this.problem = make("p", { className: "problem" });
    this.problem.setAttribute("role", "alert");
    this.button = make("button", { type: "submit", textContent: "Switch", disabled: true });
    this.element = make("form", { className: "profiles" }, this.list, make("div", { className: "foot" }, make("div", {}, this.last, this.problem), this.button));
    this.element.addEventListener("change", () => this.compare());
    this.element.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
  }

  // A choice that is being made is left alone by every refresh that brings nothing new.
  show(data) {
    this.data = data;
    refill(this.list, JSON.stringify([data.profiles, data.active, data.while_away]), () => data.profiles.map((each) => this.row(each)));
    this.last.textContent = data.problem || (data.by ? `Last switched by ${data.by}, ${new Date(data.changed_at).toLocaleString()}` : "");
    this.compare();
  }

  row(profile) {
    const times = Object.entries(LISTS).map(([list, words]) => {
      const box = make("input", { type: "checkbox", name: list, value: profile.name, checked: this.data[list].includes(profile.name) });
      box.setAttribute("aria-label", `${profile.name}: ${words}`);
      return make("label", {}, box, words);
    });
    const rules = profile.rules.map((rule) => make("li", { textContent: rule.text }));
    if (profile.accept_edits) rules.unshift(make("li", { textContent: "allow reading and editing inside the working folder" }));
    const name = make("span", { className: "name", textContent: profile.name + (profile.in_force ? " · in force" : "") });
    const summary = make("summary", { textContent: rules.length === 1 ? "1 rule" : `${rules.length} rules` });
    return make("li", {}, name, make("div", { className: "times" }, ...times), make("p", { className: "about", textContent: profile.about }), make("details", {}, summary, make("ul", {}, ...rules)));
  }

  chosen(list) {
    return [...this.element.querySelectorAll(`[name="${list}"]:checked`)].map((box) => box.value);
  }

  compare() {
    const same = (list) => [...this.chosen(list)].sort().join() === [...this.data[list]].sort().join();
    this.button.disabled = Object.keys(LISTS).every(same);
  }

  async submit() {
    this.button.disabled = true;
    this.problem.textContent = "";
    try {
      const state = await this.send(Object.fromEntries(Object.keys(LISTS).map((list) => [list, this.chosen(list)])));
      this.show(state);
      this.switched(state);
    } catch (error) {
      this.problem.textContent = error.message;
      this.compare();
    }
  }
}
