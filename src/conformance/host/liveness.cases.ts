import { HoldfastError } from "../../domain/errors.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { ChannelFactory } from "../../ports/notices.js";
import type { KernelStorage } from "../../ports/storage.js";
import { noopLivenessStore } from "../../stores/host/liveness.js";
import { channelHub } from "../kit/channel.fixture.js";
import { casesOn, count, type OpenFixture, type Runner, refused, type Setup } from "../kit/fixture.js";
import { hostileObjects, noText } from "../kit/hostile.js";

/** Presence: agents that were seen just now, from memory. */
export function livenessCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  /** Several kernels over one channel, after each has heard the others. */
  async function neighbours(setup: Setup, many: number, more = {}): Promise<{ kernels: Kernel[]; channel: ChannelFactory }> {
    const channel = channelHub();
    const kernels: Kernel[] = [];
    for (const _ of count(many)) kernels.push(await setup.open({ channel, ...more }));
    await setup.clock.advance(250);
    return { kernels, channel };
  }

  /** The alive ones among the ids, or undefined where that is not known. */
  async function alive(kernel: Kernel | undefined, ...ids: string[]): Promise<string[] | undefined> {
    const answer = await kernel?.liveness.isAliveBatch(ids);
    return answer?.ok ? [...answer.alive].filter(([, lives]) => lives).map(([id]) => id) : undefined;
  }

  promise("a touched id is alive everywhere, another one nowhere, and every id is in the answer (V-1, V-9)", async (setup) => {
    const { kernels } = await neighbours(setup, 3);
    await kernels[0]?.liveness.touch("a", 1_000);
    await setup.clock.advance(1);
    for (const { liveness } of kernels)
      expect(await liveness.isAliveBatch(["b", "a", "b", "", "a"])).toEqual({
        ok: true,
        alive: new Map([
          ["b", false],
          ["a", true],
          ["", false],
        ]),
      });
  });

  promise("a record lives until its very expiry, to the millisecond (V-2, V-13, V-14)", async (setup) => {
    const { kernels } = await neighbours(setup, 2);
    await kernels[0]?.liveness.touch("a", 1_000);
    await setup.clock.advance(999);
    for (const kernel of kernels) expect(await alive(kernel, "a")).toEqual(["a"]);
    await setup.clock.advance(1);
    for (const kernel of kernels) expect(await alive(kernel, "a")).toEqual([]);
  });

  promise("the last touch counts, also to shorten (V-3)", async (setup) => {
    const { kernels } = await neighbours(setup, 2);
    await kernels[0]?.liveness.touch("a", 5_000);
    await kernels[0]?.liveness.touch("a", 100);
    await setup.clock.advance(100);
    for (const kernel of kernels) expect(await alive(kernel, "a")).toEqual([]);
  });

  promise("forgetting kills at once, everywhere; of an unknown or an empty id it does nothing (V-4)", async (setup) => {
    const { kernels } = await neighbours(setup, 2);
    const [first, second] = kernels;
    await first?.liveness.touch("a", 5_000);
    await first?.liveness.touch("b", 5_000);
    await setup.clock.advance(1);
    for (const id of ["a", "nobody", ""]) await second?.liveness.forget(id);
    for (const wrong of Object.values(noText())) await second?.liveness.forget(wrong as never);
    expect(await alive(second, "a", "b")).toEqual(["b"]);
    await setup.clock.advance(1);
    expect(await alive(first, "a", "b")).toEqual(["b"]);
  });

  promise("what cannot be an id or a time is refused, and leaves no record (V-5, V-12)", async (setup) => {
    const { kernels } = await neighbours(setup, 1);
    const [kernel] = kernels;
    if (!kernel) return;
    await refused(kernel.liveness.touch("", 1_000), "invalid", "empty runtime id");
    for (const wrong of Object.values(noText()))
      await refused(kernel.liveness.touch(wrong as never, 1_000), "invalid", "runtimeId");
    const { NaN: notANumber, POSITIVE_INFINITY } = Number;
    for (const ttlMs of [0, -1, notANumber, POSITIVE_INFINITY, "1000", null, undefined, {}])
      await refused(kernel.liveness.touch("a", ttlMs as never), "invalid", "ttlMs");
    expect(await alive(kernel, "", "a")).toEqual([]);
    await kernel.liveness.touch("a", 0.5);
    expect(await alive(kernel, "a")).toEqual(["a"]);
  });

  promise(
    "without a channel there is nothing: touches are refused before anything else, and no answer is given (V-6, V-7)",
    async ({ kernel: { liveness } }) => {
      expect(liveness.available()).toBe(false);
      for (const id of ["a", ""]) await refused(liveness.touch(id, 1_000), "unavailable");
      await refused(liveness.touch("a", -1), "unavailable");
      for (const ids of [[], ["a"], ["", "a"]]) expect(await liveness.isAliveBatch(ids)).toEqual({ ok: false });
      await liveness.forget("a");
    },
  );

  promise("no answer has part of one, whatever is asked (V-8)", async (setup) => {
    const { kernels } = await neighbours(setup, 1);
    const broken = Object.defineProperty(["a", "b"], 1, { get: () => JSON.parse("{") });
    for (const wrong of [undefined, null, 5, {}, Object.create(null), broken, ...Object.values(hostileObjects())])
      expect(await kernels[0]?.liveness.isAliveBatch(wrong as never)).toEqual({ ok: false });
  });

  promise(
    "who has just come does not know yet, not even of nobody; it hears from the others, or finds after 250 ms that there are none (V-7)",
    async (setup) => {
      const { kernels, channel } = await neighbours(setup, 1);
      await kernels[0]?.liveness.touch("a", 60_000);
      await kernels[0]?.agent("b");
      const late = await setup.open({ channel });
      expect([late.liveness.available(), await alive(late), await alive(late, "a")]).toEqual([true, undefined, undefined]);
      await setup.clock.advance(1);
      expect(await alive(late, "a", "b", "c")).toEqual(["a", "b"]);

      const alone = await setup.open({ channel: channelHub() });
      await setup.clock.advance(249);
      expect(await alive(alone)).toBe(undefined);
      await setup.clock.advance(1);
      expect([await alive(alone), await alive(alone, "a")]).toEqual([[], []]);
    },
  );

  promise("the others believe no more than the kernel's own time to live", async (setup) => {
    const { kernels } = await neighbours(setup, 2);
    await kernels[0]?.liveness.touch("a", 10_000_000);
    await setup.clock.advance(89_999);
    expect(await alive(kernels[1], "a")).toEqual(["a"]);
    await setup.clock.advance(1);
    expect(await alive(kernels[1], "a")).toEqual([]);
  });

  promise("registering and beating are seen, and deregistering is forgotten (Y-16, Y-21, V-84)", async (setup) => {
    const { kernels } = await neighbours(setup, 2);
    const [first, second] = kernels;
    await first?.lifecycle.register("a");
    await setup.clock.advance(1);
    expect([await alive(first, "a"), await alive(second, "a")]).toEqual([["a"], ["a"]]);
    await setup.clock.advance(80_000);
    await second?.lifecycle.heartbeat("a");
    await setup.clock.advance(80_000);
    expect([await alive(first, "a"), await alive(second, "a")]).toEqual([["a"], ["a"]]);
    await first?.lifecycle.deregister("a");
    await setup.clock.advance(1);
    expect([await alive(first, "a"), await alive(second, "a")]).toEqual([[], []]);
  });

  promise("what could not be deregistered is not forgotten either: the row is marked first (Y-16)", async (setup) => {
    let trouble = false;
    const storage = tapped(setup.storage, () => {
      if (trouble) throw new HoldfastError("unavailable", "trouble");
    });
    const { kernels } = await neighbours(setup, 1, { storage });
    const [kernel] = kernels;
    if (!kernel) return;
    await kernel.lifecycle.register("a");
    trouble = true;
    await refused(kernel.lifecycle.deregister("a"), "unavailable");
    trouble = false;
    expect(await alive(kernel, "a")).toEqual(["a"]);
    await kernel.lifecycle.deregister("a");
    expect(await alive(kernel, "a")).toEqual([]);
  });

  promise("agents that a host beats for are alive everywhere, and dead when they are let go", async (setup) => {
    const { kernels } = await neighbours(setup, 2, { loop: "inline" });
    const agents = await Promise.all(["a", "b"].map((id) => kernels[0]?.agent(id)));
    for (const _ of count(20)) await setup.clock.advance(15_000);
    expect(await alive(kernels[1], "a", "b")).toEqual(["a", "b"]);
    await agents[0]?.[Symbol.asyncDispose]();
    await setup.clock.advance(1);
    expect([await alive(kernels[0], "a", "b"), await alive(kernels[1], "a", "b")]).toEqual([["b"], ["b"]]);
  });

  promise("a record of somebody who is not registered makes nobody online (Y-20)", async (setup) => {
    const { kernels } = await neighbours(setup, 1);
    const [kernel] = kernels;
    await kernel?.lifecycle.register("gone");
    await kernel?.lifecycle.deregister("gone");
    for (const id of ["gone", "nobody"]) await kernel?.liveness.touch(id, 1_000);
    expect(await kernel?.lifecycle.list({ status: "online" })).toEqual([]);
  });

  promise("another database's records are not seen, over the same channel (V-11)", async (setup) => {
    const hub = channelHub();
    // One channel for every name: each kernel hears all others.
    const channel: ChannelFactory = () => hub("one for all");
    const kernel = await setup.open({ channel });
    const other = await setup.open({ channel, name: `${setup.name}-2` });
    await setup.clock.advance(250);
    await kernel.liveness.touch("a", 1_000);
    await setup.clock.advance(1);
    expect([await alive(kernel, "a"), await alive(other, "a")]).toEqual([["a"], []]);
    expect((await other.status()).dropped > 0).toBe(true);
  });

  promise("ten thousand ids are touched, asked for and forgotten without a look at the storage (V-7, V-8)", async (setup) => {
    let transactions = 0;
    const storage = tapped(setup.storage, () => transactions++);
    const { kernels } = await neighbours(setup, 1, { storage });
    const [kernel] = kernels;
    await kernel?.lifecycle.list();
    expect(transactions > 0).toBe(true);
    transactions = 0;
    const ids = count(10_000).map((n) => `a${n}`);
    for (const id of ids.slice(0, 100)) await kernel?.liveness.touch(id, 1_000);
    expect((await alive(kernel, ...ids))?.length).toBe(100);
    expect(await alive(kernel)).toEqual([]);
    for (const id of ids.slice(0, 99)) await kernel?.liveness.forget(id);
    expect(await alive(kernel, ...ids)).toEqual(["a100"]);
    expect(transactions).toBe(0);
  });

  promise("the store that does nothing takes every touch and knows nothing (V-10)", async () => {
    const nothing = noopLivenessStore();
    await nothing.touch("a", 1_000);
    await nothing.touch("", -1);
    await nothing.forget("a");
    expect([nothing.available(), await nothing.isAliveBatch(["a"])]).toEqual([false, { ok: false }]);
  });
}

/** The same storage. An error that `before` throws rejects the transaction. */
function tapped(inner: KernelStorage, before: () => void): KernelStorage {
  return {
    kind: inner.kind,
    async open(opening) {
      const opened = await inner.open(opening);
      return {
        databaseId: opened.databaseId,
        durability: opened.durability,
        async transact(...call) {
          before();
          return await opened.transact(...call);
        },
        close: () => opened.close(),
      };
    },
  };
}
