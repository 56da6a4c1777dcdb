import { checkList, checkOneOf, checkWhole, membersOf } from "../domain/check.js";
import type { ErrorCode } from "../domain/errors.js";
import { isTerminal } from "../domain/session/input.js";
import type { Timings } from "../domain/time.js";
import type { Kernel } from "../kernel/kernel.js";
import type { KernelStorage, Row } from "../ports/storage.js";
import type { AgentRow, HostRow, LeaseRow } from "../stores/host/tables.js";
import type { ProcessRow } from "../stores/process/tables.js";
import type { InputRow } from "../stores/session/inputs/tables.js";
import type { RuntimeRow } from "../stores/session/tables.js";
import { createAir, LONGEST_DELAY_MS } from "./air.js";
import { createDice } from "./dice.js";
import { FAULTS, type FaultKind } from "./fault-kinds.js";
import { STRIKES, type Victims } from "./faults.js";
import type { Commons, Guest } from "./guest.js";
import { openHost } from "./host.js";
import { RULES, type Trial } from "./judge.js";
import { type Eye, Notes, PROMISES } from "./ledger.js";
import { createLockService } from "./locks.js";
import { createLife, createMachine, type Life } from "./machine.js";
import { createStation, type Station } from "./station.js";
import { type Commit, createGround } from "./storage.js";
import { createTimeline } from "./timeline.js";
import { Transcripts } from "./transcripts.js";
import { settle, WORK, type WorkKind, workHandler } from "./workload.js";

export interface SimulationOptions {
  /** The same seed, with the same other options, gives the same run. */
  seed: number;
  /** How many things are done to the world, work and faults together. Default 120. */
  steps?: number;
  /** Default 3. */
  hosts?: number;
  /** Default: all. */
  faults?: readonly FaultKind[];
  /** Default: all. */
  work?: readonly WorkKind[];
  /** Of the planned steps only these, by their numbers: how a shorter history is run. */
  only?: readonly number[];
  /** Stands between a host and its storage: for a storage that breaks a promise, which the rules must then notice. */
  sabotage?: (storage: KernelStorage, host: string) => KernelStorage;
}

export interface SimulationReport {
  readonly seed: number;
  /** All that happened, a line each. */
  readonly history: readonly string[];
  /** The planned steps that were run, by number, and what each was. */
  readonly steps: readonly { readonly number: number; readonly told: string }[];
  /** How often each fault struck. */
  readonly faults: Readonly<Record<FaultKind, number>>;
  /** Transactions that stored something. */
  readonly commits: number;
  /** What ended the run: the first rule that was broken. */
  readonly failure?: { readonly rule: string; readonly what: string };
}

/** Quick ones, so that much happens in a minute. */
const TIMINGS: Timings = {
  leaseTtlMs: 6_000,
  leaseRenewMs: 2_000,
  heartbeatMs: 3_000,
  livenessTtlMs: 18_000,
  heartbeatFlushMs: 9_000,
  staleAfterMs: 30_000,
  sweepMs: 6_000,
  pollMs: 2_000,
};

const STEP_MS = 1_000;
/** By then all that can finish has finished; a clock that was set back, and pauses that grew, are waited out. */
const CALM_MS = 300_000;

interface Planned {
  readonly number: number;
  readonly atMs: number;
  readonly host: number;
  readonly kind: FaultKind | WorkKind;
}

/** All that a run checks, by name. */
export const SIMULATION_RULES: readonly string[] = [...new Set([...Object.keys(RULES), ...PROMISES])];

const KINDS_OF_WORK = Object.keys(WORK) as WorkKind[];
const MOST_STEPS = 100_000;
const MOST_HOSTS = 100;

function checked(options: SimulationOptions) {
  const given = membersOf("options", options, ["seed", "steps", "hosts", "faults", "work", "only", "sabotage"]);
  const list = <T>(field: string, value: unknown, check: (field: string, item: unknown) => T): T[] =>
    checkList(field, value, MOST_STEPS).map((item, at) => check(`${field}[${at}]`, item));
  const { steps = 120, hosts = 3, faults = FAULTS, work = KINDS_OF_WORK, only, sabotage } = given;
  return {
    seed: checkWhole("options.seed", given.seed, 0),
    steps: checkWhole("options.steps", steps, 0, MOST_STEPS),
    hosts: checkWhole("options.hosts", hosts, 1, MOST_HOSTS),
    faults: list("options.faults", faults, (field, item) => checkOneOf(field, item as FaultKind, FAULTS)),
    work: list("options.work", work, (field, item) => checkOneOf(field, item as WorkKind, KINDS_OF_WORK)),
    only: only === undefined ? undefined : list("options.only", only, (field, item) => checkWhole(field, item, 1)),
    sabotage: sabotage as SimulationOptions["sabotage"],
  };
}

