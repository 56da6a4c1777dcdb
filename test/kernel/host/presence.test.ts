import { beforeEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { channelHub } from "../../../src/conformance/kit/channel.fixture.js";
import { createPresence, type Presence } from "../../../src/kernel/host/presence.js";
import type { Locks } from "../../../src/ports/locks.js";
import type { ChannelFactory } from "../../../src/ports/notices.js";
import { lockService } from "../../loop/locks-double.js";
import { type Tap, tap } from "../../loop/tapped-channel.js";
import { rounds } from "../rounds.js";

const TTL = 90_000;
const NAME = "db:seen";

let clock: ReturnType<typeof manualClock>;
let hub: ChannelFactory;
beforeEach(() => {
  clock = manualClock();
  hub = channelHub();
});

interface Table extends Presence {
  readonly air: Tap;
}

/** A page's table, whose boot id is its name; a worker's has none. */
function table(name: string, more: { locks?: Locks; isWorker?: boolean; channel?: ChannelFactory } = {}): Table {
  const air = tap(hub);
  const presence = createPresence({
    channel: more.channel ?? air.channel,
    name: NAME,
    databaseId: "db",
    clock,
    locks: more.locks,
    lockPrefix: "host:",
    ttlMs: TTL,
    tableId: `table of ${name}`,
    bootId: () => (more.isWorker ? undefined : name),
  });
  presence.open();
  return Object.assign(presence, { air });
}

/** A table that has waited for the others in vain, and so knows all there is. */
async function settled(name: string, more: Parameters<typeof table>[1] = {}): Promise<Table> {
  const made = table(name, more);
  await clock.advance(250);
  return made;
}

/** Any other page of the origin. */
function stranger() {
  const channel = hub(NAME);
  const head = () => ({ v: 1, of: "db", from: "a stranger", atMs: clock.now() });
  return {
    post: async (message: unknown) => {
      channel.postMessage(message);
      await rounds(2);
    },
    say: async (said: object) => {
      channel.postMessage({ ...head(), ...said });
      await rounds(2);
    },
  };
}

const alive = async ({ store }: Presence, ...ids: string[]) => {
  const answer = await store.isAliveBatch(ids);
  return answer.ok ? ids.filter((id) => answer.alive.get(id)) : "unknown";
};
const said = ({ air }: Table, part: string) => air.said.filter(({ message }) => message[part] !== undefined);
const saidIds = (one: Table, part: string) => said(one, part).flatMap(({ message }) => message[part] as string[]);
const ids = (count: number, prefix = "id") => Array.from({ length: count }, (_, n) => `${prefix} ${n}`);

describe("tables that hear each other", () => {
  it("believe a touch for its time and not a millisecond longer, and the last one counts (V-2, V-3, V-13, V-14)", async () => {
    const [a, b] = [await settled("a"), await settled("b")];
    await a.store.touch("x", 1_000);
    await a.store.touch("y", 80_000);
    await a.store.touch("y", 500);
    await rounds();
    await clock.advance(499);
    for (const one of [a, b]) expect(await alive(one, "x", "y")).toEqual(["x", "y"]);
    await clock.advance(1);
    for (const one of [a, b]) expect(await alive(one, "x", "y")).toEqual(["x"]);
    await clock.advance(500);
    for (const one of [a, b]) expect(await alive(one, "x", "y")).toEqual([]);
  });

  it("hear of ten thousand members once, and from then on of one beat (V-50)", async () => {
    const [a, b] = [await settled("a"), await settled("b")];
    const members = ids(10_000);
    for (const id of members) a.join("a", [id]);
    await rounds();
    expect(await alive(b, ...members)).toHaveLength(10_000);
    expect(said(a, "joined").length).toBe(3);
    const from = a.air.said.length;
    await clock.advance(15_000);
    a.beat("a");
    await rounds();
    expect(a.air.said.length - from).toBe(1);
    await clock.advance(TTL - 1);
    expect(await alive(b, ...members)).toHaveLength(10_000);
    await clock.advance(1);
    expect(await alive(b, ...members)).toEqual([]);
  });

  it("forget at once, everywhere (V-4)", async () => {
    const [a, b] = [await settled("a"), await settled("b")];
    await a.store.touch("x", TTL);
    await rounds();
    await b.store.forget("x");
    await b.store.forget("nobody");
    await b.store.forget("");
    await rounds();
    for (const one of [a, b]) expect(await alive(one, "x", "")).toEqual([]);
    expect(a.dropped + b.dropped).toBe(0);
  });

  it("hear nothing of another database's (V-11)", async () => {
    const a = await settled("a");
    await stranger().say({ of: "other", touched: [["x", 1_000]] });
    expect(await alive(a, "x")).toEqual([]);
    expect(a.dropped).toBe(1);
  });
});

describe("a newcomer", () => {
  it("knows nothing until it has heard, also not that nobody was asked for (V-7, V-8)", async () => {
    const a = table("a");
    expect(await a.store.isAliveBatch([])).toEqual({ ok: false });
    expect(await a.store.isAliveBatch(["x"])).toEqual({ ok: false });
    expect(a.store.available()).toBe(true);
    await clock.advance(249);
    expect(await alive(a)).toBe("unknown");
    await clock.advance(1);
    expect(await a.store.isAliveBatch([])).toEqual({ ok: true, alive: new Map() });
  });

  it("is told members, beat and touches of the first that answers, where it is unknown which hosts there are", async () => {
    const a = await settled("a");
    a.join("a", ["member"]);
    a.beat("a");
    await a.store.touch("touched", 40_000);
    await clock.advance(10_000);
    const b = table("b");
    await rounds();
    expect(await alive(b, "member", "touched")).toEqual(["member", "touched"]);
    await clock.advance(30_000);
    expect(await alive(b, "member", "touched")).toEqual(["member"]);
    expect(b.lastBeat("a")).toBe(clock.now() - 40_000);
  });

  it("waits for every host that holds a lock, and for no other", async () => {
    const service = lockService();
    for (const name of ["host:a", "host:b", "host:c", "something else"])
      void service.client(name).request(name, () => new Promise<void>(() => {}));
    await rounds();
    const locks = service.client("me");
    const b = table("b", { locks });
    const a = table("a", { locks });
    await rounds();
    expect(await alive(a)).toBe("unknown");
    table("c", { locks });
    await rounds();
    expect(await alive(a)).toEqual([]);
    expect(await alive(b)).toEqual([]);
  });

  it("that is alone by the locks waits for no host", async () => {
    const service = lockService();
    const locks = service.client("a");
    void locks.request("host:a", () => new Promise<void>(() => {}));
    await rounds();
    const a = table("a", { locks });
    await rounds();
    expect(await alive(a)).toEqual([]);
  });

  it("is not kept waiting by a host that does not answer", async () => {
    const service = lockService();
    void service.client("frozen").request("host:frozen", () => new Promise<void>(() => {}));
    await rounds();
    const a = table("a", { locks: service.client("a") });
    await clock.advance(249);
    expect(await alive(a)).toBe("unknown");
    await clock.advance(1);
    expect(await alive(a)).toEqual([]);
  });

  it("hears no answer from a worker, which has no members", async () => {
    const worker = await settled("w", { isWorker: true });
    table("a");
    await rounds();
    expect(said(worker, "answers")).toEqual([]);
  });
});

describe("a message that is none", () => {
  const head = () => ({ v: 1, of: "db", from: "a stranger", atMs: clock.now() });
  const holes = new Array(3);
  holes[1] = "x";
  const long = "x".repeat(1_025);
  const tooMany = ids(4_097);
  const cases: [string, () => unknown][] = [
    ...[undefined, null, 0, 1, "text", true, [], {}, new Map(), new Date(0)].map((value): [string, () => unknown] => [
      `is ${value === undefined ? "undefined" : JSON.stringify(value)}`,
      () => value,
    ]),
    ...[undefined, 0, 2, "1", 1.5, null].map((v): [string, () => unknown] => [
      `has version ${JSON.stringify(v)}`,
      () => ({ ...head(), v, boot: "h", joined: ["x"] }),
    ]),
    ...[undefined, "", "DB", "db ", 1, null].map((of): [string, () => unknown] => [
      `is of ${JSON.stringify(of)}`,
      () => ({ ...head(), of }),
    ]),
    ...[undefined, "", 1, long, {}].map((from): [string, () => unknown] => [
      `is from ${JSON.stringify(from)?.slice(0, 9)}`,
      () => ({ ...head(), from }),
    ]),
    ...[undefined, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, "0", new Date(0)].map(
      (atMs): [string, () => unknown] => [`was sent at ${String(atMs)}`, () => ({ ...head(), atMs })],
    ),
    ...["", 1, null, long, ["h"]].map((boot): [string, () => unknown] => [
      `names the boot ${JSON.stringify(boot).slice(0, 9)}`,
      () => ({ ...head(), boot }),
    ]),
    ...[null, 1, "beat", {}, { seenAtMs: 1 }, { ttlMs: 1 }, { seenAtMs: -1, ttlMs: 1 }, { seenAtMs: 1, ttlMs: 0 }].map(
      (beat): [string, () => unknown] => [`has the beat ${JSON.stringify(beat)}`, () => ({ ...head(), boot: "h", beat })],
    ),
    ["has a beat without a boot", () => ({ ...head(), beat: { seenAtMs: clock.now(), ttlMs: 1 } })],
    ["has a beat for ever", () => ({ ...head(), boot: "h", beat: { seenAtMs: 1, ttlMs: Number.POSITIVE_INFINITY } })],
    ...["joined", "left", "forgotten"].flatMap((part) =>
      [null, "x", { length: 1, 0: "x" }, ["x", 1], ["x", ""], ["x", null], ["x", long], tooMany, holes].map(
        (list): [string, () => unknown] => [
          `has ${part} ${JSON.stringify(list).slice(0, 30)}`,
          () => ({ ...head(), boot: "h", [part]: list }),
        ],
      ),
    ),
    ...[
      null,
      "x",
      [["x"]],
      [["x", 1, 1]],
      [["", 1]],
      [[1, 1]],
      [["x", 0]],
      [["x", -1]],
      [["x", "1"]],
      [{ 0: "x", 1: 1 }],
      ["x"],
    ].map((touched): [string, () => unknown] => [`has touched ${JSON.stringify(touched)}`, () => ({ ...head(), touched })]),
    ["has touched one for no number of milliseconds", () => ({ ...head(), touched: [["x", Number.NaN]] })],
    ["has touched one for ever", () => ({ ...head(), touched: [["x", Number.POSITIVE_INFINITY]] })],
    ["has touched too many", () => ({ ...head(), touched: tooMany.map((id) => [id, 1]) })],
    ["has touched with holes", () => ({ ...head(), touched: new Array(2) })],
    ...[false, 1, "true", null].flatMap((flag): [string, () => unknown][] => [
      [`asks ${JSON.stringify(flag)}`, () => ({ ...head(), asks: flag })],
      [`answers ${JSON.stringify(flag)}`, () => ({ ...head(), boot: "h", answers: flag })],
    ]),
  ];

  it.each(cases)("%s: it is dropped whole and counted", async (_, message) => {
    const a = await settled("a");
    a.join("a", ["own"]);
    const { post, say } = stranger();
    await say({ boot: "h", joined: ["x"], beat: { seenAtMs: clock.now(), ttlMs: TTL } });
    await clock.advance(100);
    const from = a.air.said.length;
    const wrong = message();
    await post(typeof wrong === "object" && wrong !== null && "v" in wrong ? { touched: [["y", 1_000]], ...wrong } : wrong);
    expect(a.dropped).toBe(1);
    expect(await alive(a, "own", "x", "y", "id 0", "undefined")).toEqual(["own", "x"]);
    expect(a.air.said.length).toBe(from);
  });

  it("nor is one's own echo, which is not counted", async () => {
    const a = await settled("a");
    await stranger().say({ from: "table of a", touched: [["x", 1_000]] });
    expect(await alive(a, "x")).toEqual([]);
    expect(a.dropped).toBe(0);
  });

  it("and parts of a later version are passed over", async () => {
    const a = await settled("a");
    await stranger().say({ touched: [["x", 1_000]], more: { of: "it" } });
    expect(await alive(a, "x")).toEqual(["x"]);
    expect(a.dropped).toBe(0);
  });
});

describe("absurd times", () => {
  it("vouch for one liveness time at most, from now", async () => {
    const a = await settled("a");
    const { say } = stranger();
    await say({ touched: [["x", Number.MAX_VALUE]], boot: "h", joined: ["y"], beat: { seenAtMs: 2 ** 53 - 1, ttlMs: 1e300 } });
    await say({ touched: [["z", 2 * TTL]], atMs: 2 ** 53 - 1 });
    expect(a.lastBeat("h")).toBe(clock.now());
    await clock.advance(TTL - 1);
    expect(await alive(a, "x", "y", "z")).toEqual(["x", "y", "z"]);
    await clock.advance(1);
    expect(await alive(a, "x", "y", "z")).toEqual([]);
    expect(a.lastBeat("h")).toBeUndefined();
  });

  it("that are over are over: it counts from when it was said", async () => {
    const a = await settled("a");
    const { say } = stranger();
    await say({ touched: [["late", TTL]], atMs: clock.now() - TTL + 1_000 });
    await say({ touched: [["too late", TTL]], atMs: clock.now() - TTL });
    await say({ boot: "h", joined: ["y"], beat: { seenAtMs: 0, ttlMs: TTL }, atMs: 0 });
    expect(await alive(a, "late", "too late", "y")).toEqual(["late"]);
    await clock.advance(1_000);
    expect(await alive(a, "late")).toEqual([]);
  });
});

describe("a flood", () => {
  it.each([
    ["touches", (some: string[]) => ({ touched: some.map((id) => [id, TTL]) })],
    ["members", (some: string[]) => ({ boot: "h", joined: some, beat: { seenAtMs: clock.now(), ttlMs: TTL } })],
  ])(
    "of %s is taken up to a bound; what did not fit is not known, until it is over anyway",
    async (_, words) => {
      const a = await settled("a");
      a.join("a", ["own"]);
      const { say } = stranger();
      for (let n = 0; n < 26; n++) await say(words(ids(4_096, `flood ${n}`)));
      expect(a.dropped).toBeGreaterThan(0);
      expect(await alive(a, "own")).toBe("unknown");
      expect(a.aliveOf(["own"])).toBeUndefined();
      await a.store.touch("mine", TTL);
      a.join("a", ["mine, too"]);
      await say({ asks: true });
      await rounds();
      expect(saidIds(a, "touched").length).toBeLessThanOrEqual(100_001);
      expect(saidIds(a, "joined")).toContain("mine, too");
      await clock.advance(TTL / 2);
      a.beat("a");
      await clock.advance(TTL / 2);
      expect(await alive(a, "own", "mine, too", "flood 0 0", "flood 25 4095")).toEqual(["own", "mine, too"]);
      const { dropped } = a;
      await say(words(ids(4_096, "after")));
      expect(await alive(a, ...ids(4_096, "after"))).toHaveLength(4_096);
      expect(a.dropped).toBe(dropped);
    },
    20_000,
  );

  it("of hosts is bounded, too", async () => {
    const a = await settled("a");
    const channel = hub(NAME);
    for (let n = 0; n <= 100_000; n++) {
      const beat = { seenAtMs: clock.now(), ttlMs: TTL };
      channel.postMessage({ v: 1, of: "db", from: "s", atMs: clock.now(), boot: `h ${n}`, beat });
    }
    await rounds(30);
    expect(a.dropped).toBeGreaterThan(0);
    expect(await alive(a)).toBe("unknown");
    a.beat("a");
    expect(a.lastBeat("a")).toBe(clock.now());
  }, 60_000);

  it("of questions is answered once in 100 ms, and the last one is answered, too", async () => {
    const a = await settled("a");
    a.join("a", ids(5_000));
    await clock.advance(100);
    const before = said(a, "answers").length;
    const { say } = stranger();
    const answers = () => said(a, "answers").length - before;
    for (let n = 0; n < 100; n++) await say({ asks: true });
    expect(answers()).toBe(1);
    await clock.advance(99);
    expect(answers()).toBe(1);
    await clock.advance(1);
    expect(answers()).toBe(2);
    await clock.advance(10_000);
    expect(answers()).toBe(2);
  });

  it("of words that take one's own members away is answered no more often", async () => {
    const a = await settled("a");
    a.join("a", ["own"]);
    await clock.advance(100);
    const before = said(a, "answers").length;
    const { say } = stranger();
    for (let n = 0; n < 100; n++) await say({ forgotten: ["own"] });
    await clock.advance(99);
    expect(said(a, "answers").length - before).toBe(1);
  });
});

describe("forged words of one's own members", () => {
  it.each([
    ["that they joined another host", { boot: "evil", joined: ["x", "y"] }],
    ["that they left", { boot: "a", left: ["x", "y"] }],
    ["that they are forgotten", { forgotten: ["x", "y"] }],
    ["that they joined another host, which they left", { boot: "evil", joined: ["x", "y"], left: ["x"] }],
    ["that their host was seen long ago", { boot: "a", beat: { seenAtMs: 1, ttlMs: 1 } }],
  ])("%s are healed, at their host and elsewhere", async (_, words) => {
    const [a, b] = [await settled("a"), await settled("b")];
    a.join("a", ["x", "y"]);
    await rounds();
    await stranger().say(words);
    for (let passed = 0; passed < TTL / 2; passed += 15_000) {
      await clock.advance(15_000);
      a.beat("a");
    }
    await rounds();
    for (const one of [a, b]) expect(await alive(one, "x", "y")).toEqual(["x", "y"]);
    a.leave("a", "x");
    await rounds();
    await clock.advance(TTL / 2);
    a.beat("a");
    await rounds();
    for (const one of [a, b]) expect(await alive(one, "x", "y")).toEqual(["y"]);
  });

  it("that another host has one is believed as long as that one beats, and the true owner has the last word", async () => {
    const [a, b] = [await settled("a"), await settled("b")];
    a.join("a", ["x"]);
    await rounds();
    b.join("b", ["x"]);
    await rounds();
    a.leave("a", "x");
    await rounds();
    await clock.advance(TTL);
    b.beat("b");
    await rounds();
    for (const one of [a, b]) expect(await alive(one, "x")).toEqual(["x"]);
  });
});

describe("an app's own channel", () => {
  /** A channel that hands messages on as they are, uncloned. */
  function ownChannel() {
    const open: { onmessage: ((event: { data: unknown }) => void) | null }[] = [];
    const posted: Record<string, unknown>[] = [];
    const factory: ChannelFactory = () => {
      const channel = {
        onmessage: null as ((event: { data: unknown }) => void) | null,
        postMessage: (message: unknown) => void posted.push(structuredClone(message) as Record<string, unknown>),
        close: () => {},
      };
      open.push(channel);
      return channel;
    };
    return { factory, posted, hear: (data: unknown) => open.at(-1)?.onmessage?.({ data }) };
  }
  const head = () => ({ v: 1, of: "db", from: "a stranger", atMs: clock.now() });
  const throwing = (part: string, rest: object) =>
    Object.defineProperty({ ...head(), ...rest }, part, {
      enumerable: true,
      get() {
        throw new Error("a hostile getter");
      },
    });

  it.each([
    ...["v", "of", "from", "atMs", "boot", "beat", "joined", "left", "touched", "forgotten", "asks", "answers"].map(
      (part): [string, () => unknown] => [`a getter of ${part} that throws`, () => throwing(part, {})],
    ),
    [
      "a proxy that throws",
      () =>
        new Proxy(
          {},
          {
            get: () => {
              throw new Error("a hostile proxy");
            },
          },
        ),
    ],
    [
      "a revoked proxy",
      () => {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      },
    ],
    [
      "a getter in a list",
      () => ({
        ...head(),
        boot: "h",
        joined: Object.defineProperty([], 0, {
          get: () => {
            throw new Error("no");
          },
          enumerable: true,
        }),
      }),
    ],
    ["a function", () => () => {}],
    ["a symbol", () => Symbol("message")],
    ["a bigint", () => 1n],
  ])("may hand on %s: it is dropped and counted, and nothing throws", async (_, message) => {
    const { factory, hear } = ownChannel();
    const a = await settled("a", { channel: factory });
    expect(() => hear(message())).not.toThrow();
    expect(a.dropped).toBe(1);
    expect(await alive(a, "x")).toEqual([]);
  });

  it.each([1, 2, 3, 4])(
    "may hand on what changes after it was looked at %i times: only what was checked is taken",
    async (looks) => {
      const { factory, hear, posted } = ownChannel();
      const a = await settled("a", { channel: factory });
      await a.store.touch("honest", TTL);
      await rounds();
      for (const [part, first, then] of [
        ["touched", [["x", 1_000]], [[() => {}, 2 * TTL]]],
        ["joined", ["x"], [() => {}]],
        ["boot", "h", () => {}],
        ["forgotten", ["x"], 1],
        ["atMs", clock.now(), 1e300],
      ] as const) {
        let reads = 0;
        const get = () => (reads++ < looks ? first : then);
        const beat = { seenAtMs: clock.now(), ttlMs: 1_000 };
        const message = { ...head(), touched: [["y", 1]], boot: "h", beat };
        hear(Object.defineProperty(message, part, { get, enumerable: true }));
      }
      posted.length = 0;
      await clock.advance(100);
      hear({ ...head(), asks: true });
      await rounds();
      const touched = posted.flatMap((message) => (message.touched ?? []) as [string, number][]);
      expect(touched).toContainEqual(["honest", TTL - 100]);
      for (const [id, ttlMs] of touched) expect([typeof id, ttlMs <= TTL]).toEqual(["string", true]);
    },
  );

  it("that cannot be opened is none: all is told by the rows then (V-6)", async () => {
    const a = table("a", {
      channel: () => {
        throw new Error("no channel today");
      },
    });
    expect(a.store.available()).toBe(false);
    await expect(a.store.touch("", 1)).rejects.toMatchObject({ code: "unavailable" });
    expect(() => a.beat("a")).toThrow(expect.objectContaining({ code: "unavailable" }));
    expect(await alive(a)).toBe("unknown");
    a.close();
  });

  it("that cannot be spoken on costs no touch and no member, only the beat is told of it (V-25)", async () => {
    const a = await settled("a");
    a.air.onPost = () => {
      throw new Error("a broken channel");
    };
    await a.store.touch("x", 1_000);
    a.join("a", ["y"]);
    a.leave("a", "nobody");
    await a.store.forget("nobody");
    await rounds();
    expect(await alive(a, "x", "y")).toEqual(["x", "y"]);
    expect(() => a.beat("a")).toThrow(expect.objectContaining({ code: "unavailable" }));
  });
});

describe("a page that comes back from the cache", () => {
  it("asks anew, and knows nothing until it has heard what was said in between", async () => {
    const [a, b] = [await settled("a"), await settled("b")];
    b.join("b", ["old"]);
    await rounds();
    a.close();
    expect(a.store.available()).toBe(false);
    expect(await alive(a)).toBe("unknown");
    b.join("b", ["new"]);
    b.leave("b", "old");
    await b.store.touch("touched", TTL);
    await rounds();
    const asked = said(a, "asks").length;
    a.open();
    expect(said(a, "asks").length - asked).toBe(1);
    expect(await alive(a)).toBe("unknown");
    await rounds();
    expect(await alive(a, "new", "touched")).toEqual(["new", "touched"]);
    expect(a.store.available()).toBe(true);
  });

  it("tells the others of its members, who may have been asked for while it was away", async () => {
    const a = await settled("a");
    a.join("a", ["x"]);
    a.beat("a");
    await rounds();
    a.close();
    const b = await settled("b");
    expect(await alive(b, "x")).toEqual([]);
    a.open();
    await rounds();
    expect(await alive(b, "x")).toEqual(["x"]);
  });

  it("may close and open at any rate: one channel is open, and none after the last close", async () => {
    let open = 0;
    const counting: ChannelFactory = (name) => {
      const channel = hub(name);
      open++;
      const { close } = channel;
      channel.close = () => {
        open--;
        close();
      };
      return channel;
    };
    const a = table("a", { channel: counting });
    for (let n = 0; n < 20; n++) {
      a.open();
      if (n % 3 === 0) a.close();
    }
    a.open();
    await clock.advance(1_000);
    expect(open).toBe(1);
    expect(await alive(a)).toEqual([]);
    a.close();
    a.close();
    await clock.advance(1_000);
    expect(open).toBe(0);
    expect(await alive(a)).toBe("unknown");
  });
});
