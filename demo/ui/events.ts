// The stored events of one file, newest first. Only open lists and their top are in the page.
import type { EventLine, FileModel } from "../model.js";
import { h, say, set, timeOf } from "./dom.js";
import { tabName } from "./tab-name.js";

const page = 60;

export interface Events {
  readonly element: HTMLElement;
  update(model: FileModel): void;
}

export function events(): Events {
  const count = h("span", { class: "numbers" });
  const list = h("ol", { class: "events", reversed: true, tabindex: 0, "aria-label": "Events, newest first" });
  const more = h("button", { type: "button", class: "plain", hidden: true }, "Show older events");
  const element = h("details", { class: "events-block" }, h("summary", {}, "Stored events ", count), list, more);
  let model: FileModel | undefined;
  let newest = 0;
  let room = page;

  const draw = () => {
    if (!model || !element.open) return;
    const { events: lines } = model;
    const first = Math.max(newest, lines.length - room);
    if (first > newest) list.replaceChildren();
    list.prepend(...lines.slice(first).map(row).reverse());
    newest = lines.length;
    while (list.children.length > room) list.lastChild?.remove();
    set(more, "hidden", list.children.length >= lines.length);
  };

  element.addEventListener("toggle", draw);
  more.addEventListener("click", () => {
    room += page * 5;
    newest = 0;
    list.replaceChildren();
    draw();
  });

  return {
    element,
    update(next) {
      model = next;
      say(count, String(next.events.length));
      draw();
    },
  };
}

function row({ sequence, type, atMs, tab, note }: EventLine): HTMLElement {
  return h(
    "li",
    { value: sequence },
    h("span", { class: "numbers seq" }, String(sequence)),
    h("span", { class: "numbers at" }, timeOf(atMs)),
    h("code", {}, type),
    h("span", { class: "by" }, tab ? tabName(tab) : ""),
    h("span", { class: "note" }, note),
  );
}
