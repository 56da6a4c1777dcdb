import { fullInput, input, receipt, snapshot } from "../../src/conformance/session/runtime.fixture.js";
import { mintLifecycleCommit } from "../../src/domain/session/lifecycle-commit.js";
import type { LifecycleStore } from "../../src/kernel/host/lifecycle.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import type { KernelOptions } from "../../src/kernel/options.js";
import type { ProcessContext } from "../../src/kernel/process/context/context.js";
import { typed } from "../../src/kernel/process/definition/define.js";
import type { ProcessHandle } from "../../src/kernel/process/handle.js";
import type { ProcessRegistry } from "../../src/kernel/process/registry.js";
import type { KernelSchedules } from "../../src/kernel/process/schedules/kernel-schedules.js";
import type { RuntimeStore } from "../../src/kernel/runtime-store.js";
import type { KernelSessions } from "../../src/kernel/session/archive.js";
import type { OpsRegistry } from "../../src/kernel/session/operations.js";
import type { SessionRuntime } from "../../src/kernel/session/session.js";
import type { Turn } from "../../src/kernel/session/turn.js";
import type { OAuthFlows } from "../../src/kernel/vault/oauth-flows.js";
import type { Secrets } from "../../src/kernel/vault/secrets.js";
import { createKernel } from "../../src/platform.js";
import type { LivenessStore } from "../../src/stores/host/liveness.js";
import { type BusyWorld, bytesOf, NOTES, TARGET, type World } from "./world.js";

/** A public method with valid arguments. */
export interface Method {
  good(world: World): unknown[];
  call(world: World, args: unknown[]): unknown;
  /** The method answers at once, and so it may throw at once. */
  isSync?: true;
  /** Errors of the caller's own code come out of the method unchanged. */
  passesOn?: true;
}

type Good = (world: World) => unknown[];
/** biome-ignore lint/suspicious/noExplicitAny: whatever is handed over is wrong. */
type AnyFunction = (...args: any[]) => unknown;

function methodsOf<T extends object>(
  target: (world: World) => T,
  goods: Partial<Record<keyof T, Good>>,
  more: Partial<Record<keyof T, Partial<Method>>> = {},
): Record<string, Method> {
  return Object.fromEntries(
    Object.entries(goods).map(([name, good]): [string, Method] => [
      name,
      {
        good: good as Good,
        call: (world, args) => {
          const of = target(world) as Record<string, AnyFunction>;
          return (of[name] as AnyFunction)(...args);
        },
        ...more[name as keyof T],
      },
    ]),
  );
}

const scope = { sessionId: "s" };
const definition = () => ({
  name: "defined",
  input: typed<unknown>(),
  events: { noted: typed<unknown>() },
  signals: {},
  run: async () => null,
});
const registration = () => ({
  id: "new",
  input: { type: "task", name: "job", args: { a: [1] } },
  eventTypes: [
    {
      name: "typed",
      payloadSchema: { type: "object", properties: { a: { type: "string" } } },
      semantics: {
        terminal: { state: "failed", awaitOutput: { pointer: "/a" } },
        wake: {
          when: { present: "/a" },
          input: { template: "{x}", fields: { x: "payload", y: { const: [1] } } },
          dedupeKey: { selector: "payload" },
        },
      },
    },
  ],
  provenance: { ownerScope: { sessionId: "s", agentFrameId: "f" }, hostProfileId: "h", causedBy: { type: "process", id: "p" } },
});
const runtimeId = "rt:session:s";
const signal = () => ({ signal: AbortSignal.abort("done") });
const flow = (world: World) => ({ state: world.state, target: { ...TARGET }, provider: "x", redirectUri: "u" });
const device = () => ({ target: { ...TARGET, profile: "p" }, provider: "x", deviceCode: "d" });
const fence = () => ({
  lease: {
    schemaVersion: 1,
    processId: "p",
    ownerId: "me",
    leaseToken: "t",
    fencingToken: 1,
    claimedAtMs: 0,
    expiresAtMs: 0,
  },
});

