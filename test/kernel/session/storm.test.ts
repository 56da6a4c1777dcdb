import { expect, it } from "vitest";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { complaintsAbout } from "../../../src/conformance/session/session.invariants.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { Message, Turn } from "../../../src/index.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { buildTown } from "../../loop/town.js";
import { rounds } from "../rounds.js";
import { openTab, rowsOf, saying, type Tab } from "./tabs.js";

/** Mulberry32: one seed gives one history. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const STEPS = 80;
const SUBMISSIONS = [
  { inputType: "prompt" },
  { inputType: "prompt", handlingMode: "steer" },
  { inputType: "prompt", durability: "ephemeral" },
  { inputType: "external_event" },
  { inputType: "external_event", durability: "ephemeral" },
  { inputType: "continuation", visibility: { transcriptEligible: false } },
  { inputType: "peer", convention: { conventionType: "response_progress" }, supersessionKey: "progress" },
  { inputType: "operation" },
] as const;

/** The test's own record of which calls were acknowledged. */
class Ledger {
  readonly accepted = new Map<string, { durable: boolean; isSaid: boolean }>();
  /** The last message of each turn: stored if the turn was, and only then. */
  readonly ends: string[] = [];
  /** Idempotency keys of steps whose handlers got their results. */
  readonly answered = new Set<string>();
  readonly broken: string[] = [];
}

