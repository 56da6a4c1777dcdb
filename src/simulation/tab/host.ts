import type { Timings } from "../../domain/time.js";
import * as agents from "../../kernel/host/agents.js";
import { type Kernel, openKernel } from "../../kernel/kernel.js";
import { loaded } from "../../kernel/lazy.js";
import type { LazyParts } from "../../kernel/lazy-parts.js";
import type { KernelOptions } from "../../kernel/options.js";
import type { LoopStart, Platform } from "../../kernel/platform.js";
import * as definitions from "../../kernel/process/definition/defined-start.js";
import * as restarts from "../../kernel/process/restart.js";
import * as runs from "../../kernel/process/runs.js";
import * as schedules from "../../kernel/process/schedules/schedules.js";
import * as signals from "../../kernel/process/waits/send-signal.js";
import * as runtime from "../../kernel/runtime-store.js";
import * as archive from "../../kernel/session/archive.js";
import * as attendant from "../../kernel/session/attendance/attendant.js";
import * as turns from "../../kernel/session/executor.js";
import * as inputReads from "../../kernel/session/inputs/input-reads.js";
import * as ops from "../../kernel/session/operations.js";
import * as sessionView from "../../kernel/session/view/session-view.js";
import * as views from "../../kernel/session/view/view-sources.js";
import * as sealed from "../../kernel/vault/sealed.js";
import { createLoop } from "../../loop/loop.js";
import type { Locks } from "../../ports/locks.js";
import type { ChannelFactory } from "../../ports/notices.js";
import type { Seal } from "../../ports/seal.js";
import type { KernelStorage } from "../../ports/storage.js";
import * as grants from "../../stores/process/handles.js";
import * as leases from "../../stores/process/leases-by-hand.js";
import type { Life } from "../machine/machine.js";

export type Handlers = NonNullable<KernelOptions["handlers"]>;

/** What a life's kernel is wired to: the world's own, and nothing of the platform that the simulation runs on. */
export interface Wiring {
  readonly storage: KernelStorage;
  readonly channel: ChannelFactory;
  readonly locks: Locks | undefined;
}

const KERNEL = "simulated";

/** No seed decides how long code takes to load, so all code is loaded already. */
const LAZY_PARTS: LazyParts = {
  sealed: loaded(sealed),
  archive: loaded(archive),
  runtime: loaded(runtime),
  ops: loaded(ops),
  inputReads: loaded(inputReads),
  turns: loaded(turns),
  attendant: loaded(attendant),
  agents: loaded(agents),
  definitions: loaded(definitions),
  grants: loaded(grants),
  leases: loaded(leases),
  schedules: loaded(schedules),
  restarts: loaded(restarts),
  runs: loaded(runs),
  signals: loaded(signals),
  views: loaded(views),
  sessionView: loaded(sessionView),
};

export function openHost(life: Life, wiring: Wiring, timings: Timings, handlers: Handlers): Promise<Kernel> {
  const random = life.dice.fork("random");
  const platform: Platform = {
    clock: () => life.clock,
    random: random.bytes,
    storage: () => wiring.storage,
    channel: () => wiring.channel,
    locks: () => wiring.locks,
    seal: () => loaded(labelled(random.bytes)),
    origin: () => "simulation",
    farewellNotes: () => undefined,
    keepAlive: () => () => {},
    workers: () => false,
    inlineLoop: loaded((parts: LoopStart) => createLoop({ ...parts, farewellMs: 0 })),
    workerLoop() {
      throw new Error("there are no workers here");
    },
    lazyParts: LAZY_PARTS,
  };
  return openKernel({ name: KERNEL, hostId: life.host, loop: "inline", timings, handlers, log: false }, platform);
}

/** Seals nothing, but opens only what was sealed under the same key and context. */
function labelled(bytes: (count: number) => Uint8Array): Seal {
  const label = (key: unknown, context: string) => new TextEncoder().encode(JSON.stringify([key, context]));
  return {
    newKey: async () => [...bytes(4)].join("."),
    newKeyBytes: () => bytes(4),
    keyOf: async (loaded) => String(loaded),
    async seal(key, plain, context) {
      return { iv: label(key, context), sealed: plain.slice() };
    },
    async open(key, { iv, sealed }, context) {
      if (label(key, context).join() !== iv.join()) throw new Error("it was sealed under another key or context");
      return sealed.slice();
    },
  };
}