export const PROCESS_METHODS = methodsOf<ProcessRegistry>((w) => w.kernel.processes, {
  durabilityTier: () => [],
  registerProcess: () => [registration()],
  setExternalRef: () => ["p", { backend: "b", id: "1", metadata: { a: 1 } }],
  grantHandle: () => [{ sessionId: "s", agentFrameId: "f" }, "p", { kind: "k", label: "l" }],
  revokeHandle: () => [{ ...scope }, "p"],
  transferHandleGrants: () => [{ ...scope }, { sessionId: "t" }, ["p", "q"]],
  listHandleGrants: () => [{ ...scope }],
  listLiveHandleGrants: () => [{ ...scope }],
  hasHandleGrant: () => [{ ...scope }, "p"],
  handleGrantsForProcess: () => ["p"],
  deleteSessionProcessState: () => ["s"],
  appendEvent: ({ lease }) => [
    "p",
    { eventType: "wake", payload: { a: [1] }, replayKey: "new", wakeTarget: { sessionId: "s" }, lease: { ...lease } },
  ],
  eventsAfter: () => ["p", 0, { limit: 1 }],
  wakeEventsAfter: () => ["p", 0],
  waitEventAfter: () => ["p", "note", 9, signal()],
  awaitProcess: () => ["p", signal()],
  signal: () => ["p", "go", [1], { signalId: "new" }],
  completeProcess: ({ lease }) => [
    "p",
    { type: "failure", class: "c", code: "c", message: "m", raw: { a: 1 }, control: [1] },
    { lease: { ...lease } },
  ],
  getProcess: () => ["p"],
  list: () => [{ state: "running", sessionId: "root", after: "a", limit: 1 }],
  ackWake: () => ["p", 2],
  listNonTerminal: () => [{ after: "a", limit: 1 }],
  getLease: () => ["p"],
  claimProcessLease: () => ["p", "you", 1_000],
  renewProcessLease: ({ lease }) => [{ ...lease }, 1_000],
  completeProcessLease: ({ lease: { processId, leaseToken } }) => [{ processId, leaseToken }],
} satisfies Record<keyof ProcessRegistry, Good>);

export const RUNTIME_METHODS = methodsOf<RuntimeStore>(
  (w) => w.kernel.runtime,
  {
    commitSessionSnapshot: () => ["rt", snapshot({ id: "s", messages: [] })],
    atomicApply: () => ["rt", snapshot({ id: "s" }), receipt({ runId: "new" }), [fullInput("n"), input("b")], "s", fence()],
    loadInputStates: () => ["rt"],
    loadBoundaryReceipt: () => ["rt", "run", 0],
    loadSessionSnapshot: () => ["rt"],
    persistInputState: () => [
      "rt",
      fullInput("n", {
        terminalOutcome: { outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts: 3 } } },
        reconstructionSource: { sourceType: "coalescing", sourceInputIds: ["a"] },
        history: [{ timestampMs: 1, from: "queued", to: "staged", reason: "r" }],
      } as never),
      fence(),
    ],
    loadInputState: () => ["rt", "a"],
    loadRuntimeState: () => ["rt"],
    commitMachineLifecycle: () => ["rt", mintLifecycleCommit("idle"), [fullInput("n")], fence()],
    authAuthorityKey: () => [],
    persistAuthOAuthFlowSnapshot: () => [bytesOf("")],
    loadAuthOAuthFlowSnapshot: () => [],
    updateAuthOAuthFlowSnapshot: () => [(current: unknown) => current],
    persistOpsLifecycle: ({ ops }) => ["rt", structuredClone(ops), fence()],
    loadOpsLifecycle: () => [runtimeId],
  } satisfies Record<keyof RuntimeStore, Good>,
  { updateAuthOAuthFlowSnapshot: { passesOn: true } },
);

export const LIFECYCLE_METHODS = methodsOf<LifecycleStore>((w) => w.kernel.lifecycle, {
  register: () => ["p"],
  heartbeat: () => ["p"],
  deregister: () => ["p"],
  get: () => ["p"],
  list: () => [{ status: "online" }],
} satisfies Record<keyof LifecycleStore, Good>);

export const LIVENESS_METHODS = methodsOf<LivenessStore>((w) => w.kernel.liveness, {
  available: () => [],
  touch: () => ["p", 1_000],
  isAliveBatch: () => [["p", "q"]],
  forget: () => ["p"],
} satisfies Record<keyof LivenessStore, Good>);

export const KERNEL_METHODS = methodsOf<Pick<Kernel, "start" | "process" | "session" | "agent" | "hosts" | "status" | "on">>(
  (w) => w.kernel,
  {
    start: () => [{ ...registration(), grant: { scope: { ...scope }, descriptor: { kind: "k" } } }],
    process: () => ["p"],
    session: () => [
      "s",
      { quarantine: true, policy: () => undefined, silentIntents: ["a"], ops: { maxConcurrent: 9, maxCompleted: 9 } },
    ],
    agent: () => ["p"],
    hosts: () => [],
    status: () => [],
    on: () => ["fault", () => {}],
  },
  { process: { isSync: true }, on: { isSync: true } },
);