/**
 * Runs one seeded world to its end, or to the first broken rule. Rejects nothing that happened in it: the report says it. Rejects with
 * `invalid` what is no number of steps or hosts, or no kind of fault or work.
 */
export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const { seed, steps, hosts, faults, work, only, sabotage } = checked(options);
  const dice = createDice(`seed ${seed}`);
  const timeline = createTimeline();
  const machine = createMachine(timeline);
  const history: string[] = [];
  const done: { number: number; told: string }[] = [];
  const struck = Object.fromEntries(FAULTS.map((kind) => [kind, 0])) as Record<FaultKind, number>;
  let failure: SimulationReport["failure"];
  let commits = 0;
  let isCalm = false;

  const log = (who: string, what: string) => void history.push(`${(timeline.nowMs / 1_000).toFixed(3)} ${who} ${what}`);
  function complain(rule: string, what: string): void {
    log("RULE", `${rule}: ${what}`);
    failure ??= { rule, what };
  }
  function happened(kind: FaultKind, life?: Life): void {
    struck[kind]++;
    if (life) life.wellSinceMs = Math.max(life.wellSinceMs, timeline.nowMs);
  }

  const air = createAir(machine, dice.fork("air"), happened);
  const locks = createLockService();
  const livesOf = new Map<string, Life>();
  const lockless = new Set<Life>();
  const ground = createGround({ machine, onCommit, happened, sabotage });
  const { rows } = ground;
  const lifeOf = (bootId: string | undefined) => (bootId === undefined ? undefined : livesOf.get(bootId));
  /** Nothing was done to it, nor to all. */
  const isUntroubled = ({ state, isLeaving, wellSinceMs }: Life, forMs: number) =>
    state === "up" && !isLeaving && timeline.nowMs - Math.max(wellSinceMs, machine.troubledUntilMs) >= forMs;
  /** When a process ended, and who ended it. */
  const ends = new Map<string, { atMs: number; by: Life }>();
  let foulUntilMs = 0;
  let wipedMs = -1;
  const transcripts = new Transcripts(rows);
  /** By process and fence. */
  const grantees = new Map<string, Life>();
  const eye: Eye = {
    get nowMs() {
      return timeline.nowMs;
    },
    pollMs: TIMINGS.pollMs,
    lifeOf,
    hasLocks: (life) => !lockless.has(life),
    waitedMs,
    granteeOf: (processId, fencingToken) => grantees.get(`${processId} ${fencingToken}`),
    transcripts,
    overMs(life, processId) {
      const end = ends.get(processId);
      if (!end || life.state !== "up" || life.isLeaving) return 0;
      return timeline.nowMs - Math.max(end.atMs, life.wellSinceMs, machine.troubledUntilMs);
    },
  };
  const notes = new Notes(rows, eye, complain);

  function waitedMs(life: Life, processId: string, sinceMs: number): number | undefined {
    const end = ends.get(processId);
    if (!end || end.atMs < sinceMs) return undefined;
    const isFine = timeline.nowMs >= foulUntilMs + TIMINGS.pollMs + LONGEST_DELAY_MS;
    const forMs = timeline.nowMs - end.atMs + TIMINGS.pollMs;
    return isFine && isUntroubled(life, forMs) && isUntroubled(end.by, forMs) ? timeline.nowMs - end.atMs : undefined;
  }

  function onCommit(commit: Commit): void {
    commits++;
    // Who first writes of a boot is that boot.
    for (const { after } of commit.changes)
      if (typeof after?.bootId === "string" && !livesOf.has(after.bootId)) livesOf.set(after.bootId, commit.life);
    log(
      commit.life.name,
      `stores ${commit.changes.map(({ table, key, after }) => `${after ? "" : "no "}${table}${key}`).join(" ")}`,
    );
    for (const { before, after } of commit.changes)
      if (after && before && "awaitOutput" in after && !("awaitOutput" in before))
        ends.set(String(after.processId), { atMs: timeline.nowMs, by: commit.life });
    for (const { table, after } of commit.changes)
      if (table === "leases" && after?.leaseToken) grantees.set(`${after.resource} ${after.fencingToken}`, commit.life);
    transcripts.note(commit);
    const trial = trialOf(commit);
    for (const [name, rule] of Object.entries(RULES))
      for (const what of rule(trial)) if (what !== undefined) complain(name, what);
  }

  function trialOf(commit: Commit): Trial {
    const changed = new Map(commit.changes.map((change) => [`${change.table} ${change.key}`, change]));
    return {
      commit,
      rows,
      was<R extends Row>(table: Parameters<Trial["was"]>[0], ...key: (string | number)[]) {
        const change = changed.get(`${table} ${JSON.stringify(key)}`);
        return change ? (change.before as R | undefined) : rows.get<R>(table, ...key);
      },
      changes: <R extends Row>(table: Parameters<Trial["changes"]>[0]) =>
        commit.changes.filter((change) => change.table === table) as unknown as { before: R | undefined; after: R | undefined }[],
      lifeOf,
      hasLocks: !lockless.has(commit.life),
      isWell: (life, forMs) => life !== undefined && !lockless.has(life) && isUntroubled(life, forMs),
      isOver(resource) {
        const process = rows.get<ProcessRow>("processes", resource);
        const runtime = rows.get<RuntimeRow>("runtimes", resource);
        const isEnded = (process && process.state !== "running") || (runtime && !isRunnable(runtime));
        return (
          isEnded === true &&
          commit.changes.some(
            ({ table, after }) => after !== undefined && (after === process || after === runtime) && table !== "leases",
          )
        );
      },
      leaseTtlMs: TIMINGS.leaseTtlMs,
      staleAfterMs: TIMINGS.staleAfterMs,
    };
  }

  const stations: Station[] = Array.from({ length: hosts }, (_, at) => {
    const name = `h${at + 1}`;
    return createStation({
      name,
      newLife: (boot) => createLife(machine, `${name}.${boot}`, dice.fork(`${name}.${boot}`)),
      open: openGuest,
      settle: (guest) => void settle(guest, commons).catch((error: unknown) => guest.ledger.failed("settle", error)),
      after: (delayMs, run) => void timeline.after(delayMs, run),
      happened,
      log,
      failed: (error, life) => notes.open(life, () => life.state === "gone").failed("createKernel", error),
      closed: checkClosed,
      nowMs: () => timeline.nowMs,
    });
  });
  const guests = () => stations.flatMap(({ guest }) => (guest ? [guest] : []));

  /** Where nothing was done to it, nor to all, while it closed. */
  function checkClosed(life: Life, askedMs: number, of: "leases" | "locks"): void {
    const isTroubled = life.isFull || Math.max(life.wellSinceMs, machine.troubledUntilMs) > askedMs || wipedMs >= askedMs;
    if (isTroubled || life.state !== "up") return;
    const leased = rows.all<LeaseRow>("leases").filter(({ bootId, leaseToken }) => leaseToken && lifeOf(bootId) === life);
    const held = of === "locks" ? locks.heldBy(life) : leased.map(({ resource }) => `the lease of ${resource}`);
    if (held.length > 0) complain("a kernel that closed holds nothing", `${life.name} holds ${held.join(", ")}`);
  }

  const commons: Commons = {
    dice: dice.fork("work"),
    processes: [],
    inputs: [],
    get isCalm() {
      return isCalm;
    },
    latestWallMs: () => machine.latestWallMs,
    anyGuest: (chance) => {
      const all = guests();
      return all.length > 0 ? chance.pick(all) : undefined;
    },
    kill: (life) => stations.find((station) => station.life === life)?.trap("crash", 1, life.dice.below(3_000)),
  };

  async function openGuest(life: Life, hasLocks: boolean): Promise<Guest> {
    const generation = ground.generation;
    const ledger = notes.open(life, () => ground.generation !== generation);
    if (!hasLocks) lockless.add(life);
    const wiring = {
      storage: ground.placeFor(life),
      channel: air.channelFor(life),
      locks: hasLocks ? locks.clientFor(life) : undefined,
    };
    const kernel = await openHost(life, wiring, TIMINGS, { work: workHandler(life, ledger) });
    listen(kernel, life);
    return { life, kernel, ledger, sessions: new Map(), agents: new Map(), enrolling: [] };
  }

  function listen(kernel: Kernel, life: Life): void {
    kernel.on("fault", ({ area, code, message }) => {
      log(life.name, `tells of a fault in ${area}: ${code}: ${message}`);
      if (BROKEN.has(code)) complain("holdfast does not break", `${life.name}: ${area}: ${code}: ${message}`);
    });
  }

  const victims: Victims = {
    stations,
    setWall: machine.setWall,
    sleep(forMs) {
      machine.trouble(forMs);
      happened("sleep");
      const lives = stations.flatMap(({ life }) => (life?.state === "up" ? [life] : []));
      for (const life of lives) life.freeze();
      timeline.after(forMs, () => {
        for (const life of lives) life.thaw();
        log("all", "wake");
      });
    },
    untilExpiryMs({ life }) {
      const own = rows.all<LeaseRow>("leases").filter(({ bootId, leaseToken }) => leaseToken && lifeOf(bootId) === life);
      const soonest = Math.min(...own.map(({ expiresAtMs }) => expiresAtMs - machine.wallMs()));
      return soonest > 0 && Number.isFinite(soonest) ? soonest : undefined;
    },
    slow({ life }, factor, forMs) {
      if (!life) return;
      // What it asked for last is slow to the end.
      machine.trouble(forMs + LONGEST_DELAY_MS);
      happened("slow", life);
      life.slowness = factor;
      timeline.after(forMs, () => {
        life.slowness = 1;
      });
    },
    weather(shares, forMs) {
      Object.assign(air.weather, shares);
      foulUntilMs = Math.max(foulUntilMs, timeline.nowMs + forMs);
      timeline.after(forMs, () => {
        for (const kind of Object.keys(shares)) Object.assign(air.weather, { [kind]: 0 });
      });
    },
    fill({ life }, forMs) {
      if (!life) return;
      life.isFull = true;
      life.wellSinceMs = timeline.nowMs + forMs;
      timeline.after(forMs, () => {
        life.isFull = false;
      });
    },
    wipe() {
      machine.trouble(0);
      happened("wiped");
      ground.wipe();
      notes.clear();
      ends.clear();
      grantees.clear();
      transcripts.clear();
      wipedMs = timeline.nowMs;
      commons.processes.length = 0;
      commons.inputs.length = 0;
      for (const [at, station] of stations.entries()) station.reload(at * 400);
    },
  };

  /** Each world has some of the faults and some of the work, so that what hides in the noise of all of them is met, too. */
  function plan(): Planned[] {
    const drawing = dice.fork("plan");
    const some = <K>(kinds: readonly K[], share: number) => {
      const drawn = kinds.filter(() => drawing.chance(share));
      return drawn.length > 0 ? drawn : kinds;
    };
    const strikes = some(
      faults.filter((kind) => kind !== "reordered"),
      0.6,
    );
    const kinds = strikes.flatMap((kind) => Array<FaultKind>(STRIKES[kind as keyof typeof STRIKES].weight).fill(kind));
    const jobs = some(work, 0.7).flatMap((kind) => Array<WorkKind>(WORK[kind].weight).fill(kind));
    if (kinds.length + jobs.length === 0) return [];
    const trouble = kinds.length === 0 ? 0 : drawing.pick([0.1, 0.25, 0.5]);
    let atMs = 500;
    return Array.from({ length: steps }, (_, at) => {
      // Bursts and pauses.
      atMs += drawing.chance(0.5) ? drawing.below(50) : drawing.below(2 * STEP_MS);
      const kind = drawing.chance(trouble) || jobs.length === 0 ? drawing.pick(kinds) : drawing.pick(jobs);
      return { number: at + 1, atMs, host: drawing.below(hosts), kind };
    });
  }

  function perform({ number, host, kind }: Planned): void {
    const own = dice.fork(`step ${number}`);
    const station = stations[host] as Station;
    const name = station.life?.name ?? station.name;
    const tell = (what: string, who = name) => {
      log(who, what);
      done.push({ number, told: `${(timeline.nowMs / 1_000).toFixed(3)} ${who} ${what}` });
    };
    if (kind in WORK) {
      // Where that one is not there, the next one does it.
      const there = guests().filter(({ life }) => life.state === "up" && !life.isLeaving);
      const guest = there.find(({ life }) => life.host >= station.name) ?? there[0];
      if (!guest) return tell(`would do "${kind}", and nobody is there`);
      const { told, done: ended } = WORK[kind as WorkKind].work(guest, commons, own, number);
      tell(told, guest.life.name);
      const ticket = { told, guest };
      waiting.add(ticket);
      void ended.then(() => waiting.delete(ticket));
      return;
    }
    if (kind === "clockForward" || kind === "clockBack") happened(kind);
    tell(STRIKES[kind as keyof typeof STRIKES].strike(victims, station, own));
  }

  /** Calls that their callers wait for. */
  const waiting = new Set<{ told: string; guest: Guest }>();

  /** What is not finished yet, in the order in which it is looked at. */
  function unfinished(): string[] {
    const open: string[] = [];
    const nowMs = machine.wallMs();
    for (const { processId, state } of rows.all<ProcessRow>("processes"))
      if (state === "running") open.push(`process ${processId} runs`);
    for (const { inputId, record } of rows.all<InputRow>("inputs"))
      if (!isTerminal(record.currentState)) open.push(`input ${inputId} is ${record.currentState}`);
    for (const { runtimeId, run } of rows.all<RuntimeRow>("runtimes")) if (run) open.push(`${runtimeId} is in run ${run.runId}`);
    for (const { resource, leaseToken } of rows.all<LeaseRow>("leases")) if (leaseToken) open.push(`${resource} is leased`);
    for (const { told, guest } of waiting) if (guests().includes(guest)) open.push(`${guest.life.name} ${told}, and still waits`);
    for (const agent of rows.all<AgentRow>("agents")) open.push(...agentTrouble(agent, nowMs));
    return open;
  }

  function agentTrouble(agent: AgentRow, nowMs: number): string[] {
    const { agentId, bootId, ended } = agent;
    const host = bootId === undefined ? undefined : rows.get<HostRow>("hosts", bootId);
    const lastSeenMs = Math.max(agent.lastSeenAtMs, host?.lastSeenAtMs ?? 0);
    const isOnline = ended === undefined && host?.end === undefined && nowMs - lastSeenMs < TIMINGS.staleAfterMs;
    const keeper = guests().find(({ agents }) => agents.has(agentId));
    if (keeper && !isOnline) return [`agent ${agentId} of ${keeper.life.name} is offline`];
    if (!keeper && isOnline) return [`agent ${agentId} is online, and nobody has it`];
    return [];
  }

  /** A retired session runs nothing more until somebody recycles it. */
  function recycle(): void {
    const [guest] = guests();
    for (const [sessionId, session] of guest?.sessions ?? []) {
      const row = rows.get<RuntimeRow>("runtimes", session.runtimeId);
      if (row?.state === "retired")
        void session.recycle().catch((error: unknown) => guest?.ledger.failed(`recycle ${sessionId}`, error));
    }
  }

  try {
    for (const station of stations) station.boot();
    const planned = plan().filter(({ number }) => only?.includes(number) ?? true);
    for (const step of planned) timeline.after(step.atMs, () => perform(step));
    const isOver = () => failure !== undefined;
    await timeline.run((planned.at(-1)?.atMs ?? 0) + 5 * STEP_MS, isOver);

    log("all", "is calm from now on");
    isCalm = true;
    Object.assign(air.weather, { lost: 0, doubled: 0, delayed: 0 });
    for (const station of stations) {
      if (station.life) Object.assign(station.life, { slowness: 1, isFull: false });
      station.heal();
    }
    await timeline.run(timeline.nowMs + TIMINGS.pollMs + STEP_MS, isOver);
    notes.checkWaits();
    // What stood still by chance goes on elsewhere: every page is loaded anew.
    for (const [at, station] of stations.entries()) timeline.after(at * 2 * STEP_MS, () => station.reload(STEP_MS));
    const endMs = timeline.nowMs + CALM_MS;
    await timeline.run(timeline.nowMs + 2 * STEP_MS * (hosts + 1), isOver);
    while (!isOver() && timeline.nowMs < endMs && unfinished().length > 0) {
      recycle();
      await timeline.run(timeline.nowMs + STEP_MS, isOver);
    }
    if (!isOver()) for (const what of [...unfinished(), ...notes.unkept()]) complain("what can finish does", what);
  } catch (error) {
    complain("the world goes on", String((error as Error)?.stack ?? error));
  } finally {
    for (const station of stations) station.end();
    await timeline.run(timeline.nowMs, () => false);
    timeline.close();
  }
  return { seed, history, steps: done, faults: struck, commits, ...(failure && { failure }) };
}

/** A kernel that tells one of these is broken, whatever the weather. */
const BROKEN: ReadonlySet<ErrorCode> = new Set(["internal", "invalid", "version", "unsupported"]);

function isRunnable({ state }: RuntimeRow): boolean {
  return state !== undefined && state !== "stopped" && state !== "destroyed";
}
