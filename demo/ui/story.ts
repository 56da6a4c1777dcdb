// A few lines of text about the tabs, newest first, from the stored events and from what this tab saw.
import { h, part, timeOf } from "./dom.js";
import { tabName } from "./tab-name.js";

const most = 40;

export interface Story {
  tell(atMs: number, tab: string | undefined, text: string): void;
}

export function story(): Story {
  const list = part("story");
  const times: number[] = [];
  return {
    tell(atMs, tab, text) {
      // Stored events arrive file by file after a reload; they are sorted by the time when they happened.
      const found = times.findIndex((time) => time <= atMs);
      const at = found < 0 ? times.length : found;
      if (at >= most) return;
      const line = h(
        "li",
        {},
        h("time", { class: "numbers quiet" }, timeOf(atMs)),
        h("span", {}, tab ? tabName(tab) : undefined, tab ? " " : "", text),
      );
      times.splice(at, 0, atMs);
      list.insertBefore(line, list.children[at] ?? null);
      times.length = Math.min(times.length, most);
      while (list.children.length > most) list.lastChild?.remove();
    },
  };
}
