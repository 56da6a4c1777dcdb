import { manualClock } from "../../src/adapters/clock-manual.js";
import { bytesOf, fullInput, input, receipt, snapshot } from "../../src/conformance/session/runtime.fixture.js";
import { SUBMISSIONS } from "../../src/conformance/session/session.fixture.js";
import type { JsonValue } from "../../src/domain/json.js";
import type { ProcessLease } from "../../src/domain/lease.js";
import { mintLifecycleCommit } from "../../src/domain/session/lifecycle-commit.js";
import { RUNTIME_STATES } from "../../src/domain/session/session.js";
import type { AgentRegistration } from "../../src/kernel/host/agents.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import type { SessionRuntime } from "../../src/kernel/session/session.js";
import type { DevicePoll } from "../../src/kernel/vault/oauth-flows.js";
import { createKernel } from "../../src/platform.js";
import type { KernelStorage } from "../../src/ports/storage.js";
import { SCHEMA, TABLES } from "../../src/stores/schema.js";
import { answerOf, canonical } from "./canonical.js";
import { type Dice, dice } from "./dice.js";

/** The answers and the rows of one random history of commands on a storage. */
export interface History {
  /** The name and the outcome of each command. */
  readonly answers: readonly string[];
  /** The stored rows at the end: each row of each table. */
  readonly rows: readonly string[];
}

interface Host {
  readonly hostId: string;
  kernel: Kernel;
  sessions: SessionRuntime[];
  agents: AgentRegistration[];
  polls: DevicePoll[];
}

interface World extends Dice {
  readonly hosts: readonly Host[];
  readonly leases: ProcessLease[];
  readonly states: string[];
  readonly wakes: [processId: string, sequence: number][];
  readonly clock: ReturnType<typeof manualClock>;
  exported: { sessionId: string; lines: string[] };
  /** Ends a kernel and opens another one as the same host. */
  reboot(host: Host): Promise<void>;
}

type Command = (world: World, host: Host) => unknown;

/** These ids sort differently in UTF-16 order, in a locale's order, and by code point. */
const IDS = ["a", "B", "b", "10", "9", "\u00e4", "\u{1f600}", "\uffff", "a/b", "a\u0000", "p", "~"];
const OFTEN = ["a", "B", "\u{1f600}", "\uffff"];
const SESSIONS = ["s", "S", "\u{1f600}", "s/x", "root"];
const BAD_IDS: unknown[] = ["", " ", "x".repeat(513), "\ud800", 7, undefined, null, "rt:session:s"];
const KEYS = ["k", "K", "\uffff", "\u{1f600}"];
const VALUES: JsonValue[] = [
  null,
  true,
  0,
  -1.5,
  5e-324,
  "",
  "x",
  "\u0000\u2028\u{1f600}",
  [],
  {},
  [[], { "": [null] }],
  { b: 1, a: [-0] },
];
const EVENT_TYPES = [
  { name: "note" },
  {
    name: "wake",
    semantics: {
      wake: { input: { template: "{x}", fields: { x: "payload" as const } }, dedupeKey: { selector: "payload" as const } },
    },
  },
  { name: "end", semantics: { terminal: { state: "completed" as const } } },
  {
    name: "break",
    semantics: { terminal: { state: "failed" as const, awaitOutput: { pointer: "/out" } } },
  },
];
const WITH_SCHEMA = { name: "typed", payloadSchema: { type: "object", required: ["n"], properties: { n: { type: "integer" } } } };
const TARGETS = [
  { realm: "r", binding: "b" },
  { realm: "r", binding: "b", profile: "p" },
];

