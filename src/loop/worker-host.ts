import { expose, transferHandlers } from "comlink";
import { systemClock } from "../adapters/clock-system.js";
import { platformLocks } from "../adapters/locks-web.js";
import { indexedDbStorage } from "../adapters/storage-indexeddb.js";
import { platformChannel } from "../corridor/notices.js";
import { layGround } from "../kernel/ground.js";
import { createIds, platformRandom } from "../kernel/host/ids.js";
import type { LoopPage } from "../kernel/host/loop-contract.js";
import { SCHEMA } from "../stores/schema.js";
import { createLoop, FAREWELL_MS } from "./loop.js";
import { bounded, carryErrors, type WorkerConfig, type WorkerLoop } from "./wire.js";

/** Runs the loop for the page that started this worker, over a connection of its own. It does nothing outside a worker. */
export function serveLoop(): void {
  const scope = globalThis as { WorkerGlobalScope?: abstract new () => unknown };
  if (typeof scope.WorkerGlobalScope !== "function" || !(globalThis instanceof scope.WorkerGlobalScope)) return;
  carryErrors(transferHandlers);
  let stopLoop: (() => Promise<void>) | undefined;
  let poke: WorkerLoop["poke"] = () => {};
  let failedTurns = () => 0;

  const workerLoop: WorkerLoop = {
    async start(config, page) {
      const clock = systemClock();
      const ids = createIds(clock, platformRandom);
      const storage = await indexedDbStorage().open({
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
    renewed: (report) => within(page.renewed(report)),
    moved: (moves) => within(page.moved(moves)),
    swept: (report) => within(page.swept(report)),
    // Not every thrown value can be sent.
    fault: ({ error: _, ...fault }) => within(page.fault(fault)),
  };
}
