import type { JsonValue } from "../../../domain/json.js";
import { isEqual } from "../../../domain/kept.js";
import type { StoredInputState } from "../../../domain/session/input.js";
import type { Message, RuntimeState } from "../../../domain/session/session.js";
import { givenUpAs } from "../../../stores/session/inputs/inputs.rules.js";
import { isShown, messageOf } from "../../../stores/session/inputs/prompt-message.rules.js";
import type { InputRow } from "../../../stores/session/inputs/tables.js";

/** What `session.view` shows. */
export interface SessionView {
  /** "loading" before the first read. "closed" once the session object or its kernel is closed, or the session deleted. */
  status: "loading" | "ready" | "closed";
  /** The stored messages and the prompts that have no answer, each once. */
  messages: readonly ViewMessage[];
  /** The turn that runs now, in any tab. Absent where its owner is gone, until another one goes on with it. */
  run?: SessionRun;
  /** Always empty so far. */
  live: readonly JsonValue[];
  /** How many inputs wait; those of the turn that runs are not counted. */
  waiting: number;
  /** "initializing" before the first read. */
  state: RuntimeState;
  /** The last error of the newest prompt that failed, until a later prompt is answered; or why the last read failed. */
  error?: string;
}

/** A turn that runs. */
export interface SessionRun {
  runId: string;
  /** How often its inputs were staged: 1 for the first try. */
  attempt: number;
  inputIds: readonly string[];
  /** The host that runs it. */
  hostId: string;
  /** This kernel runs it. */
  self: boolean;
}

/**
 * A message of a view. `pending` says why it has no answer: its prompt waits or runs, or it was given up, after too many attempts or by
 * `cancel`. One that was given up stands where it came, until its idempotency key is used again.
 */
export type ViewMessage = Message & { inputId?: string; pending?: "waiting" | "running" | "failed" | "cancelled" };

/** What is stored of a session, as far as its view shows it. */
export interface ViewFacts {
  readonly messages: readonly Message[];
  /** Inputs that have not ended, and those that were given up; in any order. */
  readonly rows: readonly InputRow[];
  /** Absent where no live lease stands behind it. */
  readonly run: SessionRun | undefined;
  readonly state: RuntimeState;
}

/** The place of an input in the order of admissions. */
export type Admission = Pick<StoredInputState, "createdAtMs"> & Pick<InputRow, "rank">;

interface ShownPrompt {
  readonly row: InputRow;
  readonly message: ViewMessage;
}

const NO_RANK = Number.MAX_SAFE_INTEGER;

/** The value, with the objects of `last` where nothing changed. `admissions` are those that `unknownAdmission` asked for. */
export function viewFrom(
  last: SessionView,
  facts: ViewFacts,
  admissions: ReadonlyMap<string, Admission | undefined>,
): SessionView {
  const { rows, run, state } = facts;
  const prompts = promptsIn(facts);
  const messages = keptMessages(last.messages, placed(facts.messages, prompts, admissions));
  const running = new Set(run?.inputIds);
  const live = rows.filter(({ liveRank }) => liveRank !== undefined);
  const error = errorIn(messages, rows);
  const next: SessionView = {
    status: "ready",
    messages,
    ...(run && { run: last.run && isEqual(last.run, run) ? last.run : run }),
    live: last.live,
    waiting: live.filter(({ inputId }) => !running.has(inputId)).length,
    state,
    ...(error !== undefined && { error }),
  };
  return isSameView(last, next) ? last : next;
}

/** The id of an input whose admission decides where a prompt stands that was given up, and is not known yet. */
export function unknownAdmission(facts: ViewFacts, admissions: ReadonlyMap<string, Admission | undefined>): string | undefined {
  const said = saidIn(facts.messages, facts.rows);
  for (const row of facts.rows) {
    if (row.givenUpSince === undefined || said.has(row.inputId) || !isShown(row.record)) continue;
    const { unknown } = placeOf(row, facts.messages, admissions);
    if (unknown !== undefined) return unknown;
  }
  return undefined;
}

function promptsIn({ rows, run }: ViewFacts): ShownPrompt[] {
  const running = new Set(run?.inputIds);
  return [...rows]
    .sort(byRank)
    .filter(({ record }) => isShown(record))
    .flatMap((row) => {
      const { inputId, record } = row;
      const pending = givenUpAs(record) ?? (running.has(inputId) ? "running" : "waiting");
      return record.persistedInput ? [{ row, message: { ...messageOf(inputId, record.persistedInput), inputId, pending } }] : [];
    });
}

function byRank(a: InputRow, b: InputRow): number {
  return (a.rank ?? NO_RANK) - (b.rank ?? NO_RANK) || (a.inputId < b.inputId ? -1 : 1);
}

