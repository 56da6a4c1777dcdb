// The checker finds each kind of violation: each one is planted into a history that is sound without it.
import fc from "fast-check";
import { expect, it } from "vitest";
import { type Call, complaintsOf, type Entry, type Operation, type Outcome, operationsOf, type Report } from "../tabs/history.js";

const TTL = 100;

/** Operations one after another, ten milliseconds each, unless they give the times of their call and their answer. */
function history(...told: { call: Call; outcome: Outcome; from?: number; until?: number }[]): Operation[] {
  return told.map(({ call, outcome, from, until }, at) => {
    const start = from ?? at * 10;
    const end = until ?? start + 5;
    return {
      id: `o${at}`,
      call,
      outcome,
      invoked: { order: start, wallMs: 1_000 + start },
      ...(outcome.type !== "unknown" && { returned: { order: end, wallMs: 1_000 + end } }),
    } as Operation;
  });
}

const ok = (value: unknown) => ({ type: "ok", value }) as Outcome;
const fail = (code: string, details?: unknown): Outcome => ({ type: "fail", code, details });
const unknown: Outcome = { type: "unknown" };

const claim = (owner: string, outcome: Outcome = unknown) => ({
  call: { op: "claim", resource: "r", owner, ttlMs: TTL } as const,
  outcome,
});
const granted = (owner: string, fence: number, atMs: number) =>
  claim(owner, ok({ fence, claimedAtMs: 1_000 + atMs, expiresAtMs: 1_000 + atMs + TTL }));
const held = (owner: string, by: string, untilMs: number) =>
  claim(owner, fail("lease-held", { ownerId: by, expiresAtMs: 1_000 + untilMs }));
const renew = (owner: string, fence: number, outcome: Outcome) => ({
  call: { op: "renew", resource: "r", owner, fence, ttlMs: TTL } as const,
  outcome,
});
const release = (fence: number, outcome: Outcome = ok(null)) => ({
  call: { op: "release", resource: "r", fence } as const,
  outcome,
});
const holder = (shown: { owner: string; fence: number; untilMs: number } | null) => ({
  call: { op: "holder", resource: "r" } as const,
  outcome: ok(shown && { owner: shown.owner, fence: shown.fence, expiresAtMs: 1_000 + shown.untilMs }),
});
const append = (mark: string, sequence: number | Outcome, fence?: number) => ({
  call: { op: "append", resource: "r", mark, ...(fence !== undefined && { fence }) } as const,
  outcome: typeof sequence === "number" ? ok({ sequence }) : sequence,
});
const entries = (...marks: (string | Partial<Entry>)[]): Entry[] =>
  marks.map((mark, at) => ({ sequence: at + 1, mark: `m${at}`, ...(typeof mark === "string" ? { mark } : mark) }));
const log = (...marks: (string | Partial<Entry>)[]) => ({
  call: { op: "log", resource: "r" } as const,
  outcome: ok(entries(...marks)),
});
const run = (name: string, fence: number) => ({
  call: { op: "run", resource: "r", key: "k", fence, run: name } as const,
  outcome: ok(null),
});
const step = (result: string) => ({ call: { op: "step", resource: "r", key: "k" } as const, outcome: ok(result) });
const at = <T extends object>(told: T, from: number, until: number) => ({ ...told, from, until });
const late = <T extends object>(told: T, from = 200) => at(told, from, from + 5);

const complaints = (...told: Parameters<typeof history>) => complaintsOf(history(...told));
const lost = fail("lease-lost");

it("pairs what was told, and what nobody heard of again is unknown", () => {
  const call: Call = { op: "log", resource: "r" };
  const reports: Report[] = [
    { type: "operation", id: "a", phase: "invoke", call },
    { type: "operation", id: "b", phase: "invoke", call },
    { type: "operation", id: "b", phase: "return", outcome: ok([]) },
    { type: "operation", id: "c", phase: "invoke", call },
    { type: "operation", id: "c", phase: "return", outcome: unknown },
  ];
  const at = (order: number) => ({ order, wallMs: order * 7 });
  expect(operationsOf(reports.map((report, order) => ({ ...report, toldAtMs: order * 7 })))).toEqual([
    { id: "a", call, invoked: at(0), outcome: unknown },
    { id: "b", call, invoked: at(1), returned: at(2), outcome: ok([]) },
    { id: "c", call, invoked: at(3), outcome: unknown },
  ]);
});