const mostly = <T>(w: World, good: () => T, bad: readonly unknown[]): T => (w.chance(1, 40) ? (w.pick(bad) as T) : good());
/** A few ids are drawn again and again. */
const id = (w: World): string => mostly(w, () => (w.chance(3, 4) ? w.pick(OFTEN) : w.pick(IDS)), BAD_IDS);
const sessionId = (w: World): string => mostly(w, () => w.pick(SESSIONS), [...BAD_IDS, "s/frame:f"]);
const scope = (w: World) => {
  const of = { sessionId: sessionId(w) };
  return w.chance(1, 3) ? { ...of, agentFrameId: w.pick(["f", "g"]) } : of;
};
const value = (w: World) => mostly(w, () => w.pick(VALUES), [undefined, Number.NaN, { a: 1n }, new Date(0), "\ud800"]) as never;
const count = (w: World): number => mostly(w, () => w.pick([0, 1, 2, 3, 100]), [-1, 0.5, 2 ** 53, "1", Number.NaN]);
const maybe = <K extends string, T>(w: World, name: K, make: () => T): Partial<Record<K, T>> =>
  (w.chance(1, 2) ? { [name]: make() } : {}) as Partial<Record<K, T>>;
const lease = (w: World): ProcessLease => w.leases[w.below(w.leases.length)] ?? ({ processId: "p" } as ProcessLease);
const fence = (w: World) => (w.chance(1, 4) ? { lease: lease(w) } : {});
const runtimeId = (w: World) => (w.chance(2, 3) ? `rt:session:${w.pick(SESSIONS)}` : w.pick(["rt", "RT"]));

const output = (w: World) =>
  w.pick([
    () => ({ type: "success", value: value(w) }),
    () => ({ type: "failure", class: "execution", code: "broken", message: w.pick(["m", "n"]) }),
    () => ({ type: "cancelled", message: w.pick(["m", "n"]), raw: value(w) }),
    () => ({ type: "success" }),
  ])() as never;

const processInput = (w: World) =>
  w.pick([
    () => ({ type: "task", name: w.pick(["job", "work"]), ...maybe(w, "args", () => value(w)) }),
    () => ({ type: "tool_call", call: { callId: "c", toolName: "t", args: value(w) } }),
    () => ({ type: "session_turn", sessionId: sessionId(w), input: value(w) }),
    () => ({ type: "external", metadata: value(w) }),
  ])() as never;

const registration = (w: World) => ({
  id: id(w),
  input: w.chance(4, 5) ? ({ type: "task", name: "job" } as never) : processInput(w),
  eventTypes: mostly(w, () => [...EVENT_TYPES, WITH_SCHEMA], [[], [EVENT_TYPES[0], EVENT_TYPES[0]], "note"]) as never,
  ...(w.chance(1, 4) && {
    provenance: {
      ownerScope: scope(w),
      hostProfileId: "h",
      ...maybe(w, "causedBy", () => ({ type: "process" as const, processId: w.pick(IDS) })),
    },
  }),
});

const append = (w: World) => ({
  eventType: w.pick(["note", "note", "note", "wake", "wake", "typed", "end", "break", "process.cancel_requested", "undeclared"]),
  payload: w.chance(1, 2) ? ({ n: 1, out: { type: "failure", class: "c", code: "c", message: "m" } } as never) : value(w),
  ...maybe(w, "replayKey", () => w.pick(KEYS)),
  ...(w.chance(2, 3) && { wakeTarget: scope(w) }),
  ...fence(w),
});

