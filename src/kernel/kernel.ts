import { createWatch } from "../corridor/watch.js";
import { checkId } from "../domain/check.js";
import { HoldfastError } from "../domain/errors.js";
import { isRuntimeId } from "../domain/runtime-id.js";
import type { Change } from "../ports/notices.js";
import type { KernelStorage } from "../ports/storage.js";
import type { LivenessStore } from "../stores/host/liveness.js";
import { declaredTypes } from "../stores/process/declared-types.js";
import { eventAppender, eventMethods } from "../stores/process/events.js";
import { payloadSchemas } from "../stores/process/payload-schema.js";
import { processMethods } from "../stores/process/processes.js";
import { createEmitter, type Emitter, type KernelEvents } from "./emitter.js";
import { createFacade } from "./facade.js";
import { soon } from "./ground.js";
import type { AgentRegistration } from "./host/agents.js";
import { disposable } from "./host/disposable.js";
import { faultOf } from "./host/fault.js";
import { isFree } from "./host/held-locks.js";
import { type CurrentHost, startHost, unstartedHost } from "./host/host.js";
import type { HostRecord } from "./host/host-list.js";
import { createIds, hostLockName, type Ids } from "./host/ids.js";
import { createHeldLeases } from "./host/leases/held-leases.js";
import type { LifecycleStore } from "./host/lifecycle.js";
import type { Fault } from "./host/loop-contract.js";
import { mapLazy, methodsOf } from "./lazy.js";
import { createLazyRuns } from "./lazy-runs.js";
import { logFaults } from "./log.js";
import { abortedBy, type OpenGround, openGround } from "./opening.js";
import { type CheckedOptions, checkOptions, type KernelOptions } from "./options.js";
import { hostWork, loopPage, type PageParts } from "./page.js";
import type { LoopStart, Platform, WorkerSource } from "./platform.js";
import { checkDefinition } from "./process/definition/define.js";
import type { ProcessDefinition } from "./process/definition/definition.js";
import { type HandleOf, type ProcessHandle, processHandle, waitMethods } from "./process/handle.js";
import type { ProcessRegistry } from "./process/registry.js";
import type { KernelSchedules } from "./process/schedules/kernel-schedules.js";
import { startProcess } from "./process/start.js";
import type { StartArguments, StartOptions, StartOptionsOf, StartRequest } from "./process/start-request.js";
import type { RuntimeStore } from "./runtime-store.js";
import type { KernelSessions } from "./session/archive.js";
import type { SessionOptions, SessionRuntime } from "./session/session.js";
import { createSessions } from "./session/sessions.js";
import { createViews, type KernelViews } from "./session/view/kernel-views.js";
import { type KernelStatus, readQuota } from "./status.js";
import type { OAuthFlows } from "./vault/oauth-flows.js";
import type { Secrets } from "./vault/secrets.js";

