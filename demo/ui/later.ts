// What waits: the schedule with its next time, and the catalogues with what each of them waits for.
import type { ProcessRecord } from "holdfast";
import { doing, type Later, leftInWords } from "../later.js";
import { plural } from "../words.js";
import { h, part, say, set, timeOf } from "./dom.js";
import { messageOf } from "./explain.js";

export interface LaterPanel {
  draw(hasFiles: boolean): void;
  /** Shows the countdowns by this tab's clock; called a few times a second. */
  tick(now: number): void;
  /** The kernel is closed: nothing more is started, decided or heard. */
  close(): void;
}

/** Catalogues that are shown; older ones stay stored. */
const most = 4;

export function laterPanel(later: Later): LaterPanel {
  const every = part<HTMLSelectElement>("repeat-every");
  const make = part<HTMLButtonElement>("make-catalogue");
  const list = part("catalogues");
  const repeated = part("repeated");
  const lines = new Map<string, Line>();
  let closed = false;

  const attempt = async (what: string, run: () => Promise<unknown>) => {
    say(part("later-note"), "");
    await run().catch((error: unknown) => {
      if (!closed) say(part("later-note"), `${what}: ${messageOf(error)}`);
    });
  };
  every.addEventListener("change", () => void attempt("Not changed", () => later.repeat(Number(every.value))));
  make.addEventListener("click", () => void attempt("Not begun", later.makeCatalogue));

  const lineOf = (record: ProcessRecord) => {
    const line = lines.get(record.id) ?? catalogueLine(record, later, attempt);
    lines.set(record.id, line);
    return line;
  };

  return {
    draw(hasFiles) {
      if (closed) return;
      make.disabled = !hasFiles;
      const { schedule } = later;
      // A choice that is being made is not taken away.
      if (document.activeElement !== every)
        every.value = String(schedule && "everyMs" in schedule.when ? schedule.when.everyMs : 0);
      const shown = later.catalogues.slice(0, most);
      for (const [id, { element }] of lines) {
        if (shown.some((record) => record.id === id)) continue;
        element.remove();
        lines.delete(id);
      }
      shown.forEach((record, at) => {
        const line = lineOf(record);
        line.update(record);
        if (list.children[at] !== line.element) list.insertBefore(line.element, list.children[at] ?? null);
      });
      this.tick(Date.now());
    },
    tick(now) {
      if (closed) return;
      const words = scheduleInWords(later, now);
      while (repeated.children.length > words.length) repeated.lastChild?.remove();
      for (const [at, text] of words.entries()) say(repeated.children[at] ?? repeated.appendChild(h("li")), text);
      for (const line of lines.values()) line.tick(now);
    },
    close() {
      closed = true;
      for (const control of [every, make, ...list.querySelectorAll("button")]) control.disabled = true;
    },
  };
}

function scheduleInWords({ schedule, counts }: Later, now: number): string[] {
  if (!schedule) return ["It is not counted by itself."];
  const { nextAtMs, missed } = schedule;
  const [last] = counts;
  const late = counts.find(({ isLate }) => isLate);
  const madeUp = late ? `; the one of ${timeOf(late.dueAtMs)} was made up for at ${timeOf(late.record.createdAtMs)}` : "";
  return [
    ...(nextAtMs === undefined ? [] : [`The next time is in ${leftInWords(nextAtMs - now)}.`]),
    ...(last ? [`At ${timeOf(last.dueAtMs)}: ${doing(last.record, now)}.`] : []),
    ...(missed > 0 ? [`${plural(missed, "time")} missed${madeUp}.`] : []),
  ];
}

interface Line {
  readonly element: HTMLElement;
  update(record: ProcessRecord): void;
  tick(now: number): void;
}

function catalogueLine(first: ProcessRecord, later: Later, attempt: (what: string, run: () => Promise<unknown>) => void): Line {
  const { id, createdAtMs } = first;
  const title = `Catalogue of ${timeOf(createdAtMs)}`;
  const text = h("p", { class: "quiet numbers" });
  const button = (label: string, run: () => Promise<void>) => {
    const element = h("button", { type: "button", "aria-label": `${label}: ${title}` }, label);
    element.addEventListener("click", () => attempt("Not stored", run));
    return element;
  };
  const decisions = [button("Approve", () => later.decide(id, true)), button("Turn down", () => later.decide(id, false))];
  const stop = button("Stop", () => later.cancel(id));
  const line: Line & { record: ProcessRecord } = {
    element: h("li", {}, h("h3", {}, title), text, h("div", { class: "line-actions" }, ...decisions, stop)),
    record: first,
    update(record) {
      line.record = record;
      const { status, waiting = [], suspended } = record;
      const isWaiting = waiting.some(({ kind }) => kind === "signal");
      set(line.element, "data-state", status.state);
      set(line.element, "data-suspended", suspended);
      for (const decision of decisions) decision.hidden = !isWaiting;
      stop.hidden = status.state !== "running" || isWaiting;
    },
    tick: (now) => say(text, doing(line.record, now)),
  };
  return line;
}
