import { hueOf } from "../identity.js";
import { h } from "./dom.js";

/** A tab's name behind its colour. Everywhere on the page a colour means a tab. */
export function tabName(name: string, extra?: string): HTMLElement {
  return h("span", { class: "tab-name", "data-hue": hueOf(name) }, h("i", { class: "dot", "aria-hidden": "true" }), name, extra);
}