/** Commands that may be under way together: each holds at least one row, and none waits for a read. */
const WRITES = {
  registerProcess: (w, { kernel }) => kernel.processes.registerProcess(registration(w)),
  setExternalRef: (w, { kernel }) =>
    kernel.processes.setExternalRef(id(w), { backend: "b", id: id(w), ...maybe(w, "metadata", () => value(w)) }),
  grantHandle: (w, { kernel }) =>
    kernel.processes.grantHandle(
      scope(w),
      id(w),
      maybe(w, "label", () => w.pick(["x", ""])),
    ),
  revokeHandle: (w, { kernel }) => kernel.processes.revokeHandle(scope(w), id(w)),
  transferHandleGrants: (w, { kernel }) => kernel.processes.transferHandleGrants(scope(w), scope(w), [id(w)]),
  deleteSessionProcessState: async (w, { kernel }) => w.chance(1, 3) && kernel.processes.deleteSessionProcessState(sessionId(w)),
  appendEvent: async (w, { kernel }) => {
    const processId = id(w);
    const result = await kernel.processes.appendEvent(processId, append(w));
    if (result.wakeDelivery) w.wakes.push([processId, result.event.sequence]);
    return result;
  },
  ackWake: (w, { kernel }) => {
    const [processId, sequence] = w.wakes[w.below(w.wakes.length)] ?? [id(w), count(w)];
    return kernel.processes.ackWake(processId, sequence);
  },
  completeProcess: (w, { kernel }) => kernel.processes.completeProcess(id(w), output(w), fence(w)),
  claimProcessLease: async (w, { kernel }) => {
    const ttlMs = mostly(w, () => w.pick([0, 1, 1_000, 60_000]), [-1, 1e16, "1"]);
    const made = await kernel.processes.claimProcessLease(id(w), w.pick(["me", "you"]), ttlMs);
    w.leases.push(made);
    return made;
  },
  renewProcessLease: (w, { kernel }) => kernel.processes.renewProcessLease(lease(w), w.pick([0, 1_000, 60_000])),
  completeProcessLease: (w, { kernel }) => kernel.processes.completeProcessLease(lease(w)),
  start: async (w, { kernel }) => {
    const { id: processId, ...request } = registration(w);
    const grant = w.chance(1, 2) ? { grant: { scope: scope(w) } } : {};
    return (await kernel.start({ ...request, ...(w.chance(1, 2) && { id: processId }), ...grant })).id;
  },
  cancel: async (w, { kernel }) => await kernel.process(id(w)).cancel(...(w.chance(1, 2) ? [w.pick(["why", ""])] : [])),
  registerAgent: (w, { kernel }) => kernel.lifecycle.register(id(w)),
  heartbeat: (w, { kernel }) => kernel.lifecycle.heartbeat(id(w)),
  deregister: (w, { kernel }) => kernel.lifecycle.deregister(id(w)),
  commitSessionSnapshot: (w, { kernel }) =>
    kernel.runtime.commitSessionSnapshot(
      runtimeId(w),
      w.chance(1, 5)
        ? { sessionSnapshot: bytesOf(w.pick(["", "{}", '{"id":1}', "[]"])) }
        : snapshot({ id: w.pick(SESSIONS), messages: [{ role: "user", content: w.pick(VALUES) }] }),
    ),
  atomicApply: (w, { kernel }) => {
    const of = w.pick(SESSIONS);
    return kernel.runtime.atomicApply(
      runtimeId(w),
      w.chance(1, 2) ? snapshot({ id: of, messages: [] }) : undefined,
      receipt({ runId: w.pick(["run", "RUN"]), sequence: mostly(w, () => w.below(3), [-1, 0.5]) }),
      w.chance(1, 2) ? [fullInput(id(w)), input(id(w), { idempotencyKey: w.pick(KEYS) })] : [],
      w.chance(1, 3) ? w.pick(SESSIONS) : undefined,
      fence(w),
    );
  },
  persistInputState: (w, { kernel }) =>
    kernel.runtime.persistInputState(
      runtimeId(w),
      w.chance(1, 2) ? fullInput(id(w)) : input(id(w), { idempotencyKey: w.pick(KEYS) }),
      fence(w),
    ),
  commitMachineLifecycle: (w, { kernel }) =>
    kernel.runtime.commitMachineLifecycle(
      w.pick(["rt", "RT"]),
      mintLifecycleCommit(w.pick(RUNTIME_STATES)),
      w.chance(1, 2) ? [input(id(w))] : [],
      fence(w),
    ),
  submit: (w, { sessions }) =>
    sessions[w.below(sessions.length)]?.submit({
      ...SUBMISSIONS[w.pick(Object.keys(SUBMISSIONS) as (keyof typeof SUBMISSIONS)[])],
      ...(w.chance(1, 2) && { inputId: id(w) }),
      ...(w.chance(1, 3) && { idempotencyKey: w.pick(KEYS) }),
      ...(w.chance(1, 3) && { supersessionKey: w.pick(KEYS) }),
      ...(w.chance(1, 4) && { durability: w.pick(["durable", "ephemeral", "derived"] as const) }),
      ...(w.chance(1, 4) && { handlingMode: w.pick(["queue", "steer"] as const) }),
      ...(w.chance(1, 6) && {
        blocks: [
          { type: "image", data: Uint8Array.of(w.below(3), 2, 3) },
          { type: "text", text: "t" },
        ],
      }),
      ...(w.chance(1, 20) && { extra: value(w) }),
    } as never),
  cancelInput: (w, { sessions }) => sessions[w.below(sessions.length)]?.cancel(id(w)),
} satisfies Record<string, Command>;

