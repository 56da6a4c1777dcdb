import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { presenceMessageOf } from "../../src/kernel/host/presence-message.js";
import { ABOUT, type Change, type ChannelFactory } from "../../src/ports/notices.js";
import { canonical } from "../differential/canonical.js";
import { hostile, type Make, spoil, spoiling } from "./hostile-values.js";
import { buildWorld, readTables, settled } from "./world.js";

const SEED = 20_260_731;
const IDS = ["p", "s", "rt:session:s", "host", "__proto__", "", "\ud800"];

type Channel = ReturnType<ChannelFactory>;

/** A channel of the app's own: messages arrive as they are, not as copies. */
function wiretap(): { factory: ChannelFactory; say(name: "notices" | "seen", data: unknown): void; said: unknown[] } {
  const open: [string, Channel][] = [];
  const said: unknown[] = [];
  return {
    said,
    factory(name) {
      const channel: Channel = { onmessage: null, postMessage: (message) => void said.push(message), close: () => {} };
      open.push([name, channel]);
      return channel;
    },
    say(to, data) {
      for (const [name, channel] of open) if (name.endsWith(":seen") === (to === "seen")) channel.onmessage?.({ data });
    },
  };
}

/** Well-formed notices of events that did not happen. */
const lies = fc.record({
  v: fc.constantFrom(1, 1, 1, 2),
  changes: fc.array(
    fc.record({
      about: fc.constantFrom(...ABOUT),
      id: fc.constantFrom(...IDS),
      sequence: fc.maxSafeInteger(),
      member: fc.string(),
    }),
    { maxLength: 5 },
  ),
});

const isText = fc.constantFrom(...IDS, "boot", "x".repeat(2_000));
const time = fc.constantFrom(0, 1_700_000_000_000, Number.MAX_SAFE_INTEGER, -1, Number.NaN);
const rumours = fc.record(
  {
    v: fc.constantFrom(1, 1, 1, 2),
    from: fc.constantFrom("other", "x".repeat(2_000)),
    atMs: time,
    boot: isText,
    beat: fc.record({ seenAtMs: time, ttlMs: fc.constantFrom(1, 1e300, Number.POSITIVE_INFINITY, -1) }),
    joined: fc.array(isText),
    left: fc.array(isText),
    touched: fc.array(fc.tuple(isText, fc.constantFrom(1, 1e300, -1))),
    forgotten: fc.array(isText),
    asks: fc.constant(true),
    answers: fc.constant(true),
  },
  { requiredKeys: ["v", "from", "atMs"] },
);

const message = (good: fc.Arbitrary<object>): fc.Arbitrary<Make> =>
  fc.oneof(
    hostile,
    good.map((made) => () => made),
    fc.tuple(good, fc.array(spoiling, { minLength: 1, maxLength: 2 })).map(
      ([made, spoilings]) =>
        () =>
          spoil([made], spoilings)[0],
    ),
  );

describe("what anybody of the origin says over a channel", () => {
  it.each([
    ["notices", message(lies)],
    ["seen", message(rumours)],
  ] as const)("over that of %s stores nothing, throws nowhere, and every read goes on", async (name, messages) => {
    const property = fc.asyncProperty(fc.array(messages, { minLength: 20, maxLength: 40 }), async (list) => {
      const tap = wiretap();
      const world = await buildWorld({ channel: tap.factory });
      const { kernel, session, probed } = world;
      const of = (tap.said.find((one) => (one as { of?: unknown }).of !== undefined) as { of?: unknown } | undefined)?.of;
      session.subscribe(() => {});
      session.onTurn(async () => {});
      await settled(4);
      const rows = canonical(await readTables(probed.storage));
      const record = canonical(await kernel.processes.getProcess("p"));
      const wait = kernel.processes.awaitProcess("p");
      for (const make of list) {
        const data = make();
        tap.say(name, name === "seen" ? ofDatabase(data, of) : data);
      }
      await settled(8);
      expect(canonical(await readTables(probed.storage))).toBe(rows);
      expect(canonical(await kernel.processes.getProcess("p"))).toBe(record);
      expect((await kernel.hosts()).map(({ hostId, self }) => [hostId, self])).toEqual([["host", true]]);
      expect(canonical(await kernel.lifecycle.list())).toContain('"agentId": "p"');
      expect(await kernel.liveness.isAliveBatch(["p"])).toHaveProperty("ok");
      // The wait resolves all the same when the process really ends.
      await kernel.processes.completeProcess("p", { type: "success", value: 1 });
      expect(await wait).toEqual({ type: "success", value: 1 });
      await kernel.close();
    });
    await fc.assert(property, { seed: SEED, numRuns: 40 });
  });

  it("is told to listeners whole and as it was checked, or not at all", () => {
    const property = fc.property(message(lies), (make) => {
      const tap = wiretap();
      const notices = broadcastNotices("n", tap.factory);
      const heard: Change[] = [];
      notices.subscribe((changes) => heard.push(...changes));
      tap.say("notices", make());
      for (const change of heard) {
        expect(typeof change.id).toBe("string");
        expect(change.sequence === undefined || Number.isSafeInteger(change.sequence)).toBe(true);
        expect(change.member === undefined || typeof change.member === "string").toBe(true);
      }
    });
    fc.assert(property, { seed: SEED, numRuns: 3_000 });
  });

  it("is a message of who was seen only where each part of it is one", () => {
    const property = fc.property(message(rumours), (make) => {
      const data = ofDatabase(make(), "d");
      let read: ReturnType<typeof presenceMessageOf>;
      try {
        read = presenceMessageOf(structuredClone(data), "d");
      } catch {
        // The value cannot be cloned: no channel carries it.
        return;
      }
      if (!read) return;
      for (const id of [...(read.joined ?? []), ...(read.left ?? []), ...(read.forgotten ?? [])])
        expect(id.length).toBeGreaterThan(0);
      for (const [id, ttlMs] of read.touched ?? []) expect(typeof id === "string" && ttlMs > 0).toBe(true);
      expect(read.beat === undefined || (read.boot !== undefined && read.beat.ttlMs > 0)).toBe(true);
    });
    fc.assert(property, { seed: SEED, numRuns: 3_000 });
  });
});

/** Adds the database's id, which any page of the origin can know: messages without it are ignored. */
function ofDatabase(data: unknown, of: unknown): unknown {
  try {
    if (typeof data === "object" && data !== null && !Object.hasOwn(data, "of") && Object.isExtensible(data))
      Object.defineProperty(data, "of", { value: of, enumerable: true });
  } catch {
    // The value is a Proxy that takes no property.
  }
  return data;
}
