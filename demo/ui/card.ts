// The card of one file: its state, the tab that works on it, and what each tab did.
import type { FileEntry } from "../files.js";
import { hueOf } from "../identity.js";
import type { FileModel } from "../model.js";
import { plural } from "../words.js";
import { cells } from "./cells.js";
import { h, say, set } from "./dom.js";
import { events } from "./events.js";
import { leasePanel } from "./lease.js";
import { tabName } from "./tab-name.js";

const kindNames = { markdown: "Markdown", text: "Text", csv: "CSV", json: "JSON" };

export interface Card {
  readonly element: HTMLElement;
  update(): void;
  tick(now: number): void;
}

export function card(entry: FileEntry, cancel: () => Promise<void>): Card {
  const { fileName, kind, paceMs } = entry.args;
  const state = h("span", { class: "state" });
  const stop = h("button", { type: "button", class: "plain" }, "Cancel");
  stop.setAttribute("aria-label", `Cancel ${fileName}`);
  stop.addEventListener("click", () => {
    stop.disabled = true;
    cancel().catch(() => {
      stop.disabled = false;
    });
  });
  const progress = h("span", { class: "fill" });
  const bar = h(
    "div",
    { class: "progress", role: "progressbar", "aria-label": `${fileName}, passages read`, "aria-valuemin": 0 },
    progress,
  );
  const stretches = h("ol", { class: "stretches", "aria-label": "Who read what, in order" });
  const trouble = h("p", { class: "trouble-text", hidden: true });
  const grid = cells(fileName);
  const lease = leasePanel();
  const log = events();
  const element = h(
    "li",
    { class: "card" },
    h(
      "div",
      { class: "card-head" },
      h("h3", { class: "file-name", title: fileName }, fileName),
      h("span", { class: "quiet kind" }, kindNames[kind], paceMs > 0 ? ` · ${paceMs} ms pause` : " · full speed"),
      state,
      stop,
    ),
    bar,
    grid.element,
    lease.element,
    trouble,
    stretches,
    log.element,
  );

  return {
    element,
    tick: lease.tick,
    update() {
      const { model } = entry;
      const total = model.planned ?? 0;
      const done = model.steps.length;
      set(element, "data-state", model.state);
      say(state, stateName(entry));
      set(stop, "hidden", model.state !== "running");
      stop.disabled ||= model.cancelAsked;
      set(bar, "aria-valuemax", total || 1);
      set(bar, "aria-valuenow", done);
      set(bar, "aria-valuetext", total ? `${done} of ${total} passages` : "waiting");
      set(bar, "data-hue", model.worker === undefined ? undefined : hueOf(model.worker));
      progress.style.setProperty("transform", `scaleX(${total ? done / total : 0})`);
      const failure = model.outcome?.type === "failure" ? model.outcome.message : "";
      set(trouble, "hidden", failure === "");
      say(trouble, failure);
      grid.update(
        model,
        total ? `${done.toLocaleString("en")} of ${plural(total, "passage")}` : "Waiting for a tab that is free",
      );
      lease.update(entry);
      showStretches(stretches, model);
      log.update(model);
    },
  };
}

function stateName({ model, lease }: FileEntry): string {
  if (model.state === "completed") return "Read";
  if (model.state === "failed") return "Failed";
  if (model.state === "cancelled") return "Cancelled";
  if (model.cancelAsked) return "Cancelling";
  if (lease) return "Reading";
  return model.steps.length > 0 ? "Between tabs" : "Waiting";
}

function showStretches(list: HTMLElement, { stretches }: FileModel): void {
  stretches.forEach(({ tab, fence, count }, at) => {
    const item = list.children[at] ?? list.appendChild(h("li", {}, tabName(tab), h("span", { class: "numbers quiet" })));
    const text = item.lastElementChild;
    if (text) say(text, `${plural(count, "passage")}, fence ${fence}`);
  });
}
