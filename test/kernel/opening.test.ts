import { getEventListeners } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/adapters/clock-system.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { channelHub } from "../../src/conformance/kit/channel.fixture.js";
import { HoldfastError } from "../../src/domain/errors.js";
import type { KernelEvents } from "../../src/kernel/emitter.js";
import { platformRandom } from "../../src/kernel/host/ids.js";
import type { Loop } from "../../src/kernel/host/loop-contract.js";
import { type Kernel, openKernel } from "../../src/kernel/kernel.js";
import { lazy } from "../../src/kernel/lazy.js";
import type { LazyParts } from "../../src/kernel/lazy-parts.js";
import type { KernelOptions } from "../../src/kernel/options.js";
import type { LoopStart, Platform } from "../../src/kernel/platform.js";
import { createLoop } from "../../src/loop/loop.js";
import type { ChannelFactory } from "../../src/ports/notices.js";
import type { KernelStorage, StorageOpening } from "../../src/ports/storage.js";
import { type LockClient, lockService } from "../loop/locks-double.js";
import { gate, rounds } from "./rounds.js";

const NEWER = new HoldfastError("version", "a newer holdfast upgraded it");
const NOTHING = { connections: 0, channels: 0, locks: 0 };

/** The lazy parts: none of them is loaded while a kernel opens. */
const LAZY_PARTS = Object.fromEntries(
  ["sealed", "archive", "runtime", "ops", "turns", "agents", "runs"].map((name) => [
    name,
    lazy(name, () => Promise.reject(new Error("not here"))),
  ]),
) as unknown as LazyParts;

const kernels: Kernel[] = [];
afterEach(async () => {
  await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
});

/** A platform that counts what a kernel has open, and lets each wait of an opening end when the test says so. */
function ground(hasWorkers = false) {
  const storageIsThere = gate();
  const loopIsThere = gate();
  const locks = lockService().client("a");
  const hub = channelHub();
  const open = { connections: 0, channels: 0 };
  let opening: StorageOpening | undefined;
  const memory = memoryStorage();
  const storage: KernelStorage = {
    kind: "counted",
    async open(given) {
      opening = given;
      await storageIsThere.promise;
      const made = await memory.open(given);
      open.connections++;
      const close = async () => {
        open.connections--;
        await made.close();
      };
      return { ...made, close };
    },
  };
  const channel: ChannelFactory = (name) => {
    const made = hub(name);
    open.channels++;
    const close = made.close;
    made.close = () => {
      open.channels--;
      close();
    };
    return made;
  };
  const inHere = (parts: LoopStart): Loop => createLoop({ ...parts, farewellMs: 0 });
  const platform: Platform = {
    clock: systemClock,
    random: platformRandom,
    storage: () => storage,
    channel: () => channel,
    locks: () => locks,
    seal: () => undefined,
    origin: () => undefined,
    farewellNotes: () => undefined,
    keepAlive: () => () => {},
    workers: () => hasWorkers,
    inlineLoop: {
      loaded: inHere,
      load: async () => {
        await loopIsThere.promise;
        return inHere;
      },
    },
    workerLoop() {
      throw new Error("there are no workers here");
    },
    lazyParts: LAZY_PARTS,
  };
  return {
    storageIsThere,
    loopIsThere,
    channel,
    locks,
    tell: (...told: Parameters<StorageOpening["onState"]>) => opening?.onState(...told),
    open: async (options: Partial<KernelOptions> = {}) => {
      const kernel = await openKernel({ name: "opening", ...options }, platform);
      kernels.push(kernel);
      return kernel;
    },
    /** Waits for all that goes on by itself. */
    async left() {
      await rounds();
      const { held = [], pending = [] } = await locks.query();
      return { ...open, locks: held.length + pending.length };
    },
  };
}