export const HANDLE_METHODS = methodsOf<Omit<ProcessHandle, "id" | "events">>((w) => w.kernel.process("p"), {
  record: () => [],
  result: () => [signal()],
  outcome: () => [signal()],
  signal: () => ["go", [1], { signalId: "new" }],
  cancel: () => ["why"],
  restart: () => [{ from: "step" }],
} satisfies Record<keyof Omit<ProcessHandle, "id" | "events">, Good>);
KERNEL_METHODS.startDefined = {
  good: () => [definition(), { id: "new", input: { a: [1] }, grant: { scope: { ...scope }, descriptor: { kind: "k" } } }],
  call: ({ kernel }, args) => kernel.start(...(args as [string])),
};
KERNEL_METHODS.startNamed = {
  good: () => ["job", { id: "new", input: { a: [1] }, provenance: { ownerScope: { ...scope }, hostProfileId: "h" } }],
  call: ({ kernel }, args) => kernel.start(...(args as [string])),
};
HANDLE_METHODS.events = {
  good: () => [{ after: 0, ...signal() }],
  call: (world, args) => drain(world.kernel.process("p").events(...(args as [])), 3),
};

export const SESSION_METHODS = methodsOf<Omit<SessionRuntime, keyof AsyncDisposable | "ops">>(
  (w) => w.session,
  {
    submit: () => [
      {
        inputType: "prompt",
        text: "t",
        inputId: "n",
        idempotencyKey: "n",
        durability: "durable",
        supersessionKey: "x",
        correlationId: "y",
        source: { type: "operator", a: 1 },
        visibility: { transcriptEligible: true, operatorEligible: false },
        handlingMode: "steer",
        blocks: [
          { type: "text", text: "t" },
          { type: "image", data: Uint8Array.of(1) },
        ],
        convention: { conventionType: "request", requestId: "r", intent: "i" },
      },
    ],
    cancel: () => ["a"],
    onTurn: () => [async () => {}],
    messages: () => [{ after: 0 }],
    blob: () => ["hash"],
    inputs: () => [{ live: false, after: "a", limit: 10 }],
    owner: () => [],
    outcome: () => ["a", signal()],
    subscribe: () => [() => {}],
    retire: () => [],
    reset: () => [],
    recycle: () => [],
    shutdown: () => [],
    destroy: () => [],
  },
  { onTurn: { isSync: true }, subscribe: { isSync: true } },
);

const runs = () => ["runs"];
export const OPS_METHODS = methodsOf<OpsRegistry>((w) => w.session.ops, {
  register: () => [
    {
      id: "n",
      kind: "mob_member_child",
      displayName: "d",
      ownerSessionId: "s",
      sourceLabel: "l",
      childSessionId: null,
      expectPeerChannel: true,
    },
  ],
  provisioningSucceeded: runs,
  provisioningFailed: () => ["runs", "e"],
  abortProvisioning: () => ["runs", "r"],
  peerReady: () => ["runs", { a: [1] }],
  reportProgress: () => ["runs", { message: "m", percent: 1 }],
  complete: () => ["runs", { a: [1] }],
  fail: () => ["runs", "e"],
  cancel: () => ["runs", "r"],
  requestRetire: runs,
  markRetired: runs,
  terminateOwner: () => ["r"],
  get: runs,
  list: () => [],
  watch: () => ["runs", signal()],
  waitAll: () => [["runs", "done"], signal()],
  listSince: () => [0],
  waitForAdvance: () => [9, signal()],
  collectCompleted: () => [],
} satisfies Record<keyof OpsRegistry, Good>);

export const AUTH_METHODS = methodsOf<OAuthFlows>((w) => w.kernel.auth, {
  beginBrowser: () => [{ target: { ...TARGET }, provider: "x", redirectUri: "u", pkceVerifier: "v" }],
  verifyBrowser: (world) => [flow(world)],
  consumeBrowser: (world) => [flow(world)],
  admitDevice: () => [{ ...device(), expiresInMs: 1_000 }],
  pollDevice: () => [{ ...device(), deviceCode: "c" }],
  release: () => [{ ...TARGET }],
} satisfies Record<keyof OAuthFlows, Good>);

