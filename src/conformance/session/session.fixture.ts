import type { RetryPolicy } from "../../domain/retry.rules.js";
import type { InputKind, StoredInputState } from "../../domain/session/input.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { SessionEvent } from "../../kernel/session/events.js";
import type { SessionRuntime } from "../../kernel/session/session.js";
import { SCHEMA } from "../../stores/schema.js";
import { builtInPolicy, semanticsOf } from "../../stores/session/inputs/policy.rules.js";
import type { InputSubmission } from "../../stores/session/inputs/submission.js";
import { comes } from "../kit/comes.fixture.js";
import { casesOn, type OpenFixture, type Runner, type Setup } from "../kit/fixture.js";
import { onRows } from "../kit/rows.fixture.js";
import { DECISION, input, PROMPT, RUNTIME } from "./runtime.fixture.js";
import { complaints } from "./session.invariants.js";

export { comes, quiet } from "../kit/comes.fixture.js";

export interface SessionCases {
  /** The invariants of the stored rows must hold after each case. */
  promise(name: string, body: (setup: Setup) => Promise<void>): void;
  /** Fails when any row is another after `work`. */
  changesNoRow(setup: Setup, work: () => Promise<void>): Promise<void>;
}

export function sessionCasesOn(open: OpenFixture, runner: Runner): SessionCases {
  const { expect } = runner;
  const cases = casesOn(open, runner);
  return {
    promise(name, body) {
      cases.promise(name, async (setup) => {
        await body(setup);
        expect(await complaints(setup)).toEqual([]);
      });
    },
    async changesNoRow(setup, work) {
      const before = await everything(setup);
      await work();
      expect(await everything(setup)).toEqual(before);
    },
  };
}

/** An open session with its kernel and its events. */
export interface OpenedSession {
  readonly kernel: Kernel;
  readonly session: SessionRuntime;
  readonly told: SessionEvent[];
}

/** Opens a session in a kernel that runs no turns. */
export async function withoutTurns({ kernel }: Setup): Promise<OpenedSession> {
  const session = await kernel.session("s");
  return { kernel, session, told: events(kernel) };
}

/** A failed turn is tried again without a pause. */
export const AT_ONCE: RetryPolicy = { attempts: 3, backoffMs: 0 };

/** Opens a session in a kernel that runs turns, once the session has a handler. */
export async function withTurns(setup: Setup, turnRetry: RetryPolicy | undefined = AT_ONCE): Promise<OpenedSession> {
  const kernel = await setup.open({ loop: "inline", turnRetry });
  const session = await kernel.session("s");
  return { kernel, session, told: events(kernel) };
}

/** A prompt whose text is its id. */
export function prompt(inputId: string, more: object = {}): InputSubmission {
  return { inputType: "prompt", text: inputId, inputId, ...more };
}

/** One acceptable submission of each kind. */
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

/** A stored input that a session can run. */
export function waiting(inputId: string, more: Partial<StoredInputState> = {}): StoredInputState {
  return input(inputId, {
    durability: "durable",
    policy: { version: 1, decision: DECISION },
    runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
    persistedInput: { ...PROMPT, text: inputId },
    ...more,
  });
}

/** A stored operation: consumed at its admission. */
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

/** Waits until every input of the session has ended. */
export async function drained(kernel: Kernel): Promise<void> {
  const ended = ["consumed", "superseded", "coalesced", "abandoned"];
  await comes(
    async () => (await kernel.runtime.loadInputStates(RUNTIME)).every(({ currentState }) => ended.includes(currentState)),
    "the end of all inputs",
  );
}

/** The kernel's session events, from this call on. */
export function events(kernel: Kernel): SessionEvent[] {
  const told: SessionEvent[] = [];
  kernel.on("session", (event) => void told.push(event));
  return told;
}

/** A promise that a case settles itself. */
export function gate<T = void>(): { promise: Promise<T>; open(value: T): void } {
  let open: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

/** Every row of the database, without the rows of hosts that have it open. */
export function everything(setup: Setup): Promise<unknown> {
  const tables = Object.keys(SCHEMA.tables).filter((table) => table !== "attachments" && table !== "hosts");
  return onRows(setup, (rows) =>
    rows.transact(tables, "read", async (tx) => await Promise.all(tables.map((table) => tx.range(table, {})))),
  );
}

/** The ids of the inputs of each run, in the order of the runs. */
export function runsOf(session: SessionRuntime): string[][] {
  const runs: string[][] = [];
  session.onTurn(async ({ inputs }) => void runs.push(inputs.map(({ inputId }) => inputId)));
  return runs;
}

export const idsOf = (told: readonly { code: string; inputId?: string }[], code: string) =>
  told.filter((event) => event.code === code).map(({ inputId }) => inputId);
