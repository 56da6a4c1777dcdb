import { createCorridor } from "../corridor/run.js";
import { createWatch } from "../corridor/watch.js";
import { checkId } from "../domain/check.js";
import { asHoldfastError, HoldfastError } from "../domain/errors.js";
import { isRuntimeId } from "../domain/runtime-id.js";
import type { Timings } from "../domain/time.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { Change, ChannelFactory, FarewellNotes, Notices } from "../ports/notices.js";
import type { Seal } from "../ports/seal.js";
import type { Durability, KernelStorage, OpenStorage, StorageOpening } from "../ports/storage.js";
import type { LivenessStore } from "../stores/host/liveness.js";
import type { Retention } from "../stores/host/retention.js";
import { eventMethods } from "../stores/process/events.js";
import { handleMethods } from "../stores/process/handles.js";
import { leaseMethods } from "../stores/process/leases.js";
import { payloadSchemas } from "../stores/process/payload-schema.js";
import { processMethods } from "../stores/process/processes.js";
import { SCHEMA, TABLES } from "../stores/schema.js";
import type { OpsMethods } from "../stores/session/ops.js";
import type { RuntimeMethods } from "../stores/session/runtime.js";
import { createEmitter, type Emitter, type KernelEvents } from "./emitter.js";
import type { AgentRegistration, Agents } from "./host/agents.js";
import { createTenures } from "./host/held-lease.js";
import { heldLocks, isFree } from "./host/held-locks.js";
import { type HostWork, startHost } from "./host/host.js";
import type { HostRecord } from "./host/host-list.js";
import { channelName, createIds, gossipName, type Random } from "./host/ids.js";
import type { LifecycleStore } from "./host/lifecycle.js";
import type { Fault, Loop, LoopPage } from "./host/loop-contract.js";
import { createGossip, type Gossip } from "./host/presence.js";
import { type Lazy, mapLazy, methodsOf } from "./lazy.js";
import type { LazyParts } from "./lazy-parts.js";
import { checkOptions, type KernelOptions } from "./options.js";
import { type ProcessHandle, processHandle, waitMethods } from "./process/handle.js";
import type { ProcessRegistry } from "./process/registry.js";
import { createRunner } from "./process/runner.js";
import { type StartRequest, startProcess } from "./process/start.js";
import type { RuntimeStore } from "./runtime-store.js";
import type { KernelSessions } from "./session/archive.js";
import type { SessionOptions, SessionRuntime } from "./session/session.js";
import { createSessions } from "./session/sessions.js";
import { type KernelStatus, readStatus } from "./status.js";
import type { AuthSnapshotMethods } from "./vault/auth-snapshot.js";
import type { OAuthFlows } from "./vault/oauth-flows.js";
import type { Sealed } from "./vault/sealed.js";
import type { Secrets } from "./vault/secrets.js";

export interface Kernel extends AsyncDisposable {
  readonly name: string;
  readonly hostId: string;
  readonly processes: ProcessRegistry;
  readonly runtime: RuntimeStore;
  /** Who should be there, and whether they were heard of lately. */
  readonly lifecycle: LifecycleStore;
  /** Who was seen just now, from this tab's memory. The liveness id of an agent is its agent id. */
  readonly liveness: LivenessStore;
  /** Logins that are under way. */
  readonly auth: OAuthFlows;
  readonly secrets: Secrets;
  /** Registers and grants in one transaction, and looks for an owner at once. Idempotent by id. */
  start(request: StartRequest): Promise<ProcessHandle>;
  process(processId: string): ProcessHandle;
  /** Opens or makes a session; its runtime's state is stored when this resolves. */
  session(sessionId: string, options?: SessionOptions): Promise<SessionRuntime>;
  /**
   * Registers an agent, and this host beats for it until it is disposed of, which deregisters it. The later registration of an id is the
   * one that counts: the earlier one's signal aborts. Rejects `invalid` for a broken id.
   */
  agent(agentId: string): Promise<AgentRegistration>;
  /** Those of the database: to list, read, export, import and delete. */
  readonly sessions: KernelSessions;
  /** Every tab and process that is here or was not yet found to be gone; by host id. */
  hosts(): Promise<HostRecord[]>;
  /** What was granted, not what was asked for. */
  status(): Promise<KernelStatus>;
  /** Returns the unsubscribe. */
  on<E extends keyof KernelEvents>(event: E, listener: (event: KernelEvents[E]) => void): () => void;
  /** Aborts handlers and waits with `closed`, hands leases back. Idempotent. Does not wait for handlers. */
  close(): Promise<void>;
}