async function storm(seed: number): Promise<void> {
  const roll = dice(seed);
  const below = (most: number) => Math.floor(roll() * most);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const bytes = dice(-seed);
  const random = (count: number) => Uint8Array.from({ length: count }, () => Math.floor(bytes() * 256));
  const place = memoryStorage();
  const town = buildTown(place);
  const rows = rowsOf(town);
  const raw = await place.open({ name: "town", schema: SCHEMA, durability: "strict", newDatabaseId: "x", onState: () => {} });
  const ledger = new Ledger();
  const tabs: (Tab & { offs: (() => void)[] })[] = [];
  let names = 0;
  let ids = 0;
  let isCalm = false;

  const handler = (tab: string) => async (turn: Turn) => {
    const pause = () => new Promise<void>((resolve) => town.clock.setTimer(resolve, below(20_000)));
    let ran = false;
    let key = "";
    await turn.step("draw", ({ idempotencyKey }) => {
      key = idempotencyKey;
      if (ledger.answered.has(key)) ledger.broken.push(`${key} ran again after it was answered`);
      ran = true;
      return key;
    });
    if (ran) ledger.answered.add(key);
    const how = isCalm ? 0 : below(10);
    if (how === 1) throw new Error("no");
    if (how === 2) await new Promise(() => {});
    if (how >= 3) {
      turn.append(saying(`${tab} checked in ${turn.runId}`));
      await turn.checkpoint();
      if (how === 3) throw new Error("no");
      await pause();
    }
    const end = `end of ${turn.runId}`;
    turn.append(saying(end));
    ledger.ends.push(end);
    if (how === 4) {
      turn.append(saying("never"));
      throw new Error("no");
    }
  };

  const enter = async () => {
    const tab = await openTab(town, `tab${names++}`, undefined, { random }).catch((error: HoldfastError) => {
      if (error.code !== "not-ready") throw error;
      return undefined;
    });
    if (tab) tabs.push(Object.assign(tab, { offs: [] }));
  };
  const leaves = () => tabs.splice(below(tabs.length), 1)[0];

  const moves: [weight: number, move: () => Promise<void> | void][] = [
    [5, async () => void (tabs.length < 4 && (await enter()))],
    [22, submit],
    [10, () => attach(pick(tabs))],
    [2, () => void pick(tabs)?.offs.pop()?.()],
    [5, () => leaves()?.die()],
    [2, async () => void (await leaves()?.kernel.close())],
    [1, () => pick(tabs)?.cutOff()],
    [2, () => unsettle(pick(tabs))],
    [6, () => pick(tabs)?.mend()],
    [
      3,
      async () =>
        void (await pick(tabs)
          ?.session.cancel(`i${below(ids + 1)}`)
          .catch(allow)),
    ],
    [1, async () => void (await pick(tabs)?.session.retire().catch(allow))],
    [4, async () => void (await pick(tabs)?.session.recycle().catch(allow))],
    [1, async () => void (await pick(tabs)?.session.reset().catch(allow))],
    [14, async () => await town.clock.advance(below(3) === 0 ? below(60_000) : below(4_000))],
    [
      1,
      async () => {
        town.clock.sleep(below(200_000));
        await town.clock.wake();
      },
    ],
    [6, async () => await rounds(below(6))],
  ];
  const total = moves.reduce((sum, [weight]) => sum + weight, 0);

  /** A tab whose storage fails now and then: before the commit, or after it, so that the tab does not hear of the commit. */
  function unsettle(tab: Tab | undefined): void {
    if (!tab) return;
    tab.probed.hooks = {
      end({ mode }) {
        if (mode === "write" && below(4) === 0) throw new HoldfastError("write-failed", "it failed");
      },
      done({ mode }) {
        if (mode === "write" && below(6) === 0)
          throw new HoldfastError("unavailable", "lost", { details: { outcome: "unknown" } });
      },
    };
  }

  function drawn(ticket: number): () => Promise<void> | void {
    let left = ticket;
    for (const [weight, move] of moves) {
      if (left < weight) return move;
      left -= weight;
    }
    return () => {};
  }

  function attach(tab: (typeof tabs)[number] | undefined): void {
    tab?.offs.push(tab.session.onTurn(handler(tab.name)));
  }

  async function submit(): Promise<void> {
    const tab = pick(tabs);
    if (!tab) return;
    const inputId = `i${ids++}`;
    const template = pick(SUBMISSIONS);
    const key = below(4) === 0 ? { idempotencyKey: `k${below(8)}` } : {};
    const outcome = await tab.session.submit({ ...template, ...key, text: inputId, inputId }).catch(allow);
    // A write whose answer was lost may be stored or not.
    if (outcome?.outcome !== "accepted") return;
    const isSaid = template.inputType !== "continuation" && template.inputType !== "operation";
    ledger.accepted.set(inputId, { durable: !("durability" in template), isSaid });
  }

  for (let step = 0; step < STEPS; step++) {
    const move = drawn(below(total));
    if (tabs.length === 0) await enter();
    await move();
    expect(await complaintsAbout(raw), `after step ${step}`).toEqual([]);
  }

  // The faults end: one tab that works well, and time.
  isCalm = true;
  for (const tab of tabs) tab.mend();
  await town.clock.advance(40_000);
  await Promise.all(tabs.map(({ kernel }) => kernel.close()));
  const last = await openTab(town, "last", handler("last"), { random });
  const recycled = async (isEnough: (carriedOver: number) => boolean) => {
    for (let round = 0; round < 60; round++) {
      const found = await last.session.recycle().catch(allow);
      if (found && isEnough(found.carriedOver)) return;
      await town.clock.advance(round < 5 ? 100 : 20_000);
    }
  };
  await recycled(() => true);
  await last.session.submit({ inputType: "prompt", text: "last", inputId: "last" });
  await recycled((carriedOver) => carriedOver === 0);

  const inputs = await rows.inputs();
  const receipts = await rows.receipts();
  const messages = (await town.rows("messages")).map(({ message }) => message as Message);
  expect(ledger.broken).toEqual([]);
  expect(await complaintsAbout(raw)).toEqual([]);
  expect((await rows.inputs()).filter(({ liveRank }) => liveRank !== undefined).map(({ record }) => record)).toEqual([]);
  for (const [inputId, { durable, isSaid }] of [...ledger.accepted, ["last", { durable: true, isSaid: true }] as const]) {
    const record = inputs.find((row) => row.inputId === inputId)?.record;
    if (durable) expect(record, inputId).toBeDefined();
    const times = receipts.filter(({ contributingInputIds }) => contributingInputIds.includes(inputId)).length;
    const spoken = messages.filter((message) => message.role === "user" && message.inputId === inputId).length;
    if (!record) {
      expect(times, `receipts of ${inputId}`).toBeLessThanOrEqual(1);
      expect(spoken, `messages of ${inputId}`).toBeLessThanOrEqual(1);
      continue;
    }
    const isRun = record.currentState === "consumed" && record.attemptCount > 0;
    expect(times, `receipts of ${inputId}: ${record.currentState}`).toBe(isRun ? 1 : 0);
    expect(spoken, `messages of ${inputId}`).toBeLessThanOrEqual(1);
    if (isRun && isSaid) expect(spoken, `messages of ${inputId}`).toBe(1);
  }
  expect(inputs.find(({ inputId }) => inputId === "last")?.record.currentState).toBe("consumed");
  // The last message of a turn is there once if its receipt is, and not at all if it is not.
  const contents = messages.map(({ content }) => content);
  const stored = new Set((await town.rows("receipts")).map(({ runId }) => `end of ${runId}`));
  for (const end of new Set(ledger.ends)) {
    expect(contents.filter((content) => content === end).length, end).toBe(stored.has(end) ? 1 : 0);
  }
  expect(contents).not.toContain("never");
  expect((await rows.runtime()).run).toBeUndefined();
  expect((await rows.lease())?.leaseToken).toBeUndefined();
  await raw.close();
  await town.close();
}

/** Error codes that a tab may meet in a history with faults. */
function allow(error: HoldfastError): undefined {
  if (!["not-ready", "unavailable", "closed", "conflict", "write-failed"].includes(error.code)) throw error;
  return undefined;
}

/** Seeds in which much happens. */
const SEEDS = [13, 18, 20, 27, 30];

it.each(SEEDS)(
  "tabs that come, crash, sleep and go lose no input, run none twice, and leave nothing by half (seed %i)",
  storm,
  60_000,
);