const READS = {
  getProcess: (w, { kernel }) => kernel.processes.getProcess(id(w)),
  list: (w, { kernel }) =>
    kernel.processes.list({
      ...maybe(w, "state", () => w.pick(["running", "completed", "failed", "cancelled"] as const)),
      ...maybe(w, "sessionId", () => sessionId(w)),
      ...maybe(w, "after", () => id(w)),
      ...maybe(w, "limit", () => count(w)),
    }),
  listNonTerminal: (w, { kernel }) => kernel.processes.listNonTerminal(maybe(w, "after", () => id(w))),
  listHandleGrants: (w, { kernel }) => kernel.processes.listHandleGrants(scope(w)),
  listLiveHandleGrants: (w, { kernel }) => kernel.processes.listLiveHandleGrants(scope(w)),
  hasHandleGrant: (w, { kernel }) => kernel.processes.hasHandleGrant(scope(w), id(w)),
  handleGrantsForProcess: (w, { kernel }) => kernel.processes.handleGrantsForProcess(id(w)),
  eventsAfter: (w, { kernel }) =>
    kernel.processes.eventsAfter(
      id(w),
      count(w),
      maybe(w, "limit", () => count(w)),
    ),
  wakeEventsAfter: (w, { kernel }) => kernel.processes.wakeEventsAfter(id(w), count(w)),
  getLease: (w, { kernel }) => kernel.processes.getLease(id(w)),
  record: async (w, { kernel }) => await kernel.process(id(w)).record(),
  // A wait that does not end by itself does not begin: its signal is already aborted.
  awaitProcess: async (w, { kernel }) => await kernel.processes.awaitProcess(...(await waitFor(w, kernel))),
  result: async (w, { kernel }) => {
    const [processId, options] = await waitFor(w, kernel);
    return await kernel.process(processId).outcome(options);
  },
  events: async (w, { kernel }) => {
    const [processId, options] = await waitFor(w, kernel);
    const found = [];
    for await (const event of kernel.process(processId).events(options)) found.push(event);
    return found;
  },
  waitEventAfter: async (w, { kernel }) => {
    const [processId, options] = await waitFor(w, kernel);
    return await kernel.processes.waitEventAfter(processId, w.pick(["note", "wake", "end"]), count(w), options);
  },
  getAgent: (w, { kernel }) => kernel.lifecycle.get(id(w)),
  listAgents: (w, { kernel }) => kernel.lifecycle.list(maybe(w, "status", () => w.pick(["online", "offline"] as const))),
  hosts: (_, { kernel }) => kernel.hosts(),
  touch: (w, { kernel }) => kernel.liveness.touch(id(w), count(w)),
  isAliveBatch: (w, { kernel }) => kernel.liveness.isAliveBatch([id(w), id(w)]),
  loadInputStates: (w, { kernel }) => kernel.runtime.loadInputStates(runtimeId(w)),
  loadInputState: (w, { kernel }) => kernel.runtime.loadInputState(runtimeId(w), id(w)),
  loadBoundaryReceipt: (w, { kernel }) => kernel.runtime.loadBoundaryReceipt(runtimeId(w), w.pick(["run", "RUN"]), count(w)),
  loadSessionSnapshot: (w, { kernel }) => kernel.runtime.loadSessionSnapshot(runtimeId(w)),
  loadRuntimeState: (w, { kernel }) => kernel.runtime.loadRuntimeState(runtimeId(w)),
  loadOpsLifecycle: (w, { kernel }) => kernel.runtime.loadOpsLifecycle(runtimeId(w)),
  loadAuthOAuthFlowSnapshot: (_, { kernel }) => kernel.runtime.loadAuthOAuthFlowSnapshot(),
  sessionList: (_, { kernel }) => kernel.sessions.list(),
  archivedMessages: (w, { kernel }) =>
    kernel.sessions.messages(
      sessionId(w),
      maybe(w, "after", () => count(w)),
    ),
  messages: (w, { sessions }) => sessions[w.below(sessions.length)]?.messages(maybe(w, "after", () => count(w))),
  blob: (w, { sessions }) => sessions[w.below(sessions.length)]?.blob(id(w)),
  listOps: (w, { sessions }) => sessions[w.below(sessions.length)]?.ops.list(),
  getOp: (w, { sessions }) => sessions[w.below(sessions.length)]?.ops.get(id(w)),
  listSince: (w, { sessions }) => sessions[w.below(sessions.length)]?.ops.listSince(count(w)),
  secretGet: (w, { kernel }) => kernel.secrets.get(id(w)),
} satisfies Record<string, Command>;