/** One host of the database: what `createKernel` opens. Its methods reject `closed` after `close`. */
export interface Kernel extends AsyncDisposable {
  readonly name: string;
  readonly hostId: string;
  readonly processes: ProcessRegistry;
  readonly runtime: RuntimeStore;
  /** The agents that should be there, and whether they were seen lately. */
  readonly lifecycle: LifecycleStore;
  /** The ids that were seen just now, from this tab's memory. The liveness id of an agent is its agent id. */
  readonly liveness: LivenessStore;
  /** Logins that are under way. */
  readonly auth: OAuthFlows;
  readonly secrets: Secrets;
  /**
   * Registers a process and grants its handle in one transaction, and looks for an owner at once. Idempotent by id. The process is a task
   * of the definition's name, or of the name, with `options.input` as its `args`. A name has the schemas of this kernel's definition of that
   * name, if there is one. Rejects `invalid` for an input that does not fit its schema, and `conflict` for an id that was started with
   * another name, or with an input of which the schema makes something else.
   */
  start<D extends ProcessDefinition>(definition: D, ...options: StartOptionsOf<D>): Promise<HandleOf<D>>;
  /** The same by the name of a handler, with an input of any kind. */
  start(name: string, options?: StartOptions): Promise<ProcessHandle>;
  /** The same with a request, which may be of any kind. Another content under the same id is `conflict`. */
  start(request: StartRequest): Promise<ProcessHandle>;
  /** Processes that are started at set times. */
  readonly schedules: KernelSchedules;
  /**
   * A handle of the process, which need not exist yet, with the types of the definition that it is started by: its schemas judge what is
   * signalled. Throws `invalid` for a broken id or definition.
   */
  process<D extends ProcessDefinition>(definition: D, processId: string): HandleOf<D>;
  /** The same without types. */
  process(processId: string): ProcessHandle;
  /** Opens or makes a session; its runtime's state is stored when this resolves. */
  session(sessionId: string, options?: SessionOptions): Promise<SessionRuntime>;
  /**
   * Registers an agent. This host beats for it until the registration is disposed of, which deregisters the agent. A later registration of
   * the same id replaces an earlier one, whose signal aborts. Rejects `invalid` for a broken id.
   */
  agent(agentId: string): Promise<AgentRegistration>;
  /** The sessions of the database: lists, reads, exports, imports and deletes them. */
  readonly sessions: KernelSessions;
  /** Every tab and program that is here, or was not yet found to be gone; ordered by host id. */
  hosts(): Promise<HostRecord[]>;
  /** What a user interface shows of the whole database. */
  readonly views: KernelViews;
  /** What the platform granted, not what the options asked for. */
  status(): Promise<KernelStatus>;
  /** Returns the unsubscribe. */
  on<E extends keyof KernelEvents>(event: E, listener: (event: KernelEvents[E]) => void): () => void;
  /** Aborts handlers and waits with `closed`, and hands leases back. Idempotent. Does not wait for handlers. */
  close(): Promise<void>;
}

/** The place where the loop runs. */
interface LoopChoice {
  readonly loopKind: KernelStatus["loop"];
  readonly worker: WorkerSource | undefined;
}

/** What is there before anything is open. */
interface Beginning extends LoopChoice {
  readonly options: CheckedOptions;
  readonly platform: Platform;
  readonly place: KernelStorage;
  readonly ids: Ids;
  readonly emitter: Emitter;
  readonly host: CurrentHost;
}

/**
 * Resolves when the first command can be served; the worker and the lock are not awaited. If it rejects, nothing stays open, also when
 * its signal aborts or the storage ends while it opens.
 */
export async function openKernel(given: KernelOptions, platform: Platform): Promise<Kernel> {
  const options = checkOptions(given);
  const { signal } = options;
  if (signal?.aborted) throw abortedBy(signal);
  const clock = options.clock ?? platform.clock();
  const ids = createIds(clock, options.random ?? platform.random);
  const place = options.storage ?? platform.storage();
  const emitter = createEmitter(logFaults(options.log));
  const loop = chooseLoop(options, platform, place, emitter);
  // Without a loop, nothing that is stored is run here.
  const runs = loop.loopKind !== "off";
  const host = unstartedHost(options.hostId ?? ids.uuid(), runs ? [...options.handlers.keys()] : [], runs && !!options.turns);
  const loadingLoop = loop.loopKind === "inline" ? platform.inlineLoop.load() : undefined;
  // If it cannot be loaded, the kernel tells that and tries again once it has begun.
  const loadingRuns = runsProcesses({ options, ...loop }) ? platform.lazyParts.runs.load().catch(() => undefined) : undefined;
  const meanwhile = Promise.all([loadingLoop, loadingRuns]);
  // If the storage does not open, that error is told instead.
  meanwhile.catch(() => undefined);
  const ground = await openGround({
    ...options,
    place,
    clock,
    channel: options.channel === false ? undefined : (options.channel ?? platform.channel()),
    locks: options.locks === false ? undefined : (options.locks ?? platform.locks()),
    meanwhile,
    bootId: () => host.identity.bootId,
    newId: ids.uuid,
    onState: (state) => emitter.emit("storage", { state }),
  });
  let kernel: Kernel;
  try {
    ground.ended.throwIfAborted();
    kernel = makeKernel({ options, platform, place, ids, emitter, host, ...loop }, ground);
  } catch (error) {
    await ground.close();
    throw error;
  }
  if (!signal?.aborted) return kernel;
  await kernel.close();
  throw abortedBy(signal);
}