it("has nothing against a sound history", () => {
  expect(
    complaints(
      granted("a", 1, 1),
      append("x", 1, 1),
      held("b", "a", 101),
      holder({ owner: "a", fence: 1, untilMs: 101 }),
      renew("a", 1, ok({ expiresAtMs: 1_142 })),
      log("x"),
      release(1),
      holder(null),
      granted("b", 2, 82),
      append("y", lost, 1),
      append("z", 2, 2),
      release(1),
      append("free", 3),
      log({ mark: "x", fence: 1 }, { mark: "z", fence: 2 }, "free"),
      late(granted("c", 3, 201)),
    ),
  ).toEqual([]);
  expect(complaints(run("r1", 2), run("r2", 3), step("r2"), step("r2"), run("r3", 1))).toEqual([]);
});

const planted: Record<string, { told: Parameters<typeof history>; found: RegExp }> = {
  "a fence that is given twice": { told: [granted("a", 1, 1), release(1), granted("b", 1, 21)], found: /fence 1 was given to/ },
  "a fence that falls": { told: [granted("a", 2, 1), release(2), granted("b", 1, 21)], found: /the fence fell from 2/ },
  "a write under a lower fence than one that was given": {
    told: [granted("a", 1, 1), release(1), granted("b", 2, 21), append("x", 1, 1)],
    found: /was accepted under fence 1 after/,
  },
  "a log whose fences fall": {
    told: [log({ mark: "x", fence: 2 }, { mark: "y", fence: 1 })],
    found: /event 2 was stored under fence 1/,
  },
  "a gap in a log": { told: [log("x", { mark: "y", sequence: 3 })], found: /read 3 as event 2/ },
  "two reads that are no prefixes": { told: [log("x"), log("y", "x")], found: /different events 1/ },
  "two reads of one length that differ": { told: [log("x"), log("y")], found: /different events 1/ },
  "a later read that is shorter": { told: [log("x", "y"), log("x")], found: /read 1 events after/ },
  "an event that is stored twice": { told: [log("x", "y", "x")], found: /x is stored twice/ },
  "an event that was refused and is stored": { told: [append("x", lost, 1), log("x")], found: /x was refused and is stored/ },
  "an acknowledged event that is gone": { told: [append("x", 1), log()], found: /x was acknowledged as event 1/ },
  "an acknowledged event in another's place": {
    told: [append("x", 2), log("x", "y")],
    found: /x was acknowledged as event 2/,
  },
  "an event before anybody asked for it": { told: [log("x"), append("x", 1)], found: /before anybody asked/ },
  "two results of one step": { told: [run("r1", 1), step("r1"), run("r2", 1), step("r2")], found: /has the results r1 and r2/ },
  "two stored results of one step": {
    told: [log({ mark: "x", key: "k" }, { mark: "y", key: "k" })],
    found: /two results of step k/,
  },
  "a result that nobody made": { told: [run("r1", 1), step("r2")], found: /r2 of no run/ },
  "a step that runs again after it was stored": { told: [run("r1", 1), step("r1"), run("r2", 2)], found: /ran under 2/ },
  "a step that one owner runs twice": { told: [run("r1", 1), run("r2", 1)], found: /ran twice under fence 1/ },
  "a claim over a live lease": { told: [granted("a", 1, 1), granted("b", 2, 11)], found: /no order/ },
  "a claim that leaves a fence out": { told: [granted("a", 1, 1), release(1), granted("b", 3, 21)], found: /no order/ },
  "a claim at a time that was not": { told: [granted("a", 1, 50)], found: /no order/ },
  "a claim that is refused though the lease is free": {
    told: [granted("a", 1, 1), late(held("b", "a", 101))],
    found: /no order/,
  },
  "a claim that is refused to its own holder": { told: [granted("a", 1, 1), held("a", "a", 101)], found: /no order/ },
  "a claim that is refused for somebody who has no lease": { told: [granted("a", 1, 1), held("b", "c", 101)], found: /no order/ },
  "a renewal after the end": { told: [granted("a", 1, 1), late(renew("a", 1, ok({ expiresAtMs: 1_302 })))], found: /no order/ },
  "a renewal that is refused in time": { told: [granted("a", 1, 1), renew("a", 1, lost)], found: /no order/ },
  "a renewal that is forgotten": {
    told: [granted("a", 1, 1), renew("a", 1, ok({ expiresAtMs: 1_112 })), at(granted("b", 2, 106), 105, 109)],
    found: /no order/,
  },
  "a write in time that is refused": { told: [granted("a", 1, 1), append("x", lost, 1)], found: /no order/ },
  "a write after the end": { told: [granted("a", 1, 1), late(append("x", 1, 1))], found: /no order/ },
  "a write at the very end, as if it were before": {
    told: [granted("a", 1, 1), at(append("x", 1, 1), 103, 108)],
    found: /no order/,
  },
  "a holder that is not shown": { told: [granted("a", 1, 1), holder(null)], found: /no order/ },
  "a holder that is gone": {
    told: [granted("a", 1, 1), release(1), holder({ owner: "a", fence: 1, untilMs: 101 })],
    found: /no order/,
  },
  "a release by who lost it that frees the next one's": {
    told: [granted("a", 1, 1), late(granted("b", 2, 201)), late(release(1), 210), late(granted("c", 3, 221), 220)],
    found: /no order/,
  },
  "an unknown claim that took effect and later did not": {
    told: [claim("a"), holder({ owner: "a", fence: 1, untilMs: 103 }), granted("b", 1, 21)],
    found: /no order/,
  },
  "an unknown claim that took effect before it was asked for": {
    told: [holder({ owner: "a", fence: 1, untilMs: 103 }), claim("a")],
    found: /no order/,
  },
};