/** For each prompt whose message a checkpoint stored, the position of that message. */
function saidIn(messages: readonly Message[], rows: readonly InputRow[]): Map<string, number> {
  const sinceOf = new Map(
    // An ephemeral input may have the id of an earlier one: only messages since its admission count.
    rows.map(({ inputId, since = 0, record }) => [inputId, record.durability === "ephemeral" ? since : 0]),
  );
  const said = new Map<string, number>();
  if (sinceOf.size === 0) return said;
  messages.forEach((message, at) => {
    const inputId = saidInput(message);
    if (inputId !== undefined && at >= (sinceOf.get(inputId) ?? Number.POSITIVE_INFINITY)) said.set(inputId, at);
  });
  return said;
}

function saidInput(message: Message): string | undefined {
  // A transcript that a snapshot replaced may hold any value.
  return message?.role === "user" && typeof message.inputId === "string" ? message.inputId : undefined;
}

function placed(
  messages: readonly Message[],
  prompts: readonly ShownPrompt[],
  admissions: ReadonlyMap<string, Admission | undefined>,
): readonly ViewMessage[] {
  if (prompts.length === 0) return messages;
  const rows = prompts.map(({ row }) => row);
  const said = saidIn(messages, rows);
  const made: ViewMessage[] = [...messages];
  const before = new Map<number, ViewMessage[]>();
  for (const { row, message } of prompts) {
    const at = said.get(row.inputId);
    if (at !== undefined) {
      made[at] = { ...(messages[at] as Message), pending: message.pending } as ViewMessage;
      continue;
    }
    const place = row.givenUpSince === undefined ? messages.length : placeOf(row, messages, admissions).place;
    before.set(place, [...(before.get(place) ?? []), message]);
  }
  return [...made, undefined].flatMap((message, at) => [...(before.get(at) ?? []), ...(message === undefined ? [] : [message])]);
}

/**
 * The place of a prompt that was given up: where it came, but behind all that belongs to prompts that were admitted before it. A turn that ran
 * when it came stored its messages later.
 */
function placeOf(
  row: InputRow,
  messages: readonly Message[],
  admissions: ReadonlyMap<string, Admission | undefined>,
): { place: number; unknown?: string } {
  const own: Admission = { createdAtMs: row.record.createdAtMs, rank: row.rank };
  const since = Math.min(row.givenUpSince ?? messages.length, messages.length);
  for (let place = since; place < messages.length; place++) {
    const inputId = saidInput(messages[place] as Message);
    if (inputId === undefined) continue;
    if (!admissions.has(inputId)) return { place: since, unknown: inputId };
    const other = admissions.get(inputId);
    if (!other || isLater(other, own)) return { place };
  }
  return { place: messages.length };
}

/** Inputs of the steer lane have lower ranks than those before them: the time counts first. */
function isLater(a: Admission, b: Admission): boolean {
  return a.createdAtMs > b.createdAtMs || (a.createdAtMs === b.createdAtMs && (a.rank ?? NO_RANK) > (b.rank ?? NO_RANK));
}

/** `next` with the objects of `last` that are equal: messages at the same place, and prompts wherever they stand. */
function keptMessages(last: readonly ViewMessage[], next: readonly ViewMessage[]): readonly ViewMessage[] {
  const prompts = new Map(last.flatMap((message) => (message?.pending === undefined ? [] : [[message.inputId, message]])));
  const kept = next.map((message, at) => {
    const before = message?.pending === undefined ? last[at] : prompts.get(message.inputId);
    return before !== undefined && isEqual(before, message) ? before : message;
  });
  return kept.length === last.length && kept.every((message, at) => message === last[at]) ? last : kept;
}

function isSameView(a: SessionView, b: SessionView): boolean {
  const names: readonly (keyof SessionView)[] = ["status", "messages", "run", "live", "waiting", "state", "error"];
  return names.every((name) => a[name] === b[name]);
}

/** The error of the last prompt that has one, and behind which no other was answered. */
function errorIn(messages: readonly ViewMessage[], rows: readonly InputRow[]): string | undefined {
  const byId = new Map(rows.map((row) => [row.inputId, row]));
  const hidden = rows.filter(({ record }) => !isShown(record)).sort(byRank);
  const unseen = hidden.findLast(({ record }) => record.error !== undefined)?.record.error;
  if (unseen !== undefined) return unseen;
  for (let at = messages.length - 1; at >= 0; at--) {
    const message = messages[at] as ViewMessage;
    const inputId = saidInput(message);
    if (inputId === undefined) continue;
    const error = message.pending && byId.get(inputId)?.record.error;
    if (error !== undefined) return error;
    if (message.pending === undefined) return undefined;
  }
  return undefined;
}
