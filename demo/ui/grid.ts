// Small cells in rows. The pointer or the keyboard selects one, and a line below describes it.
import { h, say, set } from "./dom.js";

export interface Grid {
  readonly element: HTMLElement;
  /** The parent of the cells, and of nothing else. */
  readonly cells: HTMLElement;
  /** The text below while no cell is selected. */
  summarise(text: string): void;
  /** The selected cell may have changed or gone. */
  changed(): void;
}

export const cell = (): HTMLElement => h("div", { class: "cell", role: "option", "aria-selected": "false" });

export function grid(label: string, nameOf: (cell: Element, at: number) => string): Grid {
  const cells = h("div", { class: "cells", role: "listbox", tabindex: 0, "aria-label": label });
  const detail = h("p", { class: "cell-detail quiet numbers" });
  let active = -1;
  let shown: Element | undefined;
  let summary = "";

  const show = (at: number) => {
    active = Math.max(-1, Math.min(at, cells.children.length - 1));
    const found = cells.children[active];
    if (shown && shown !== found) set(shown, "aria-selected", "false");
    shown = found;
    const name = found ? nameOf(found, active) : summary;
    if (found) {
      found.id ||= `cell-${crypto.randomUUID()}`;
      set(found, "aria-selected", "true");
      set(found, "aria-label", name);
    }
    set(cells, "aria-activedescendant", found?.id);
    say(detail, name);
  };

  cells.addEventListener("keydown", (event) => {
    const perRow = Math.max(
      1,
      Array.from(cells.children).findIndex((one, at) => at > 0 && (one as HTMLElement).offsetLeft === 0),
    );
    const to: Record<string, number> = {
      ArrowRight: active + 1,
      ArrowLeft: Math.max(0, active - 1),
      ArrowDown: active + perRow,
      ArrowUp: Math.max(0, active - perRow),
      Home: 0,
      End: cells.children.length - 1,
    };
    const next = to[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(next);
  });
  cells.addEventListener("focus", () => active < 0 && show(0));
  cells.addEventListener("blur", () => show(-1));
  cells.addEventListener("pointermove", ({ target }) => {
    const at = target instanceof Element && target !== cells ? Array.prototype.indexOf.call(cells.children, target) : -1;
    if (at >= 0 && at !== active) show(at);
  });
  cells.addEventListener("pointerleave", () => document.activeElement !== cells && show(-1));

  return {
    element: h("div", { class: "cells-block" }, cells, detail),
    cells,
    summarise(text) {
      summary = text;
      if (active < 0) say(detail, summary);
    },
    changed: () => show(active),
  };
}