for (const [what, { told, found }] of Object.entries(planted)) {
  it(`finds ${what}`, () => {
    expect(complaints(...told).join("\n")).toMatch(found);
  });
}

it("lets what is unknown take effect at any later time, or never", () => {
  expect(complaints(claim("a"), granted("b", 1, 11))).toEqual([]);
  expect(complaints(claim("a"), granted("b", 2, 11 + TTL + 90))).not.toEqual([]);
  expect(complaints(claim("a"), at(granted("b", 2, 111), 110, 115))).toEqual([]);
  // The lease of b has ended long before.
  expect(
    complaints(claim("a"), granted("b", 1, 11), late(holder(null)), late(holder({ owner: "a", fence: 2, untilMs: 310 }), 220)),
  ).toEqual([]);
  expect(complaints(granted("a", 1, 1), renew("a", 1, unknown), at(append("x", 1, 1), 105, 106))).toEqual([]);
  expect(complaints(granted("a", 1, 1), release(1, unknown), granted("b", 2, 21))).toEqual([]);
  expect(complaints(granted("a", 1, 1), release(1, unknown), held("b", "a", 101))).toEqual([]);
  expect(complaints(append("x", unknown), append("y", 1), log("y"), log("y", "x"))).toEqual([]);
});

it("puts operations that overlap into the order that explains them, and no others", () => {
  const both = (second: ReturnType<typeof claim>) => [at(granted("a", 1, 3), 0, 30), at(second, 1, 40)] as const;
  expect(complaints(...both(held("b", "a", 103)))).toEqual([]);
  expect(complaints(...both(held("b", "a", 103)), at(release(1), 2, 50))).toEqual([]);
  expect(complaints(at(held("b", "a", 103), 0, 2), at(granted("a", 1, 4), 3, 9))).not.toEqual([]);
});

interface Draw {
  tab: number;
  op: "claim" | "renew" | "release" | "holder" | "append";
  waitMs: number;
  heardAfter: number;
  isLost: boolean;
}