/** Commands that read before they write, or that belong to one tab alone. */
const TURNS = {
  openSession: async (w, host) => {
    const session = await host.kernel.session(sessionId(w), {
      ...maybe(w, "quarantine", () => w.chance(1, 2)),
      ops: { maxCompleted: 2, maxConcurrent: 2 },
    });
    host.sessions.push(session);
    const { runtimeId, recovery, quarantined } = session;
    return { runtimeId, recovery, quarantined };
  },
  closeSession: async (w, { sessions }) => {
    const [session] = sessions.splice(w.below(sessions.length), 1);
    await session?.[Symbol.asyncDispose]();
    return await session?.messages();
  },
  retire: (w, { sessions }) => sessions[w.below(sessions.length)]?.retire(),
  reset: (w, { sessions }) => sessions[w.below(sessions.length)]?.reset(),
  recycle: (w, { sessions }) => sessions[w.below(sessions.length)]?.recycle(),
  shutdown: (w, { sessions }) => w.chance(1, 3) && sessions[w.below(sessions.length)]?.shutdown(),
  destroy: (w, { sessions }) => w.chance(1, 3) && sessions[w.below(sessions.length)]?.destroy(),
  registerOp: (w, { sessions }) =>
    sessions[w.below(sessions.length)]?.ops.register({
      id: id(w),
      kind: w.pick(["mob_member_child", "background_tool_op"]),
      displayName: "d",
    }),
  moveOp: (w, { sessions }) => {
    const ops = sessions[w.below(sessions.length)]?.ops;
    const of = id(w);
    return w.pick([
      () => ops?.provisioningSucceeded(of),
      () => ops?.provisioningFailed(of, "e"),
      () => ops?.abortProvisioning(of),
      () => ops?.peerReady(of, value(w)),
      () => ops?.reportProgress(of, { message: "m", percent: count(w) }),
      () => ops?.requestRetire(of),
      () => ops?.markRetired(of),
    ])();
  },
  endOp: (w, { sessions }) => {
    const ops = sessions[w.below(sessions.length)]?.ops;
    const of = id(w);
    return w.pick([() => ops?.complete(of, value(w)), () => ops?.fail(of, "e"), () => ops?.cancel(of, "r")])();
  },
  terminateOwner: (w, { sessions }) => sessions[w.below(sessions.length)]?.ops.terminateOwner("over"),
  collectCompleted: (w, { sessions }) => sessions[w.below(sessions.length)]?.ops.collectCompleted(),
  copyOps: async (w, { kernel }) => {
    const found = await Promise.all(SESSIONS.map((of) => kernel.runtime.loadOpsLifecycle(`rt:session:${of}`)));
    const stored = found.find((ops) => ops !== undefined);
    return await kernel.runtime.persistOpsLifecycle(w.pick(["rt", "RT"]), stored as never, fence(w));
  },
  persistFlows: (w, { kernel }) => w.chance(1, 10) && kernel.runtime.persistAuthOAuthFlowSnapshot(bytesOf(w.pick(["", "{}"]))),
  updateFlows: (w, { kernel }) =>
    w.chance(1, 4) && kernel.runtime.updateAuthOAuthFlowSnapshot((current) => current ?? new Uint8Array()),
  beginBrowser: async (w, { kernel }) => {
    const flow = { target: w.pick(TARGETS), provider: w.pick(["x", "y"]), redirectUri: "u", pkceVerifier: id(w) };
    const made = await kernel.auth.beginBrowser(flow);
    w.states.push(made.state);
    return made;
  },
  browser: (w, { kernel }) => {
    const state = w.states[w.below(w.states.length)] ?? "none";
    const flow = { state, target: w.pick(TARGETS), provider: w.pick(["x", "y"]), redirectUri: "u" };
    return w.chance(1, 2) ? kernel.auth.verifyBrowser(flow) : kernel.auth.consumeBrowser(flow);
  },
  admitDevice: (w, { kernel }) =>
    kernel.auth.admitDevice({ target: w.pick(TARGETS), provider: "x", deviceCode: w.pick(KEYS), expiresInMs: 60_000 }),
  pollDevice: async (w, host) => {
    host.polls.push(await host.kernel.auth.pollDevice({ target: w.pick(TARGETS), provider: "x", deviceCode: w.pick(KEYS) }));
  },
  endPoll: async (w, { polls }) => {
    const [poll] = polls.splice(w.below(polls.length), 1);
    return w.chance(1, 2) ? await poll?.consume() : await poll?.finish();
  },
  release: (w, { kernel }) => w.chance(1, 3) && kernel.auth.release(w.pick(TARGETS)),
  secretPut: (w, { kernel }) => kernel.secrets.put(id(w), w.pick(["", "text", "\u{1f600}", "\ufeff", "\ud800"])),
  secretDelete: (w, { kernel }) => kernel.secrets.delete(id(w)),
  agent: async (w, host) => {
    const made = await host.kernel.agent(id(w));
    host.agents.push(made);
    return { agentId: made.agentId, over: made.signal.aborted };
  },
  leaveAgent: async (w, { agents }) => {
    const [agent] = agents.splice(w.below(agents.length), 1);
    await agent?.[Symbol.asyncDispose]();
    return agent?.signal.aborted;
  },
  exportSession: async (w, { kernel }) => {
    const lines: string[] = [];
    const sessionId = w.pick(SESSIONS);
    for await (const line of kernel.sessions.export(sessionId)) lines.push(line);
    w.exported = { sessionId, lines };
    return lines;
  },
  importSession: async (w, { kernel }) => {
    const { sessionId, lines } = w.exported;
    if (w.chance(2, 3)) await kernel.sessions.delete(sessionId);
    return await kernel.sessions.import(w.chance(1, 5) ? lines.slice(1) : lines);
  },
  deleteSession: (w, { kernel }) => w.chance(1, 2) && kernel.sessions.delete(sessionId(w)),
  advance: (w) => w.clock.advance(w.pick([1, 1_000, 1_000, 59_999, 120_000])),
  reboot: (w, host) => w.chance(1, 4) && w.reboot(host),
} satisfies Record<string, Command>;

