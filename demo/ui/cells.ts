// One cell per passage, in the colour of the tab that read it.
import { hueOf } from "../identity.js";
import type { FileModel, Step } from "../model.js";
import { set } from "./dom.js";
import { cell, grid } from "./grid.js";

/** Above this number a cell stands for several passages. */
const mostCells = 1_200;

export interface Cells {
  readonly element: HTMLElement;
  /** `summary` stands under the cells while none is selected. */
  update(model: FileModel, summary: string): void;
}

export function cells(fileName: string): Cells {
  const known: (Step | undefined)[] = [];
  let perCell = 1;
  let painted = 0;

  const view = grid(`Passages of ${fileName}, by the tab that read them`, (_, at) => {
    const step = known[at];
    const range = perCell === 1 ? `Passage ${at + 1}` : `Passages ${at * perCell + 1} to ${(at + 1) * perCell}`;
    if (!step) return `${range}: not read yet`;
    const [from, to] = step.where;
    return `${range}: ${step.title} (${from === to ? `line ${from}` : `lines ${from} to ${to}`}), read in ${step.tab}, fence ${step.fence}`;
  });
  const places = view.cells;

  return {
    element: view.element,
    update(model, text) {
      view.summarise(text);
      if (model.planned !== undefined && places.children.length === 0) {
        perCell = Math.ceil(model.planned / mostCells);
        const count = Math.ceil(model.planned / perCell);
        places.append(...Array.from({ length: count }, cell));
        set(places, "data-many", count > 300);
      }
      for (; painted < model.steps.length; painted++) {
        const step = model.steps[painted];
        if (!step) continue;
        const at = Math.floor((step.n - 1) / perCell);
        known[at] = step;
        const place = places.children[at];
        if (place) set(place, "data-hue", hueOf(step.tab));
      }
      view.changed();
    },
  };
}
