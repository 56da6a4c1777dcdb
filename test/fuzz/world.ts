import { manualClock } from "../../src/adapters/clock-manual.js";
import { bytesOf, fullInput, input, receipt, snapshot } from "../../src/conformance/session/runtime.fixture.js";
import type { ProcessLease } from "../../src/domain/lease.js";
import type { PersistedOpsSnapshot } from "../../src/domain/session/ops.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import type { KernelOptions } from "../../src/kernel/options.js";
import type { ProcessContext } from "../../src/kernel/process/context/context.js";
import type { SessionRuntime } from "../../src/kernel/session/session.js";
import type { Turn } from "../../src/kernel/session/turn.js";
import { memoryStorage } from "../../src/memory.js";
import { createKernel } from "../../src/platform.js";
import type { KernelStorage, Row } from "../../src/ports/storage.js";
import { SCHEMA, TABLES, type TableName } from "../../src/stores/schema.js";
import { dice } from "../differential/dice.js";
import { type Probe, probe } from "../stores/probe-storage.js";

/** A kernel on a database with one row of everything. */
export interface World {
  readonly kernel: Kernel;
  readonly clock: ReturnType<typeof manualClock>;
  readonly probed: Probe;
  readonly session: SessionRuntime;
  /** The live lease of process "p". */
  readonly lease: ProcessLease;
  readonly ops: PersistedOpsSnapshot;
  /** The state of a browser login under way. */
  readonly state: string;
  /** The exported lines of session "s". */
  readonly lines: readonly string[];
  /** Whether its kernel was closed. */
  isOver(): boolean;
}

export const TARGET = { realm: "r", binding: "b" };
export const NOTES = [
  { name: "note" },
  { name: "wake", semantics: { wake: { input: "payload" as const } } },
  { name: "typed", payloadSchema: { type: "object" } },
];

export function openOn(storage: KernelStorage, more: Partial<KernelOptions> = {}): Promise<Kernel> {
  return createKernel({
    name: "fuzz",
    hostId: "host",
    storage,
    clock: manualClock(),
    random: dice(1).bytes,
    loop: "off",
    channel: false,
    locks: false,
    ...more,
  });
}

/** Each id exists twice for its kind: "p" and "q", "s" and "z". */
export async function buildWorld(more: Partial<KernelOptions> = {}): Promise<World> {
  const probed = probe(memoryStorage());
  const clock = manualClock();
  const kernel = await openOn(probed.storage, { clock, ...more });
  const { processes, runtime, auth } = kernel;
  for (const id of ["p", "q"]) {
    await processes.registerProcess({ id, input: { type: "task", name: "job" }, eventTypes: NOTES });
    const scope = { sessionId: id === "p" ? "s" : "z" };
    await processes.grantHandle(scope, id, { label: id });
    await processes.appendEvent(id, { eventType: "note", payload: 1, replayKey: "k" });
    await processes.appendEvent(id, { eventType: "wake", payload: "w", wakeTarget: scope });
  }
  const lease = await processes.claimProcessLease("p", "me", 60_000);
  await processes.claimProcessLease("q", "me", 60_000);
  await processes.registerProcess({ id: "over", input: { type: "external", metadata: null } });
  await processes.completeProcess("over", { type: "success", value: 1 });
  for (const agentId of ["p", "q"]) await kernel.lifecycle.register(agentId);
  for (const id of ["s", "z"]) {
    const opened = await kernel.session(id);
    await opened.submit({ inputType: "prompt", text: "hello", inputId: "a", idempotencyKey: "k" });
    await opened.submit({
      inputType: "prompt",
      text: "see",
      inputId: "b",
      blocks: [{ type: "image", data: Uint8Array.of(1, 2) }],
    });
    await opened.ops.register({ id: "done", kind: "background_tool_op", displayName: "d" });
    await opened.ops.provisioningFailed("done", "e");
  }
  for (const id of ["rt", "rz"]) {
    await runtime.atomicApply(id, snapshot({ id, messages: [] }), receipt(), [fullInput("a"), input("b")]);
  }
  for (const name of ["p", "q"]) await kernel.secrets.put(name, "secret");
  for (const id of ["p", "q"]) await kernel.schedules.put({ id, when: { everyMs: 3_600_000 }, start: { name: "job" } });
  const { state } = await auth.beginBrowser({ target: TARGET, provider: "x", redirectUri: "u", pkceVerifier: "v" });
  await auth.admitDevice({ target: TARGET, provider: "x", deviceCode: "c", expiresInMs: 60_000 });
  const session = await kernel.session("s");
  // The tab asks others on the channel which agents are alive, and knows nothing until the wait for answers ends.
  if (more.channel) await clock.advance(1_000);
  await session.ops.register({ id: "runs", kind: "mob_member_child", displayName: "d" });
  const lines: string[] = [];
  for await (const line of kernel.sessions.export("s")) lines.push(line);
  const ops = (await runtime.loadOpsLifecycle(session.runtimeId)) as PersistedOpsSnapshot;
  let over = false;
  const close = kernel.close;
  kernel.close = () => {
    over = true;
    return close();
  };
  return { kernel, clock, probed, session, lease, ops, state, lines, isOver: () => over };
}

/** The same world with a process and a turn under way. */
export interface BusyWorld extends World {
  readonly context: ProcessContext;
  readonly turn: Turn;
}

export async function buildBusyWorld(): Promise<BusyWorld> {
  const contexts: ProcessContext[] = [];
  const turns: Turn[] = [];
  const underway = () => new Promise<never>(() => {});
  const busy = (context: ProcessContext) => {
    contexts.push(context);
    return underway();
  };
  const world = await buildWorld({ loop: "inline", handlers: { busy } });
  await world.kernel.start({ id: "busy", input: { type: "task", name: "busy" }, eventTypes: NOTES });
  world.session.onTurn((turn) => {
    turns.push(turn);
    return underway();
  });
  while (contexts.length === 0 || turns.length === 0) await settled();
  return { ...world, context: contexts[0] as ProcessContext, turn: turns[0] as Turn };
}

/** Resolves when all work that needs no clock and no other party has gone on. */
export async function settled(rounds = 1): Promise<void> {
  for (let round = 0; round < rounds; round++) await new Promise((resolve) => setImmediate(resolve));
}

export const TABLE_NAMES = Object.keys(TABLES) as TableName[];

/** Runs work on the rows directly, beside the kernel. */
export async function onRows<T>(
  storage: KernelStorage,
  work: (rows: Awaited<ReturnType<KernelStorage["open"]>>) => Promise<T>,
): Promise<T> {
  const rows = await storage.open({
    name: "fuzz",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "none",
    onState: () => {},
  });
  try {
    return await work(rows);
  } finally {
    await rows.close();
  }
}

export function readTables(storage: KernelStorage): Promise<Record<TableName, Row[]>> {
  return onRows(storage, (rows) =>
    rows.transact(TABLE_NAMES, "read", async (tx) => {
      const found = await Promise.all(TABLE_NAMES.map((table) => tx.range(table, {})));
      return Object.fromEntries(TABLE_NAMES.map((table, at) => [table, found[at]])) as Record<TableName, Row[]>;
    }),
  );
}

export { bytesOf };
