import type { InputKind, StoredInputState } from "../../domain/session/input.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { SessionEvent } from "../../kernel/session/events.js";
import type { SessionRuntime } from "../../kernel/session/session.js";
import { SCHEMA } from "../../stores/schema.js";
import { builtInPolicy, semanticsOf } from "../../stores/session/inputs/policy.rules.js";
import type { InputSubmission } from "../../stores/session/inputs/submission.js";
import { casesOn, type Ground, type OpenFixture, type Runner } from "../kit/fixture.js";
import { onRows } from "../kit/rows.fixture.js";
import { DECISION, input, PROMPT, RUNTIME } from "./runtime.fixture.js";
import { complaints } from "./session.invariants.js";

export interface SessionCases {
  /** After each case all rows fit together, whatever it did. */
  promise(name: string, body: (ground: Ground) => Promise<void>): void;
  /** No row is another after `work`. */
  changesNoRow(ground: Ground, work: () => Promise<void>): Promise<void>;
}

export function sessionCasesOn(open: OpenFixture, runner: Runner): SessionCases {
  const { expect } = runner;
  const cases = casesOn(open, runner);
  return {
    promise(name, body) {
      cases.promise(name, async (ground) => {
        await body(ground);
        expect(await complaints(ground)).toEqual([]);
      });
    },
    async changesNoRow(ground, work) {
      const before = await everything(ground);
      await work();
      expect(await everything(ground)).toEqual(before);
    },
  };
}

/** A session and its kernel, with what that tells. */
export interface OpenedSession {
  readonly kernel: Kernel;
  readonly session: SessionRuntime;
  readonly told: SessionEvent[];
}

/** Of a kernel that runs no turns. */
export async function withoutTurns({ kernel }: Ground): Promise<OpenedSession> {
  const session = await kernel.session("s");
  return { kernel, session, told: events(kernel) };
}

/** Of a kernel that runs turns, once the session has a handler. */
export async function withTurns(ground: Ground): Promise<OpenedSession> {
  const kernel = await ground.open({ loop: "inline" });
  const session = await kernel.session("s");
  return { kernel, session, told: events(kernel) };
}

/** Its text is its id. */
export function prompt(inputId: string, more: object = {}): InputSubmission {
  return { inputType: "prompt", text: inputId, inputId, ...more };
}

/** Of each kind one that is accepted. */
export const SUBMISSIONS: Readonly<Record<InputKind, InputSubmission>> = {
  prompt: { inputType: "prompt", text: "hello" },
  peer_message: { inputType: "peer", body: "hello", source: { type: "peer", peerId: "p" } },
  peer_request: { inputType: "peer", convention: { conventionType: "request", requestId: "r", intent: "look" } },
  peer_response_progress: { inputType: "peer", convention: { conventionType: "response_progress", requestId: "r" } },
  peer_response_terminal: { inputType: "peer", convention: { conventionType: "response_terminal", requestId: "r" } },
  flow_step: { inputType: "flow_step", text: "step" },
  external_event: { inputType: "external_event", body: "rang" },
  continuation: { inputType: "continuation", reason: "go on" },
  operation: { inputType: "operation", name: "noted" },
};

/** A stored input that a session can go on with. */
export function waiting(inputId: string, more: Partial<StoredInputState> = {}): StoredInputState {
  return input(inputId, {
    durability: "durable",
    policy: { version: 1, decision: DECISION },
    runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
    persistedInput: { ...PROMPT, text: inputId },
    ...more,
  });
}

/** What a stored operation carries: it is consumed where it is accepted. */
export function operation(inputId: string, more: Partial<StoredInputState> = {}): StoredInputState {
  const decision = builtInPolicy({ kind: "operation", idle: true });
  return waiting(inputId, {
    policy: { version: 1, decision },
    runtimeSemantics: semanticsOf("operation", decision),
    persistedInput: { inputType: "operation" },
    ...more,
  });
}

export const ABANDONED = (reason: unknown) => ({ outcomeType: "abandoned", reason });
export const CONSUMED = { outcomeType: "consumed" };

export async function stateOf(kernel: Kernel, inputId: string): Promise<StoredInputState> {
  const state = await kernel.runtime.loadInputState(RUNTIME, inputId);
  if (!state) throw new Error(`input "${inputId}" is not stored`);
  return state;
}

/** `id phase` of every input, by id. */
export async function phases(kernel: Kernel): Promise<string[]> {
  const states = await kernel.runtime.loadInputStates(RUNTIME);
  return states.map(({ inputId, currentState }) => `${inputId} ${currentState}`);
}

export async function outcomeOf(kernel: Kernel, inputId: string): Promise<unknown> {
  return (await stateOf(kernel, inputId)).terminalOutcome;
}

/** The contents of the stored messages. */
export async function said(session: SessionRuntime): Promise<unknown[]> {
  return (await session.messages()).map(({ content }) => content);
}

/** Waits for what needs no clock, and fails when it does not come. */
export async function comes(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let round = 0; round < 1_000; round++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, round < 50 ? 0 : 4));
  }
  throw new Error(`never came: ${what}`);
}

/** Whatever needs no clock to go on has gone on. */
export async function quiet(): Promise<void> {
  for (let round = 0; round < 24; round++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Waits until nothing of the session lives any more. */
export async function drained(kernel: Kernel): Promise<void> {
  const ended = ["consumed", "superseded", "coalesced", "abandoned"];
  await comes(
    async () => (await kernel.runtime.loadInputStates(RUNTIME)).every(({ currentState }) => ended.includes(currentState)),
    "the end of all inputs",
  );
}

/** What the kernel tells of its sessions, from now on. */
export function events(kernel: Kernel): SessionEvent[] {
  const told: SessionEvent[] = [];
  kernel.on("session", (event) => void told.push(event));
  return told;
}

/** A promise that a case settles by hand. */
export function gate<T = void>(): { promise: Promise<T>; open(value: T): void } {
  let open: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

/** Every row of the database but those that tell who has it open. */
export function everything(ground: Ground): Promise<unknown> {
  const tables = Object.keys(SCHEMA.tables).filter((table) => table !== "attachments" && table !== "hosts");
  return onRows(ground, (rows) =>
    rows.transact(tables, "read", async (tx) => await Promise.all(tables.map((table) => tx.range(table, {})))),
  );
}

/** The ids of every run's inputs, run after run. */
export function runsOf(session: SessionRuntime): string[][] {
  const runs: string[][] = [];
  session.onTurn(async ({ inputs }) => void runs.push(inputs.map(({ inputId }) => inputId)));
  return runs;
}

export const idsOf = (told: readonly { code: string; inputId?: string }[], code: string) =>
  told.filter((event) => event.code === code).map(({ inputId }) => inputId);