const COMMANDS: Readonly<Record<string, Command>> = { ...WRITES, ...READS, ...TURNS };
export const COMMAND_NAMES: readonly string[] = Object.keys(COMMANDS);

/** Half of all drawn commands write rows that the others read. */
const DRAWN: readonly string[] = [
  ...COMMAND_NAMES,
  ...Object.keys(WRITES),
  ...["registerProcess", "appendEvent", "appendEvent", "claimProcessLease", "openSession", "submit", "registerOp"].flatMap(
    (name) => [name, name, name],
  ),
  "beginBrowser",
  "endOp",
  "awaitProcess",
  "waitEventAfter",
  "events",
];

async function waitFor(w: World, kernel: Kernel): Promise<[string, { signal?: AbortSignal }]> {
  const processId = id(w);
  const record = await kernel.processes.getProcess(processId);
  return [processId, record && record.status.state !== "running" ? {} : { signal: AbortSignal.abort("not now") }];
}

/** Two hosts over one storage take turns, or one runs several commands at once; all ids and times follow from the seed. */
export async function runHistory(storage: KernelStorage, seed: number, steps: number): Promise<History> {
  const drawn = dice(seed);
  const chance = dice(~seed);
  const clock = manualClock();
  const name = `history-${seed}`;
  const open = async (hostId: string): Promise<Kernel> => {
    const options = { name, storage, hostId, clock, random: chance.bytes, loop: "off", channel: false, locks: false } as const;
    const kernel = await createKernel(options);
    // The validator is loaded with the first schema: a command that waited for it would come after the others of its burst.
    await kernel.processes.registerProcess({ id: "first", input: { type: "task", name: "job" }, eventTypes: [WITH_SCHEMA] });
    return kernel;
  };
  const hosts: Host[] = [];
  for (const hostId of ["left", "right"]) {
    hosts.push({ hostId, kernel: await open(hostId), sessions: [], agents: [], polls: [] });
  }
  const world: World = {
    ...drawn,
    hosts,
    clock,
    leases: [],
    states: [],
    wakes: [],
    exported: { sessionId: "s", lines: [] },
    async reboot(host) {
      await host.kernel.close();
      Object.assign(host, { kernel: await open(host.hostId), sessions: [], agents: [], polls: [] });
    },
  };
  const answers: string[] = [];
  try {
    for (let step = 0; step < steps; step++) {
      const host = world.pick(hosts);
      const isBurst = world.chance(1, 8);
      const names = isBurst
        ? Array.from({ length: 2 + world.below(6) }, () => world.pick(Object.keys(WRITES)))
        : [world.pick(DRAWN)];
      const calls = names.map((command) => answerOf(() => (COMMANDS[command] as Command)(world, host)));
      for (const [at, answer] of (await Promise.all(calls)).entries()) answers.push(`${names[at]} -> ${answer}`);
    }
    await clock.advance(0);
    return { answers, rows: await rowsOf(storage, name) };
  } finally {
    await Promise.all(hosts.map(({ kernel }) => kernel.close()));
  }
}

/** Sealed data differs each time, and the browser keeps its keys to itself: of these rows only the heads are compared. */
async function rowsOf(storage: KernelStorage, name: string): Promise<string[]> {
  const opening = { name, schema: SCHEMA, durability: "strict", newDatabaseId: "none", onState: () => {} } as const;
  const rows = await storage.open(opening);
  try {
    const tables = Object.keys(TABLES).filter((table) => table !== "sealingKeys");
    const found = await rows.transact(tables, "read", (tx) => Promise.all(tables.map((table) => tx.range(table, {}))));
    return found.flatMap((list, at) =>
      list.map((row) => {
        const { iv: _, sealed: __, plain: ___, ...head } = row;
        return `${tables[at]} ${canonical(tables[at] === "sealed" ? head : row)}`;
      }),
    );
  } finally {
    await rows.close();
  }
}

/** The first difference of two histories. */
export function difference(one: History, other: History): string | undefined {
  for (const part of ["answers", "rows"] as const) {
    const most = Math.max(one[part].length, other[part].length);
    for (let at = 0; at < most; at++) {
      if (one[part][at] !== other[part][at]) return `${part} ${at}:\n${one[part][at]}\n${other[part][at]}`;
    }
  }
  return undefined;
}
