import { expose, transferHandlers } from "comlink";
import { systemClock } from "../adapters/clock-system.js";
import { platformLocks } from "../adapters/locks-web.js";
import { indexedDbStorage } from "../adapters/storage-indexeddb.js";
import { platformChannel } from "../corridor/notices.js";
import { optionsOf } from "../domain/check.js";
import { HoldfastError, invalid } from "../domain/errors.js";
import { layGround } from "../kernel/ground.js";
import { createIds, platformRandom } from "../kernel/host/ids.js";
import type { LoopPage } from "../kernel/host/loop-contract.js";
import { checkStorage } from "../kernel/options.js";
import type { Clock } from "../ports/clock.js";
import type { KernelStorage } from "../ports/storage.js";
import { SCHEMA } from "../stores/schema.js";
import { createLoop, FAREWELL_MS } from "./loop.js";
import { bounded, carryErrors, type WorkerConfig, type WorkerLoop } from "./wire.js";

/** How long a page's start waits for a worker file that has yet to call `serveLoop`. */
const SERVE_WAIT_MS = 5_000;

interface Served {
  readonly storage: KernelStorage | undefined;
}

let served: Served | undefined;
let tellServed: (served: Served) => void = () => {};
const whenServed = new Promise<Served>((resolve) => {
  tellServed = resolve;
});
/** A page's loop was started with the storage that every worker has. */
let isDefaultUsed = false;

/**
 * For a worker file of the app's own that brings its own storage: one that opens the same databases as the page's `storage`, which says
 * `elsewhere: true` and is of the same kind. Without a storage it is IndexedDB, as in a file that only imports this module. Call it
 * once, before the file's first `await`. Throws `invalid` for a broken option, a second call, and one that comes after a page's loop
 * was started; `unsupported` outside of a worker.
 */
export function serveLoop(options: { storage?: KernelStorage } = {}): void {
  if (!isInWorker()) throw new HoldfastError("unsupported", "serveLoop works in a worker alone");
  const { storage: given } = optionsOf("serveLoop", options, ["storage"]);
  const storage = given === undefined ? undefined : checkStorage(given, "options.storage");
  if (served) throw invalid("serveLoop was called already: a worker serves one loop");
  if (isDefaultUsed && storage) throw invalid("serveLoop came too late: call it before the first await of the worker's file");
  served = { storage };
  tellServed(served);
}

/** A page may ask before `serveLoop` was called: where its storage is none that every worker has, it waits for that call. */
async function storageFor(kind: string, clock: Clock): Promise<KernelStorage> {
  const isDefault = kind === "indexeddb";
  isDefaultUsed = isDefault && !served?.storage;
  const { storage } = isDefault ? (served ?? {}) : await bounded(clock, whenServed, SERVE_WAIT_MS, "serveLoop");
  const found = storage ?? indexedDbStorage();
  if (found.kind === kind) return found;
  throw new HoldfastError("unsupported", `the page's storage is of kind "${kind}", the worker's of kind "${found.kind}"`);
}

function isInWorker(): boolean {
  const scope = globalThis as { WorkerGlobalScope?: abstract new () => unknown };
  return typeof scope.WorkerGlobalScope === "function" && globalThis instanceof scope.WorkerGlobalScope;
}

/** Runs the loop for the page that started this worker, over a connection of its own. It does nothing outside a worker. */
export function answerPage(): void {
  if (!isInWorker()) return;
  carryErrors(transferHandlers);
  let stopLoop: (() => Promise<void>) | undefined;
  let poke: WorkerLoop["poke"] = () => {};
  let failedTurns = () => 0;

  const workerLoop: WorkerLoop = {
    async start(config, page) {
      const clock = systemClock();
      const ids = createIds(clock, platformRandom);
      const place = await storageFor(config.storageKind, clock);
      const storage = await place.open({
        name: config.name,
        schema: SCHEMA,
        durability: config.durability,
        newDatabaseId: config.databaseId,
        databaseId: config.databaseId,
        onState: () => {},
      });
      const ground = await layGround({
        storage,
        clock,
        timings: config.timings,
        channel: platformChannel(),
        locks: platformLocks(),
        tableId: ids.uuid(),
        bootId: () => undefined,
      });
      ground.presence.open();
      const loop = createLoop({
        ...ground,
        retention: config.retention,
        page: boundedPage(page, config),
        farewellMs: FAREWELL_MS,
        newNonce: ids.nonce,
      });
      poke = loop.poke;
      failedTurns = () => loop.failedTurns;
      stopLoop = async () => {
        await loop.stop();
        await ground.close();
      };
    },
    poke: (processIds) => poke(processIds),
    ping: () => ({ failedTurns: failedTurns() }),
    async stop() {
      await stopLoop?.();
    },
  };
  expose(workerLoop);
}

/** Bounds every call to a page, which may be blocked, frozen or gone. The loop itself bounds a pulse. */
function boundedPage(page: LoopPage, { timings }: WorkerConfig): LoopPage {
  const clock = systemClock();
  const within = <T>(call: Promise<T>) => bounded(clock, call, timings.leaseRenewMs / 2, "the page");
  return {
    pulse: (told) => page.pulse(told),
    run: (claims, asOfMs) => within(page.run(claims, asOfMs)),
    limitKeys: (processes) => within(page.limitKeys(processes)),
    schedulesDue: (sinceMs) => within(page.schedulesDue(sinceMs)),
    renewed: (report) => within(page.renewed(report)),
    moved: (moves) => within(page.moved(moves)),
    swept: (report) => within(page.swept(report)),
    // Not every thrown value can be sent.
    fault: ({ error: _, ...fault }) => within(page.fault(fault)),
  };
}