function chooseLoop(options: CheckedOptions, platform: Platform, place: KernelStorage, emitter: Emitter): LoopChoice {
  // A worker has storage, clock, channel and locks of its own: it can serve only where nothing was injected that it cannot have.
  const isShared = place.elsewhere === true && !options.clock && options.channel === undefined && options.locks === undefined;
  const file = options.worker ?? (place.kind === "indexeddb" ? "default" : undefined);
  const worker = options.loop !== "inline" && isShared && platform.workers() ? file : undefined;
  if (options.loop === "worker" && !worker) {
    const needed = platform.workers() ? "this storage needs a worker file that calls serveLoop" : "there are no workers here";
    const why = isShared ? needed : "storage, clock, channel or locks were passed in";
    emitter.emit("fault", { area: "worker", code: "unsupported", message: `the loop runs inline: ${why}` });
  }
  return { loopKind: options.loop === "off" ? "off" : worker ? "worker" : "inline", worker };
}

/** Whether processes of the app's own are run here. */
function runsProcesses({ options, loopKind }: Pick<Beginning, "options" | "loopKind">): boolean {
  return loopKind !== "off" && options.handlers.size > 0;
}

/** Makes all parts in order: each part knows only those before it. The order of closing stands at the end. */
function makeKernel(beginning: Beginning, ground: OpenGround): Kernel {
  const { options, platform, place, ids, emitter, host, loopKind, worker } = beginning;
  const { name, limits, signal } = options;
  const { databaseId, storage, clock, channel, locks, notices, corridor, presence } = ground;
  const isMemory = place.kind === "memory";
  const seal = options.keys || place.keepsKeys ? platform.seal() : undefined;
  const farewellNotes = channel && platform.farewellNotes(databaseId);
  const lockName = (bootId: string) => hostLockName(databaseId, bootId);
  const fault = (event: Fault) => emitter.emit("fault", event);
  const tell = (area: string, what: string) => (error: unknown) => fault(faultOf(area, error, what));

  const parts = {
    ...options,
    ...ground,
    host,
    emitter,
    fault,
    farewellNotes,
    lazyParts: platform.lazyParts,
    definitions: platform.lazyParts.definitions,
    restarts: platform.lazyParts.restarts,
    signals: platform.lazyParts.signals,
    watch: createWatch(notices, clock, options.timings.pollMs, platform.keepAlive),
    schemas: payloadSchemas(),
    declared: declaredTypes(),
    heldLeases: createHeldLeases(),
    newProcessId: ids.processId,
    newSignalId: ids.uuid,
    newNonce: ids.nonce,
  };
  const lazily = createFacade({
    ...parts,
    isMemory,
    seal,
    randomBytes: ids.bytes,
    authorityKey: isMemory ? undefined : `${place.kind}:${platform.origin() ?? "null"}:${name}:${databaseId}`,
    agentsFailed: tell("agents", "the agents of this page could not be looked after"),
  });
  const { agents } = lazily;
  const { schemas } = parts;
  const appendEvent = eventAppender(corridor, limits, schemas, parts.declared);
  const stores: ProcessRegistry = {
    durabilityTier: () => (isMemory ? "inline" : "durable"),
    ...processMethods(corridor, limits, schemas),
    ...eventMethods(corridor, limits, appendEvent),
    ...lazily.grants,
    ...lazily.leases,
    ...waitMethods(parts),
    signal: async (processId, ...given) => handleOf(processId).signal(...given),
  };
  const handleOf = (processId: unknown, startedBy?: unknown) =>
    processHandle({ ...parts, stores }, checkId("processId", processId, limits.idLength), startedBy);
  const sessions = createSessions({
    ...parts,
    host: () => host.identity,
    hostId: host.identity.hostId,
    runsTurns: loopKind !== "off",
    hasLocks: locks !== undefined,
    saidFarewell: (bootId) => farewellNotes?.said().includes(bootId) === true,
    isDead: (bootId) => isFree(locks, lockName(bootId)),
    newOrderedId: ids.processId,
    emit: (event) => emitter.emit("session", event),
  });
  const runs = createLazyRuns({
    ...parts,
    stores,
    appendEvent,
    sessionTurn: sessions.turnOf,
    onFree: () => host.loop?.poke(),
    onClaimed: (processId, fencingToken) => emitter.emit("leaseClaimed", { processId, fencingToken }),
    onLost: (processId) => emitter.emit("leaseLost", { processId }),
  });
  const { sessions: archive, hosts: listHosts } = lazily.facade;
  const views = createViews({ ...parts, processes: stores, listSessions: archive.list, listHosts });
  const startParts = { ...parts, handleOf, headStart: () => runs.loaded?.headStart };
  const schedules = mapLazy(platform.lazyParts.schedules, ({ createSchedules }) => createSchedules(startParts));
  const pageParts = { ...parts, runs, sessions, agents, schedules };
  const loopStart: LoopStart = { ...parts, storageKind: place.kind, page: loopPage(pageParts) };

  const hostLife = startHost({
    ...parts,
    locks: loopKind === "off" ? undefined : locks,
    newBootId: ids.uuid,
    lockName,
    startLoop() {
      if (loopKind === "off") return undefined;
      return worker ? platform.workerLoop(loopStart, worker) : platform.inlineLoop.loaded?.(loopStart);
    },
    work: hostWork(pageParts),
    onBoot(isReady) {
      sessions.onBoot(isReady);
      if (isReady) void agents.loaded?.review();
      if (isReady && runsProcesses(beginning)) runs.load();
    },
    onFault: tell("host", "the host failed"),
  });
  presence.open();
  const stopHearing = notices.subscribe((changes) => hearChanges(changes, parts));

  let closing: Promise<void> | undefined;
  function close(): Promise<void> {
    closing ??= shut();
    return closing;
  }
  async function shut(): Promise<void> {
    signal?.removeEventListener("abort", close);
    parts.watch.close();
    lazily.close();
    await soon(clock, hostLife.close(new HoldfastError("closed", "the kernel is closed")));
    stopHearing();
    await ground.close();
    emitter.clear();
  }
  // Nothing that runs here can write any more.
  ground.ended.addEventListener("abort", () => {
    hostLife.abort(ground.ended.reason as HoldfastError);
    presence.close();
    notices.pause();
  });
  signal?.addEventListener("abort", close);

  const kernel: Omit<Kernel, keyof AsyncDisposable> = {
    name,
    hostId: host.identity.hostId,
    processes: stores,
    ...lazily.facade,
    views,
    liveness: presence.store,
    async start(...what: StartArguments) {
      const { id } = await startProcess(startParts, what);
      return handleOf(id, what[0]);
    },
    schedules: methodsOf<KernelSchedules>(
      mapLazy(schedules, ({ methods }) => methods),
      { put: true, get: true, list: true, pause: true, resume: true, trigger: true, delete: true },
    ),
    process(...what: readonly unknown[]) {
      if (what.length < 2) return handleOf(what[0]);
      return handleOf(what[1], checkDefinition("definition", what[0], limits.idLength));
    },
    session: sessions.open,
    async status() {
      await hostLife.booted;
      return {
        storage: place.kind,
        durability: storage.durability,
        ...(isMemory ? {} : await readQuota()),
        loop: host.loop?.kind ?? loopKind,
        locks: host.identity.locked,
        channel: channel !== undefined,
        dropped: notices.dropped + presence.dropped,
        secrets: seal ? "sealed" : "memory-only",
      };
    },
    on: emitter.on,
    close,
  };
  return disposable(kernel, close);
}

const OF_PROCESSES: ReadonlySet<Change["about"]> = new Set(["registered", "record", "event", "lease"]);

/** Tells the app what tabs and workers changed. */
function hearChanges(
  changes: readonly Change[],
  { emitter, host, channel }: Pick<PageParts, "emitter" | "host" | "channel">,
): void {
  for (const { about, id, sequence, member } of changes) {
    if (about === "agent" && member === "online") emitter.emit("agentOnline", { agentId: id });
    else if (about === "agent" && member === "offline") emitter.emit("agentOffline", { agentId: id });
    if (!OF_PROCESSES.has(about)) continue;
    // A loop in a worker hears of this page's writes over the channel; if there is none, it is poked.
    if (!channel && host.loop?.kind === "worker" && about !== "event" && (member ?? "parked") === "parked") host.loop.poke([id]);
    if (isRuntimeId(id)) continue;
    emitter.emit("processChanged", { processId: id, ...(sequence !== undefined && { sequence }) });
  }
}
