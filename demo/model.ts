// One file as the page knows it, folded from its process's events. Every tab folds the same events and gets the same model.
import type { ProcessAwaitOutput, ProcessEvent } from "holdfast";
import { type PickedUp, type Planned, pickedUp, planned, type ReadPassage } from "./index-file.js";

export interface Step {
  readonly n: number;
  readonly title: string;
  readonly where: readonly [number, number];
  readonly tab: string;
  readonly fence: number;
}

/** Consecutive passages that one tab read under one fencing token. */
export interface Stretch {
  readonly tab: string;
  readonly fence: number;
  count: number;
}

export interface EventLine {
  readonly sequence: number;
  readonly type: string;
  readonly atMs: number;
  readonly tab: string | undefined;
  readonly note: string;
}

export interface FileModel {
  readonly id: string;
  planned: number | undefined;
  attempt: number | undefined;
  worker: string | undefined;
  state: "running" | "completed" | "failed" | "cancelled";
  outcome: ProcessAwaitOutput | undefined;
  cancelAsked: boolean;
  /** Steps in the order in which they were stored. */
  readonly steps: Step[];
  readonly stretches: Stretch[];
  readonly events: EventLine[];
}

export function newModel(id: string): FileModel {
  return {
    id,
    planned: undefined,
    attempt: undefined,
    worker: undefined,
    state: "running",
    outcome: undefined,
    cancelAsked: false,
    steps: [],
    stretches: [],
    events: [],
  };
}

/** Folds one event in. Returns the passage of the event, if it has one. */
export function apply(model: FileModel, event: ProcessEvent): ReadPassage | undefined {
  const line = (tab: string | undefined, note: string) => {
    model.events.push({ sequence: event.sequence, type: event.eventType, atMs: event.occurredAtMs, tab, note });
  };
  const { payload } = event;
  const terminal = event.semantics.terminal;
  if (terminal) {
    model.state = terminal.state;
    model.outcome = terminal.awaitOutput;
    line(terminal.state === "cancelled" ? undefined : model.worker, outcomeNote(terminal.awaitOutput));
    return undefined;
  }
  switch (event.eventType) {
    case planned:
      model.planned = (payload as Planned).passages;
      line(undefined, `${model.planned} ${model.planned === 1 ? "passage" : "passages"}`);
      return undefined;
    case pickedUp:
      ({ tab: model.worker, attempt: model.attempt } = payload as PickedUp);
      line(model.worker, model.attempt === 1 ? "first owner" : `after ${model.steps.length} stored passages`);
      return undefined;
    case "process.step": {
      const passage = passageOf(event);
      if (!passage) return undefined;
      const { n, title, where, tab, fence } = passage;
      model.steps.push({ n, title, where, tab, fence });
      const last = model.stretches.at(-1);
      if (last?.tab === tab && last.fence === fence) last.count++;
      else model.stretches.push({ tab, fence, count: 1 });
      line(tab, `${n}. ${title}`);
      return passage;
    }
    case "process.cancel_requested":
      model.cancelAsked = true;
      line(undefined, (payload as { reason?: string }).reason ?? "");
      return undefined;
    default:
      line(undefined, "");
      return undefined;
  }
}

/** The passage that a step has read. */
export function passageOf({ eventType, payload }: ProcessEvent): ReadPassage | undefined {
  return eventType === "process.step" ? (payload as { result: ReadPassage }).result : undefined;
}

function outcomeNote(output: ProcessAwaitOutput): string {
  return output.type === "success" ? "every passage is stored" : output.message;
}
