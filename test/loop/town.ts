// All code is loaded here: loading takes time that no clock of a town knows of.
import "../../src/kernel/session/executor.js";
import "../../src/kernel/process/runs.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { channelHub } from "../../src/conformance/kit/channel.fixture.js";
import { HoldfastError } from "../../src/domain/errors.js";
import type { KernelEvents } from "../../src/kernel/emitter.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import type { KernelOptions } from "../../src/kernel/options.js";
import { createKernel } from "../../src/platform.js";
import type { KernelStorage, Key, OpenStorage, Row } from "../../src/ports/storage.js";
import { SCHEMA, type TableName } from "../../src/stores/schema.js";
import { type Probe, probe } from "../stores/probe-storage.js";
import { lockService } from "./locks-double.js";
import { type SleepyClock, sleepyClock } from "./sleepy-clock.js";

/** Hosts that share one storage, one clock, one channel and one lock service, as the tabs of a browser do. */
export interface Town {
  readonly clock: SleepyClock;
  /** Opens a host; its id is its name. */
  host(name: string, options?: Partial<KernelOptions>): Promise<TownHost>;
  /** The storage itself, past every kernel. */
  rows(table: TableName): Promise<Row[]>;
  put(table: TableName, row: Row): Promise<void>;
  remove(table: TableName, key: Key): Promise<void>;
  close(): Promise<void>;
}

export interface TownHost {
  readonly name: string;
  readonly kernel: Kernel;
  readonly probed: Probe;
  readonly faults: KernelEvents["fault"][];
  readonly sweeps: KernelEvents["sweep"][];
  readonly lost: string[];
  /** No call to the host's storage succeeds any more; its Web Lock stays. */
  cutOff(): void;
  mend(): void;
  /** The tab is gone without a farewell: it reaches no storage, and its Web Lock is free. */
  die(): void;
}

export function buildTown(place: KernelStorage = memoryStorage()): Town {
  const clock = sleepyClock();
  const channel = channelHub();
  const locks = lockService();
  const kernels: Kernel[] = [];
  let raw: Promise<OpenStorage> | undefined;
  const open = () => {
    raw ??= place.open({ name: "town", schema: SCHEMA, durability: "strict", newDatabaseId: "town", onState: () => {} });
    return raw;
  };
  return {
    clock,
    async host(name, options = {}) {
      const probed = probe(place);
      const client = locks.client(name);
      const kernel = await createKernel({
        // A failed turn is tried again without a pause, but where a test asks for one.
        turnRetry: { attempts: 3, backoffMs: 0 },
        name: "town",
        hostId: name,
        storage: probed.storage,
        clock,
        loop: "inline",
        channel,
        locks: client,
        log: false,
        ...options,
      });
      kernels.push(kernel);
      const host: TownHost = {
        name,
        kernel,
        probed,
        faults: [],
        sweeps: [],
        lost: [],
        cutOff() {
          probed.hooks.open = () => {
            throw new HoldfastError("unavailable", `${name} is cut off`);
          };
        },
        mend() {
          probed.hooks = {};
        },
        die() {
          host.cutOff();
          client.die();
        },
      };
      kernel.on("fault", (fault) => host.faults.push(fault));
      kernel.on("sweep", (sweep) => host.sweeps.push(sweep));
      kernel.on("leaseLost", ({ processId }) => host.lost.push(processId));
      return host;
    },
    async rows(table) {
      return await (await open()).transact([table], "read", (tx) => tx.range(table, {}));
    },
    async put(table, row) {
      await (await open()).transact([table], "write", async (tx) => tx.write([{ table, put: row }]));
    },
    async remove(table, key) {
      await (await open()).transact([table], "write", async (tx) => tx.write([{ table, drop: key }]));
    },
    async close() {
      await Promise.all(kernels.map((kernel) => kernel.close()));
      await (await raw)?.close();
    },
  };
}