export const SECRET_METHODS = methodsOf<Secrets>((w) => w.kernel.secrets, {
  put: () => ["n", "value"],
  get: () => ["p"],
  delete: () => ["p"],
} satisfies Record<keyof Secrets, Good>);

export const SCHEDULE_METHODS = methodsOf<KernelSchedules>((w) => w.kernel.schedules, {
  put: () => [
    {
      id: "new",
      when: { cron: "0 9 * * *", timeZone: "UTC" },
      start: {
        name: "job",
        input: { a: [1] },
        grant: { scope: { sessionId: "s", agentFrameId: "f" }, descriptor: { kind: "k", label: "l" } },
        provenance: { ownerScope: { sessionId: "s", agentFrameId: "f" }, hostProfileId: "h" },
      },
      catchUp: "all",
      overlap: "allow",
      untilMs: 8_000_000_000_000,
    },
  ],
  get: () => ["p"],
  list: () => [{ after: "a", limit: 1 }],
  pause: () => ["p"],
  resume: () => ["p"],
  trigger: () => ["p"],
  delete: () => ["q"],
} satisfies Record<keyof KernelSchedules, Good>);

export const ARCHIVE_METHODS = methodsOf<Omit<KernelSessions, "export">>(
  (w) => w.kernel.sessions,
  {
    list: () => [],
    messages: () => ["s", { after: 0 }],
    import: ({ lines }) => [lines.map((line) => line.replace('"sessionId":"s"', '"sessionId":"n"'))],
    delete: () => ["s"],
  } satisfies Record<keyof Omit<KernelSessions, "export">, Good>,
  { import: { passesOn: true } },
);
ARCHIVE_METHODS.export = {
  good: () => ["s", signal()],
  call: (world, args) => drain(world.kernel.sessions.export(...(args as [string])), 1_000),
};

type ContextMethods = Omit<ProcessContext, "record" | "input" | "args" | "attempt" | "signal">;
export const CONTEXT_METHODS = methodsOf<ContextMethods>(
  (w) => (w as BusyWorld).context,
  {
    step: () => ["one", () => 1, { retry: { attempts: 1 }, timeoutMs: 1_000 }],
    all: () => [[1], async () => 1, { concurrency: 1 }],
    emit: () => ["note", { a: 1 }, { replayKey: "r", wakeTarget: { ...scope } }],
    sleep: () => ["one", 60_000],
    sleepUntil: () => ["two", 0],
    waitForSignal: () => ["go", { key: "k", timeoutMs: 60_000 }],
    progress: () => [1, 2, "n"],
    start: () => ["child", { input: { type: "external", metadata: null } }],
    process: () => ["p"],
  } satisfies Record<keyof ContextMethods, Good>,
  { step: { passesOn: true }, all: { passesOn: true }, progress: { isSync: true }, process: { isSync: true } },
);

type TurnMethods = Pick<Turn, "step" | "append" | "checkpoint">;
export const TURN_METHODS = methodsOf<TurnMethods>(
  (w) => (w as BusyWorld).turn,
  {
    step: () => ["one", () => 1],
    append: () => [{ role: "assistant", content: "c", metadata: { a: [1] } }],
    checkpoint: () => [],
  } satisfies Record<keyof TurnMethods, Good>,
  { step: { passesOn: true }, append: { isSync: true } },
);

/** The options without the app's own code: what that code throws is the app's concern. */
const options = (): Required<Omit<KernelOptions, "worker" | "storage" | "clock" | "random" | "keys">> => ({
  name: "new",
  processes: [definition()],
  handlers: { job: async () => null, other: { run: async () => null } },
  turns: async () => {},
  concurrency: 1,
  attemptBudget: 1,
  turnRetry: { attempts: 3, backoffMs: 1, factor: 1, maxBackoffMs: 1, jitter: 0 },
  hostId: "h",
  loop: "off",
  log: false,
  durability: "strict",
  timings: { pollMs: 5_000 },
  limits: { idLength: 512 },
  retention: { offlineAgentsMs: 1_000_000, terminalProcessesMs: 1_000_000 },
  channel: false,
  locks: false,
  signal: new AbortController().signal,
});

export const OPENING: Record<string, Method> = {
  createKernel: {
    good: () => [options()],
    async call(_, [given]) {
      const kernel = await createKernel(given as KernelOptions);
      await kernel.close();
    },
  },
};

async function drain(list: AsyncIterable<unknown>, most: number): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const item of list) {
    found.push(item);
    if (found.length >= most) break;
  }
  return found;
}

/** The types of events for tests that register them. */
export { NOTES };