/** Answers as a correct register gives them, each heard some time later; up to a tenth of them are not heard. */
function simulate(draws: readonly Draw[]): Operation[] {
  let nowMs = 0;
  let fence = 0;
  let lease: { owner: string; expiresAtMs: number } | undefined;
  let stored = 0;
  const known = new Map<string, number>();
  const freeAtMs = new Map<string, number>();
  return draws.map(({ tab, op, waitMs, heardAfter, isLost }, number) => {
    const owner = `t${tab}`;
    nowMs = Math.max(nowMs + waitMs, freeAtMs.get(owner) ?? 0);
    const startMs = Math.max(freeAtMs.get(owner) ?? 0, nowMs - heardAfter);
    const under = known.get(owner) ?? 0;
    const isLive = lease !== undefined && lease.expiresAtMs > nowMs;
    const isHolder = isLive && lease?.owner === owner && under === fence;
    let outcome: Outcome = lost;
    if (op === "claim") {
      if (isLive && lease?.owner !== owner)
        outcome = fail("lease-held", { ownerId: lease?.owner, expiresAtMs: lease?.expiresAtMs });
      else {
        fence++;
        lease = { owner, expiresAtMs: nowMs + TTL };
        known.set(owner, fence);
        outcome = ok({ fence, claimedAtMs: nowMs, expiresAtMs: lease.expiresAtMs });
      }
    } else if (op === "renew" && isHolder) {
      lease = { owner, expiresAtMs: nowMs + TTL };
      outcome = ok({ expiresAtMs: lease.expiresAtMs });
    } else if (op === "append" && isHolder) outcome = ok({ sequence: ++stored });
    else if (op === "holder") outcome = ok(isLive ? { ...lease, fence } : null);
    else if (op === "release") {
      if (lease?.owner === owner && under === fence) lease = undefined;
      outcome = ok(null);
    }
    const call = {
      claim: { op, resource: "r", owner, ttlMs: TTL },
      renew: { op, resource: "r", owner, fence: under, ttlMs: TTL },
      release: { op, resource: "r", fence: under },
      holder: { op, resource: "r" },
      append: { op, resource: "r", fence: under, mark: `m${number}` },
    }[op] as Call;
    const endMs = nowMs + heardAfter;
    freeAtMs.set(owner, endMs);
    if (isLost) outcome = unknown;
    const told = { id: `o${number}`, call, outcome, invoked: { order: startMs + number / 1_000, wallMs: startMs } };
    return { ...told, ...(!isLost && { returned: { order: endMs + number / 1_000, wallMs: endMs } }) } as Operation;
  });
}

const draw = fc.record<Draw>({
  tab: fc.integer({ min: 0, max: 5 }),
  op: fc.constantFrom("claim", "claim", "renew", "release", "holder", "append"),
  waitMs: fc.integer({ min: 0, max: 60 }),
  heardAfter: fc.integer({ min: 0, max: 200 }),
  isLost: fc.noBias(fc.integer({ min: 0, max: 19 })).map((number) => number === 0),
});
const draws = fc.array(draw, { maxLength: 80, size: "max" });

it("has nothing against any history that a correct register made", () => {
  fc.assert(
    fc.property(draws, (drawn) => {
      expect(complaintsOf(simulate(drawn))).toEqual([]);
    }),
    { numRuns: 300, seed: 5 },
  );
});

/** The same history with one accepted claim reported falsely. */
function forgedAt(
  operations: Operation[],
  which: number,
  more: { fence?: number; expiresAtMs?: number },
): Operation[] | undefined {
  const claims = operations.filter(({ call, outcome }) => call.op === "claim" && outcome.type === "ok");
  const chosen = claims[which % claims.length];
  if (!chosen) return undefined;
  const { fence, claimedAtMs, expiresAtMs } = (chosen.outcome as Extract<Outcome<"claim">, { type: "ok" }>).value;
  const value = { fence: fence + (more.fence ?? 0), claimedAtMs, expiresAtMs: expiresAtMs + (more.expiresAtMs ?? 0) };
  return operations.map((operation) => (operation === chosen ? ({ ...chosen, outcome: ok(value) } as Operation) : operation));
}

it("is against every such history in which one accepted claim is told of another fence", () => {
  fc.assert(
    fc.property(draws, fc.nat(), (drawn, which) => {
      const forged = forgedAt(simulate(drawn), which, { fence: 40 });
      fc.pre(forged !== undefined);
      expect(complaintsOf(forged)).not.toEqual([]);
    }),
    { numRuns: 200, seed: 5 },
  );
});

it("comes to an end with hundreds of operations on one lease, many of them unknown, whether they are sound or not", () => {
  const many = fc.array(draw, { minLength: 300, maxLength: 300, size: "max" });
  fc.assert(
    fc.property(many, (drawn) => {
      const operations = simulate(drawn);
      expect(complaintsOf(operations)).toEqual([]);
      expect(complaintsOf(forgedAt(operations, 20, { expiresAtMs: 40 }) as Operation[])).not.toEqual([]);
    }),
    { numRuns: 10, seed: 5 },
  );
});
