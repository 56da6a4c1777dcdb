import type { Timings } from "../domain/time.js";
import { type Chronicle, createChronicle } from "./chronicle.js";
import { createVictims } from "./faults/victims.js";
import { createObserver, type Observer } from "./judge/observer.js";
import { createDice, type Dice } from "./machine/dice.js";
import { createLockService } from "./machine/locks.js";
import { createLife, createMachine, type Life, type Machine } from "./machine/machine.js";
import { createNetwork, type Network } from "./machine/network.js";
import type { ObservedRows } from "./machine/rows.js";
import { createSharedStorage } from "./machine/storage.js";
import { createTimeline } from "./machine/timeline.js";
import type { CheckedSimulation } from "./options.js";
import { createSteps, type Steps } from "./steps.js";
import { type Guest, openGuest } from "./tab/guest.js";
import { createTab, type Tab } from "./tab/tab.js";
import type { Commons } from "./works/work.js";
import { handlersOf, startApp } from "./works/workload.js";

/** Short times, so that much happens in a minute. */
export const TIMINGS: Timings = {
  leaseTtlMs: 6_000,
  leaseRenewMs: 2_000,
  heartbeatMs: 3_000,
  livenessTtlMs: 18_000,
  heartbeatFlushMs: 9_000,
  staleAfterMs: 30_000,
  sweepMs: 6_000,
  pollMs: 2_000,
  suspendAfterMs: 5_000,
};

/** One machine, its hosts and all that is known of them. */
export interface World {
  readonly dice: Dice;
  readonly machine: Machine;
  readonly network: Network;
  readonly rows: ObservedRows;
  readonly tabs: readonly Tab[];
  readonly guests: readonly Guest[];
  readonly commons: Commons;
  readonly steps: Steps;
  readonly observer: Observer;
  readonly chronicle: Chronicle;
}

export function createWorld({ seed, hosts, sabotage }: CheckedSimulation): World {
  const dice = createDice(`seed ${seed}`);
  const machine = createMachine(createTimeline());
  const { timeline } = machine;
  const chronicle = createChronicle(timeline);
  const { log, complain, happened } = chronicle;
  const network = createNetwork(machine, dice.fork("network"), happened);
  const locks = createLockService();
  const storage = createSharedStorage({
    machine,
    happened,
    sabotage,
    onCommit(commit) {
      chronicle.committed();
      observer.committed(commit);
    },
  });
  const { rows } = storage;
  const observer = createObserver({ machine, rows, timings: TIMINGS, log, complain });

  function open(life: Life, hasLocks: boolean): Promise<Guest> {
    const { generation } = storage;
    const ledger = observer.notes.open(life, () => storage.generation !== generation);
    if (!hasLocks) observer.lockless(life);
    const wiring = {
      storage: storage.placeFor(life),
      channel: network.channelFor(life),
      locks: hasLocks ? locks.clientFor(life) : undefined,
    };
    return openGuest({
      life,
      ledger,
      wiring,
      timings: TIMINGS,
      handlers: handlersOf(life, ledger, commons),
      log,
      complain,
    });
  }

  const held = (life: Life, of: "leases" | "locks") =>
    of === "locks" ? locks.heldBy(life) : observer.leasesOf(life).map(({ resource }) => `the lease of ${resource}`);
  const tabs = Array.from({ length: hosts }, (_, at) => {
    const name = `h${at + 1}`;
    return createTab({
      name,
      newLife: (boot) => createLife(machine, `${name}.${boot}`, dice.fork(`${name}.${boot}`)),
      open,
      startApp: (guest) => void startApp(guest, commons).catch((error: unknown) => guest.ledger.failed("settle", error)),
      after: (delayMs, run) => void timeline.after(delayMs, run),
      happened,
      log,
      failed: (error, life) => observer.notes.open(life, () => life.state === "gone").failed("createKernel", error),
      closed: (life, askedMs, of) => observer.closed(life, askedMs, () => held(life, of)),
      nowMs: () => timeline.nowMs,
    });
  });
  const guests = () => tabs.flatMap(({ guest }) => guest ?? []);
  const commons = commonsOf(dice.fork("work"), machine, tabs, guests);
  const victims = createVictims({
    machine,
    network,
    tabs,
    expiriesOf: (life) => observer.leasesOf(life).map(({ expiresAtMs }) => expiresAtMs),
    networkTrouble: observer.networkTrouble,
    wipe() {
      storage.wipe();
      observer.wiped();
      commons.processes.length = 0;
      commons.flows.length = 0;
      commons.schedules.clear();
      commons.inputs.length = 0;
    },
    happened,
    log,
  });
  return {
    dice,
    machine,
    network,
    rows,
    tabs,
    get guests() {
      return guests();
    },
    commons,
    steps: createSteps({ dice, tabs, victims, commons, chronicle }),
    observer,
    chronicle,
  };
}

function commonsOf(dice: Dice, machine: Machine, tabs: readonly Tab[], guests: () => Guest[]): Commons {
  return {
    dice,
    processes: [],
    flows: [],
    schedules: new Set(),
    inputs: [],
    isCalm: false,
    latestWallMs: () => machine.latestWallMs,
    anyGuest: (chance) => {
      const all = guests();
      return all.length > 0 ? chance.pick(all) : undefined;
    },
    kill: (life) => tabs.find((tab) => tab.life === life)?.trap({ kind: "crash", left: 1 }, life.dice.below(3_000)),
  };
}
