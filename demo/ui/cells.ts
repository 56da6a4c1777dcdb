// One cell per passage, in the colour of the tab that read it.
import { hueOf } from "../identity.js";
import type { FileModel, Step } from "../model.js";
import { h, say, set } from "./dom.js";

/** Beyond this a cell stands for several passages. */
const mostCells = 1_200;

export interface Cells {
  readonly element: HTMLElement;
  /** `summary` stands under the cells as long as none is looked at. */
  update(model: FileModel, summary: string): void;
}

export function cells(fileName: string): Cells {
  const grid = h("div", {
    class: "cells",
    role: "listbox",
    tabindex: 0,
    "aria-label": `Passages of ${fileName}, by the tab that read them`,
  });
  const detail = h("p", { class: "cell-detail quiet numbers" });
  const known: (Step | undefined)[] = [];
  let perCell = 1;
  let painted = 0;
  let active = -1;
  let summary = "";

  const name = (at: number): string => {
    const step = known[at];
    const range = perCell === 1 ? `Passage ${at + 1}` : `Passages ${at * perCell + 1} to ${(at + 1) * perCell}`;
    if (!step) return `${range}: not read yet`;
    const [from, to] = step.where;
    return `${range}: ${step.title} (${from === to ? `line ${from}` : `lines ${from} to ${to}`}), read in ${step.tab}, fence ${step.fence}`;
  };

  const show = (at: number) => {
    const before = grid.children[active];
    if (before) set(before, "aria-selected", false);
    active = Math.max(-1, Math.min(at, grid.children.length - 1));
    const cell = grid.children[active];
    if (cell) {
      cell.id ||= `cell-${crypto.randomUUID()}`;
      set(cell, "aria-selected", "true");
      set(cell, "aria-label", name(active));
    }
    set(grid, "aria-activedescendant", cell?.id);
    say(detail, cell ? name(active) : summary);
  };

  grid.addEventListener("keydown", (event) => {
    const perRow = Math.max(
      1,
      Array.from(grid.children).findIndex((cell, at) => at > 0 && (cell as HTMLElement).offsetLeft === 0),
    );
    const to: Record<string, number> = {
      ArrowRight: active + 1,
      ArrowLeft: Math.max(0, active - 1),
      ArrowDown: active + perRow,
      ArrowUp: Math.max(0, active - perRow),
      Home: 0,
      End: grid.children.length - 1,
    };
    const next = to[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(next);
  });
  grid.addEventListener("focus", () => active < 0 && show(0));
  grid.addEventListener("blur", () => show(-1));
  grid.addEventListener("pointermove", ({ target }) => {
    const at = target instanceof Element && target !== grid ? Array.prototype.indexOf.call(grid.children, target) : -1;
    if (at >= 0 && at !== active) show(at);
  });
  grid.addEventListener("pointerleave", () => document.activeElement !== grid && show(-1));

  return {
    element: h("div", { class: "cells-block" }, grid, detail),
    update(model, text) {
      summary = text;
      if (active < 0) say(detail, summary);
      if (model.planned !== undefined && grid.children.length === 0) {
        perCell = Math.ceil(model.planned / mostCells);
        const count = Math.ceil(model.planned / perCell);
        grid.append(
          ...Array.from({ length: count }, () => h("div", { class: "cell", role: "option", "aria-selected": "false" })),
        );
        set(grid, "data-many", count > 300);
      }
      for (; painted < model.steps.length; painted++) {
        const step = model.steps[painted];
        if (!step) continue;
        const at = Math.floor((step.n - 1) / perCell);
        const cell = grid.children[at];
        known[at] = step;
        if (cell) set(cell, "data-hue", hueOf(step.tab));
        if (at === active) show(at);
      }
    },
  };
}