/** What the kernel is built from; the entry file wires it for the platform. */
export interface Platform {
  clock(): Clock;
  random: Random;
  storage(): KernelStorage;
  channel(): ChannelFactory | undefined;
  locks(): Locks | undefined;
  seal(): Seal | undefined;
  /** Of the page or worker; nothing where there is none. */
  origin(): string | undefined;
  notices(name: string, channel: ChannelFactory | undefined): Notices;
  farewellNotes(databaseId: string): FarewellNotes | undefined;
  lockName(databaseId: string, bootId: string): string;
  /** Whether loops can run in workers here. */
  workers(): boolean;
  /** Of loops that run in this context. */
  readonly inlineLoop: Lazy<(parts: LoopStart) => Loop>;
  workerLoop(parts: LoopStart, worker: WorkerSource): Loop;
  readonly lazyParts: LazyParts;
}

type WorkerSource = (() => Worker) | "default";

export interface LoopStart {
  readonly name: string;
  readonly databaseId: string;
  readonly durability: Durability;
  readonly timings: Timings;
  readonly corridor: ReturnType<typeof createCorridor>;
  readonly notices: Notices;
  readonly gossip: Gossip;
  readonly retention: Retention;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  readonly page: LoopPage;
  newNonce(): string;
}

const CLOSE_MS = 5_000;

const OF_PROCESSES: ReadonlySet<Change["about"]> = new Set(["registered", "record", "event", "lease"]);

/** What a kernel stands on once its storage is open. */
interface Ground {
  readonly options: ReturnType<typeof checkOptions>;
  readonly platform: Platform;
  readonly place: KernelStorage;
  readonly storage: OpenStorage;
  readonly notices: Notices;
  readonly channel: ChannelFactory | undefined;
  readonly clock: Clock;
  readonly ids: ReturnType<typeof createIds>;
  readonly emitter: Emitter;
  readonly loopKind: KernelStatus["loop"];
  readonly worker: WorkerSource | undefined;
}

/**
 * Resolves when the first command can be served; the worker and the lock are not awaited. Where it rejects, nothing stays open: neither
 * where its signal aborts nor where the storage ends while it opens.
 */
export async function openKernel(given: KernelOptions, platform: Platform): Promise<Kernel> {
  const options = checkOptions(given);
  const { name, signal } = options;
  if (signal?.aborted) throw abortedBy(signal);
  const clock = options.clock ?? platform.clock();
  const ids = createIds(clock, options.random ?? platform.random);
  const place = options.storage ?? platform.storage();
  const emitter = createEmitter();

  // A worker has storage, clock, channel and locks of its own: it can serve only where nothing was injected.
  const isShared = place.elsewhere === true && !options.clock && options.channel === undefined && options.locks === undefined;
  const worker = options.loop !== "inline" && isShared && platform.workers() ? (options.worker ?? "default") : undefined;
  const loopKind = options.loop === "off" ? "off" : worker ? "worker" : "inline";
  if (options.loop === "worker" && !worker) {
    const why = isShared ? "there are no workers here" : "storage, clock, channel or locks were passed in";
    const message = `the loop runs inline: ${why}`;
    emitter.emit("fault", { area: "worker", code: "unsupported", message });
  }
  const loadingLoop = loopKind === "inline" ? platform.inlineLoop.load() : undefined;
  // Where the storage does not open, that is what is told.
  loadingLoop?.catch(() => undefined);

  let ended: HoldfastError | undefined;
  let onEnded = (why: HoldfastError) => {
    ended = why;
  };
  let isQuiet = true;
  const wanted: StorageOpening = {
    name,
    schema: SCHEMA,
    durability: options.durability,
    newDatabaseId: ids.uuid(),
    onState(state, why) {
      // That it was ready at once is what the kernel's own promise tells.
      isQuiet &&= state === "ready";
      if (!isQuiet) emitter.emit("storage", { state });
      if (why) onEnded(why);
    },
  };
  const stopListening = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener("abort", () => reject(abortedBy(signal)), { signal: stopListening.signal });
  });
  const opening = orUnavailable("storage", () => place.open(wanted));
  let storage: OpenStorage | undefined;
  let notices: Notices | undefined;
  let kernel: Kernel;
  try {
    storage = await Promise.race([opening, aborted]);
    await Promise.race([loadingLoop, aborted]);
    const { databaseId } = storage;
    const channel = options.channel === false ? undefined : (options.channel ?? platform.channel());
    notices = await orUnavailable("channel", () => platform.notices(channelName(databaseId), channel));
    if (ended) throw ended;
    const ground: Ground = { options, platform, place, storage, notices, channel, clock, ids, emitter, loopKind, worker };
    kernel = standOn(ground, (listener) => {
      onEnded = listener;
    });
  } catch (error) {
    notices?.close();
    // One that comes too late goes at once. An upgrade that runs is not undone for that: the next opening finds it done.
    const closed = opening.then((made) => made.close()).catch(() => undefined);
    if (storage) await soon(clock, closed);
    throw error;
  } finally {
    stopListening.abort();
  }
  if (signal?.aborted) {
    await kernel.close();
    throw abortedBy(signal);
  }
  return kernel;
}