describe("an opening whose signal aborts (A-27)", () => {
  const why = new Error("the user went on");
  const ABORTED = { name: "HoldfastError", code: "aborted", cause: why };

  async function aborted(at: (place: ReturnType<typeof ground>, abort: () => void) => Partial<KernelOptions> | void) {
    const place = ground();
    const abort = new AbortController();
    const options = at(place, () => abort.abort(why)) ?? {};
    const opening = place.open({ ...options, signal: abort.signal });
    await expect(opening).rejects.toMatchObject(ABORTED);
    expect(getEventListeners(abort.signal, "abort")).toEqual([]);
    return place;
  }

  it("while the storage opens rejects at once, and lets go of the connection that comes late", async () => {
    const place = await aborted((_, abort) => void setTimeout(abort, 5));
    place.loopIsThere.open();
    place.storageIsThere.open();
    expect(await place.left()).toEqual(NOTHING);
  });

  it("in the very moment in which the storage opens leaves nothing open", async () => {
    const place = await aborted(({ storageIsThere, loopIsThere }, abort) => {
      loopIsThere.open();
      setTimeout(() => {
        abort();
        storageIsThere.open();
      }, 5);
    });
    expect(await place.left()).toEqual(NOTHING);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("%i microtasks after the storage opened leaves nothing open", async (ticks) => {
    const place = await aborted(({ storageIsThere, loopIsThere }, abort) => {
      setTimeout(async () => {
        storageIsThere.open();
        for (let tick = 0; tick < ticks; tick++) await undefined;
        abort();
        loopIsThere.open();
      }, 5);
    });
    expect(await place.left()).toEqual(NOTHING);
  });

  it("while the loop's code is loaded leaves nothing open", async () => {
    const place = await aborted(({ storageIsThere }, abort) => {
      storageIsThere.open();
      setTimeout(abort, 20);
    });
    expect(await place.left()).toEqual(NOTHING);
    place.loopIsThere.open();
    expect(await place.left()).toEqual(NOTHING);
  });

  it("while it builds upon what is open leaves nothing open", async () => {
    const place = await aborted(({ storageIsThere, loopIsThere, channel }, abort) => {
      storageIsThere.open();
      loopIsThere.open();
      return {
        channel(name) {
          abort();
          return channel(name);
        },
      };
    });
    expect(await place.left()).toEqual(NOTHING);
  });

  it("right before it resolves, when all is made, leaves nothing open", async () => {
    const place = await aborted(({ storageIsThere, loopIsThere, locks }, abort) => {
      storageIsThere.open();
      loopIsThere.open();
      return {
        locks: {
          request(...asked: Parameters<LockClient["request"]>) {
            abort();
            return locks.request(...asked);
          },
          query: locks.query,
        } as LockClient,
      };
    });
    expect(await place.left()).toEqual(NOTHING);
  });

  it("while the storage is asked rejects, though that never answers", async () => {
    const place = await aborted((_, abort) => ({
      storage: {
        kind: "silent",
        open() {
          abort();
          return new Promise(() => {});
        },
      },
    }));
    expect(await place.left()).toEqual(NOTHING);
  });

  it("before it begins rejects and asks for no storage", async () => {
    const place = await aborted((_, abort) => abort());
    expect(await place.left()).toEqual(NOTHING);
  });

  it("after it is over closes the kernel", async () => {
    const place = ground();
    place.storageIsThere.open();
    place.loopIsThere.open();
    const abort = new AbortController();
    const kernel = await place.open({ signal: abort.signal });
    expect(await place.left()).toEqual({ connections: 1, channels: 2, locks: 1 });
    abort.abort(why);
    await kernel.close();
    expect(await place.left()).toEqual(NOTHING);
    expect(getEventListeners(abort.signal, "abort")).toEqual([]);
  });
});

describe("an opening that fails", () => {
  it("because the database was upgraded while the loop's code was loaded says so, and holds no lock", async () => {
    const place = ground();
    place.storageIsThere.open();
    const opening = place.open();
    await rounds();
    place.tell("upgrade-required", NEWER);
    place.loopIsThere.open();
    await expect(opening).rejects.toBe(NEWER);
    expect(await place.left()).toEqual(NOTHING);
  });

  it.each([0, 1, 2, 3, 4])("because the app's source of chance throws after %i calls leaves nothing open", async (nth) => {
    const place = ground();
    place.storageIsThere.open();
    place.loopIsThere.open();
    let calls = 0;
    const random = (count: number) => {
      if (++calls > nth) throw new Error("no chance today");
      return platformRandom(count);
    };
    await expect(place.open({ random })).rejects.toThrow("no chance today");
    expect(await place.left()).toEqual(NOTHING);
  });

  it("with an error of the storage's own is unavailable, with that as its cause", async () => {
    const place = ground();
    const cause = new Error("a broken disk");
    place.storageIsThere.fail(cause);
    await expect(place.open()).rejects.toMatchObject({ name: "HoldfastError", code: "unavailable", cause });
    expect(await place.left()).toEqual(NOTHING);
  });

  it("because the loop's code does not arrive leaves nothing open", async () => {
    const place = ground();
    place.storageIsThere.open();
    place.loopIsThere.fail(new HoldfastError("unavailable", "the code of the loop could not be loaded"));
    await expect(place.open()).rejects.toMatchObject({ code: "unavailable" });
    expect(await place.left()).toEqual(NOTHING);
  });
});

describe("what is told before the app can listen", () => {
  async function heardOf<E extends "storage" | "fault">(
    place: ReturnType<typeof ground>,
    event: E,
    options?: Partial<KernelOptions>,
  ) {
    const kernel = await place.open(options);
    const heard: KernelEvents[E][] = [];
    kernel.on(event, (told) => heard.push(told));
    await rounds();
    return { kernel, heard };
  }

  it("of the storage waits for the first listener", async () => {
    const place = ground();
    place.loopIsThere.open();
    setTimeout(() => {
      for (const state of ["blocked", "upgrading", "ready"] as const) place.tell(state);
      place.storageIsThere.open();
    }, 5);
    const { kernel, heard } = await heardOf(place, "storage");
    expect(heard.map(({ state }) => state).slice(0, 3)).toEqual(["blocked", "upgrading", "ready"]);
    const later: unknown[] = [];
    kernel.on("storage", (told) => later.push(told));
    await rounds();
    expect(later).toEqual([]);
  });

  it("of a storage that was ready at once is nothing", async () => {
    const place = ground();
    place.storageIsThere.open();
    place.loopIsThere.open();
    const { heard } = await heardOf(place, "storage");
    expect(heard).toEqual([]);
    place.tell("lost");
    place.tell("ready");
    expect(heard.map(({ state }) => state)).toEqual(["lost", "ready"]);
  });

  it("waits on where its first listener is taken off again at once", async () => {
    const place = ground();
    place.loopIsThere.open();
    setTimeout(() => {
      place.tell("blocked");
      place.storageIsThere.open();
    }, 5);
    const kernel = await place.open();
    kernel.on("storage", () => {})();
    await rounds();
    const heard: string[] = [];
    kernel.on("storage", ({ state }) => heard.push(state));
    await rounds();
    expect(heard).toEqual(["blocked", "ready"]);
  });

  it("of the database's end is heard by a listener of the same moment, and no lock is held", async () => {
    const place = ground();
    place.storageIsThere.open();
    place.loopIsThere.open();
    const opening = place.open();
    const ending = opening.then(() => place.tell("upgrade-required", NEWER));
    const kernel = await opening;
    await ending;
    const heard: unknown[] = [];
    kernel.on("storage", (told) => heard.push(told));
    await rounds();
    expect(heard).toEqual([{ state: "upgrade-required" }]);
    expect(await place.left()).toMatchObject({ locks: 0 });
  });

  it("is a fault of the host too, and of all that never were heard the newest sixteen", async () => {
    const place = ground();
    place.storageIsThere.open();
    place.loopIsThere.open();
    const refusing = {
      request: () => Promise.reject(new DOMException("no locks here", "SecurityError")),
      query: async () => ({}),
    };
    const { heard } = await heardOf(place, "fault", { locks: refusing as never });
    expect(heard).toEqual([expect.objectContaining({ area: "host", message: expect.stringContaining("no locks here") })]);
    const kernel = await place.open();
    for (let told = 0; told < 10; told++) for (const state of ["lost", "ready"] as const) place.tell(state);
    const states: string[] = [];
    kernel.on("storage", ({ state }) => states.push(state));
    await rounds();
    expect(states).toHaveLength(16);
  });
});

describe("a worker that is asked for and cannot be had", () => {
  const faultsOf = async (options: Partial<KernelOptions>, elsewhere?: boolean, hasWorkers?: boolean) => {
    const place = ground(hasWorkers);
    place.storageIsThere.open();
    place.loopIsThere.open();
    const faults: KernelEvents["fault"][] = [];
    const kernel = await place.open({ storage: { ...memoryStorage(), ...(elsewhere && { elsewhere }) }, ...options });
    kernel.on("fault", (fault) => faults.push(fault));
    await rounds();
    expect((await kernel.status()).loop).toBe("inline");
    return faults;
  };

  it("is told once, with the reason", async () => {
    const fault = (reason: string) => [{ area: "worker", code: "unsupported", message: expect.stringContaining(reason) }];
    expect(await faultsOf({ loop: "worker" }, true)).toEqual(fault("there are no workers here"));
    expect(await faultsOf({ loop: "worker", locks: false }, true)).toEqual(fault("passed in"));
    expect(await faultsOf({ loop: "worker" })).toEqual(fault("passed in"));
    // The shipped file knows IndexedDB alone.
    expect(await faultsOf({ loop: "worker" }, true, true)).toEqual(fault("serveLoop"));
  });

  it("is no trouble where nothing was asked for", async () => {
    expect(await faultsOf({})).toEqual([]);
    expect(await faultsOf({ loop: "inline" })).toEqual([]);
  });
});

describe("the status", () => {
  it("calls the storage what it calls itself", async () => {
    const place = ground();
    place.storageIsThere.open();
    place.loopIsThere.open();
    expect((await (await place.open()).status()).storage).toBe("counted");
  });
});