function standOn(
  { options, platform, place, storage, notices, channel, clock, ids, emitter, loopKind, worker }: Ground,
  hearEnd: (listener: (why: HoldfastError) => void) => void,
): Kernel {
  const { name, timings, limits, signal } = options;
  const { databaseId } = storage;
  const hostId = options.hostId ?? ids.uuid();
  const locks = options.locks === false ? undefined : (options.locks ?? platform.locks());
  const corridor = createCorridor({ storage, tables: TABLES, notices, clock });
  const gossip = createGossip({
    open: channel,
    name: gossipName(databaseId),
    databaseId,
    clock,
    locks,
    lockPrefix: platform.lockName(databaseId, ""),
    ttlMs: timings.livenessTtlMs,
    tableId: ids.uuid(),
    bootId: () => host.identity.bootId,
  });
  const watch = createWatch(notices, clock, timings.pollMs);
  const schemas = payloadSchemas();
  const tenures = createTenures();
  const parts = { corridor, watch, clock, limits, schemas, timings, tenures, newProcessId: ids.processId, newNonce: ids.nonce };

  const processes: ProcessRegistry = {
    durabilityTier: () => (place.kind === "memory" ? "inline" : "durable"),
    ...processMethods(corridor, limits, schemas),
    ...eventMethods(corridor, limits, schemas),
    ...handleMethods(corridor, limits),
    ...leaseMethods(corridor, limits, ids.nonce),
    ...waitMethods(parts),
  };
  const isMemory = place.kind === "memory";
  const seal = platform.seal();
  const sealed = mapLazy(platform.lazyParts.sealed, ({ openSealed }): Sealed => {
    const made = openSealed({ corridor, databaseId, isMemory, seal, locks, clock, limits, randomBytes: ids.bytes });
    if (closing) made.close();
    return made;
  });
  const secrets = mapLazy(sealed, (made) => made.secrets);
  const archive = mapLazy(platform.lazyParts.archive, ({ sessionArchive }) => sessionArchive(corridor, limits));
  const authorityKey = isMemory ? undefined : `${place.kind}:${platform.origin() ?? "null"}:${name}:${databaseId}`;
  const rows = mapLazy(platform.lazyParts.runtime, ({ rowMethods }) => rowMethods(corridor, limits));
  const runtime: RuntimeStore = {
    ...methodsOf<RuntimeMethods & OpsMethods>(rows, {
      commitSessionSnapshot: true,
      atomicApply: true,
      loadInputStates: true,
      loadBoundaryReceipt: true,
      loadSessionSnapshot: true,
      persistInputState: true,
      loadInputState: true,
      loadRuntimeState: true,
      commitMachineLifecycle: true,
      persistOpsLifecycle: true,
      loadOpsLifecycle: true,
    }),
    authAuthorityKey: () => authorityKey,
    ...methodsOf<AuthSnapshotMethods>(sealed, {
      persistAuthOAuthFlowSnapshot: true,
      loadAuthOAuthFlowSnapshot: true,
      updateAuthOAuthFlowSnapshot: true,
    }),
  };
  const fault = (event: Fault) => emitter.emit("fault", event);
  const handleParts = { ...parts, stores: processes };
  const headStart = mapLazy(platform.lazyParts.headStart, ({ createHeadStart }) =>
    createHeadStart({
      ...parts,
      ttlMs: timings.leaseTtlMs,
      handlers: options.handlers,
      runner,
      host: () => (host.loop ? host.identity : undefined),
    }),
  );
  const claiming = () => headStart.loaded?.claiming ?? [];
  const startParts = { ...parts, headStart: () => headStart.loaded };
  const runner = createRunner({
    ...handleParts,
    headStart: startParts.headStart,
    handlers: options.handlers,
    sessionTurn: (sessionId) => sessions.turnOf(sessionId),
    concurrency: options.concurrency,
    attemptBudget: options.attemptBudget,
    host: () => host.identity,
    onFree: () => host.loop?.poke(),
    onClaimed: (processId, fencingToken) => emitter.emit("leaseClaimed", { processId, fencingToken }),
    onLost: (processId) => emitter.emit("leaseLost", { processId }),
    fault,
  });
  const farewellNotes = channel && platform.farewellNotes(databaseId);
  const sessions = createSessions({
    ...parts,
    notices,
    hostId,
    runsTurns: loopKind !== "off",
    hasLocks: locks !== undefined,
    lazyParts: platform.lazyParts,
    host: () => host.identity,
    saidGoodbye: (bootId) => farewellNotes?.said().includes(bootId) === true,
    isDead: (bootId) => isFree(locks, platform.lockName(databaseId, bootId)),
    newOrderedId: ids.processId,
    emit: (event) => emitter.emit("session", event),
    fault,
  });
  const agents = mapLazy(platform.lazyParts.agents, ({ createAgents }) => {
    const made = createAgents({
      ...parts,
      gossip,
      notices,
      host: () => host.identity,
      fault(error) {
        const { code, message } = asHoldfastError(error, "internal", "the agents of this page could not be looked after");
        fault({ area: "agents", code, message });
      },
    });
    if (closing) void made.close();
    return made;
  });
  const freeSlots = () => headStart.loaded?.free ?? runner.free;
  let answeredMs = clock.monotonicMs();
  const page: LoopPage = {
    async pulse(told) {
      headStart.loaded?.heard(told);
      // Silent for so long that its leases may be another's by now.
      if (clock.monotonicMs() - answeredMs >= timings.leaseTtlMs - timings.leaseRenewMs) await tenures.recheckAll();
      answeredMs = clock.monotonicMs();
      return {
        asOfMs: answeredMs,
        host: host.identity,
        leases: tenures.leases,
        abandoned: runner.abandoned,
        claiming: claiming(),
        free: freeSlots(),
        slots: options.concurrency,
        handlers: [...options.handlers.keys()],
        sessions: sessions.attached,
        attending: sessions.isAttending,
        goodbyes: farewellNotes?.said() ?? [],
        moves: agents.loaded?.moves ?? 0,
      };
    },
    async run(claims, asOfMs) {
      // A start of this page may have taken a slot since the loop asked how many there are.
      const taken = claims.slice(0, freeSlots());
      const refused = await runner.run(taken, asOfMs);
      return [...refused, ...claims.slice(taken.length).map(({ lease }) => lease.processId)];
    },
    async renewed({ asOfMs, renewed, lost }) {
      tenures.extend(renewed, asOfMs);
      await tenures.recheck(lost);
    },
    moved: async (moves) => agents.loaded?.learnMoves(moves),
    async swept(report) {
      emitter.emit("sweep", report);
      // A loop in a worker is heard over the channel, if there is one.
      if (!channel && host.loop?.kind === "worker")
        for (const agentId of report.agentsOffline) emitter.emit("agentOffline", { agentId });
    },
    fault: async (event) => fault(event),
  };
  const work: HostWork = {
    get isHolding() {
      return (
        !tenures.isEmpty ||
        claiming().length > 0 ||
        runner.abandoned.length > 0 ||
        sessions.isAttending ||
        agents.loaded?.isEmpty === false
      );
    },
    async wake() {
      gossip.open();
      await Promise.all([tenures.recheckAll(), agents.loaded?.review()]);
    },
    settle: async () => agents.loaded?.close(),
    endAll(reason) {
      runner.endAll(reason);
      sessions.endAll(reason);
    },
  };
  const host = startHost({
    hostId,
    corridor,
    notices,
    gossip,
    clock,
    locks: loopKind === "off" ? undefined : locks,
    farewellNotes,
    newBootId: ids.uuid,
    lockName: (bootId) => platform.lockName(databaseId, bootId),
    startLoop() {
      if (loopKind === "off") return undefined;
      const start: LoopStart = {
        ...parts,
        name,
        databaseId,
        durability: options.durability,
        retention: options.retention,
        notices,
        gossip,
        locks,
        page,
      };
      return worker ? platform.workerLoop(start, worker) : platform.inlineLoop.loaded?.(start);
    },
    work: () => work,
    onBoot(isReady) {
      sessions.onBoot(isReady);
      if (isReady) void agents.loaded?.review();
      // Without it the loops claim all the same, only later.
      if (isReady && loopKind !== "off" && options.handlers.size > 0) headStart.load().catch(() => undefined);
    },
    onFault(error) {
      const { code, message } = asHoldfastError(error, "internal", "the host failed");
      fault({ area: "host", code, message });
    },
  });
  gossip.open();
  const stopListening = notices.subscribe((changes) => {
    for (const { about, id, sequence, member } of changes) {
      if (about === "agent" && member === "online") emitter.emit("agentOnline", { agentId: id });
      else if (about === "agent" && member === "offline") emitter.emit("agentOffline", { agentId: id });
      if (!OF_PROCESSES.has(about)) continue;
      // A loop in a worker hears of this page's writes over the channel, if there is one.
      if (!channel && host.loop?.kind === "worker" && about !== "event" && member === undefined) host.loop.poke([id]);
      if (isRuntimeId(id)) continue;
      emitter.emit("processChanged", { processId: id, ...(sequence !== undefined && { sequence }) });
    }
  });
  // Deleted or upgraded under this kernel: nothing that runs here can write any more.
  hearEnd(host.abort);

  let closing: Promise<void> | undefined;
  async function shut(): Promise<void> {
    signal?.removeEventListener("abort", onAbort);
    watch.close();
    sealed.loaded?.close();
    await soon(clock, host.close(new HoldfastError("closed", "the kernel is closed")));
    gossip.close();
    stopListening();
    await soon(clock, corridor.close());
    notices.close();
    emitter.clear();
  }
  const close = () => {
    closing ??= shut();
    return closing;
  };
  const onAbort = () => void close();
  signal?.addEventListener("abort", onAbort);

  return {
    name,
    hostId,
    processes,
    runtime,
    lifecycle: methodsOf<LifecycleStore>(
      mapLazy(agents, (made) => made.lifecycle),
      { register: true, heartbeat: true, deregister: true, get: true, list: true },
    ),
    liveness: gossip.store,
    auth: methodsOf<OAuthFlows>(sealed, {
      beginBrowser: true,
      verifyBrowser: true,
      consumeBrowser: true,
      admitDevice: true,
      pollDevice: true,
      release: true,
    }),
    secrets: methodsOf<Secrets>(secrets, { put: true, get: true, delete: true }),
    async start(request) {
      const { id } = await startProcess(startParts, request);
      return processHandle(handleParts, id);
    },
    process: (processId) => processHandle(handleParts, checkId("processId", processId, limits.idLength)),
    session: sessions.open,
    agent: methodsOf<Pick<Agents, "register">>(agents, { register: true }).register,
    async hosts() {
      const { listHosts } = await platform.lazyParts.agents.load();
      return await listHosts({
        ...parts,
        gossip,
        self: host.identity,
        lockName: (bootId) => platform.lockName(databaseId, bootId),
        held: () => heldLocks(locks),
      });
    },
    sessions: {
      ...methodsOf<Omit<KernelSessions, "export">>(archive, { list: true, messages: true, import: true, delete: true }),
      async *export(sessionId) {
        yield* (await archive.load()).export(sessionId);
      },
    },
    async status() {
      await host.booted;
      const loop = host.loop?.kind ?? loopKind;
      return await readStatus({
        kind: place.kind,
        storage,
        loop,
        locks: host.identity.locked,
        channel: channel !== undefined,
        dropped: notices.dropped + gossip.dropped,
        secrets: isMemory || !seal ? "memory-only" : "sealed",
      });
    },
    on: emitter.on,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A storage that hangs must not keep the app from ending; what it still owes goes on beside. */
async function soon(clock: Clock, work: Promise<void>): Promise<void> {
  let cancel = () => {};
  const late = new Promise<void>((resolve) => {
    cancel = clock.setTimer(resolve, CLOSE_MS);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    cancel();
  }
}

function abortedBy(signal: AbortSignal): HoldfastError {
  return new HoldfastError("aborted", "the signal was aborted before the kernel was open", { cause: signal.reason });
}

async function orUnavailable<T>(what: string, open: () => T | Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    throw asHoldfastError(error, "unavailable", `the ${what} could not be opened`);
  }
}
