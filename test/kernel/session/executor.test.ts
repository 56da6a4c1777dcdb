import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/adapters/clock-system.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { JsonValue } from "../../../src/domain/json.js";
import type { Turn } from "../../../src/index.js";
import { indexedDbStorage } from "../../../src/indexeddb.js";
import type { Clock } from "../../../src/ports/clock.js";
import type { Row } from "../../../src/ports/storage.js";
import type { LeaseRow } from "../../../src/stores/host/tables.js";
import { builtInPolicy } from "../../../src/stores/session/inputs/policy.rules.js";
import { sleepyClock } from "../../loop/sleepy-clock.js";
import { buildTown, type Town } from "../../loop/town.js";
import type { Hooks, Seen } from "../../stores/probe-storage.js";
import { gate, rounds, until } from "../rounds.js";
import { event, openTab, progress, prompt, RUNTIME_ID, rowsOf, saying } from "./tabs.js";

let town: Town;
let rows: ReturnType<typeof rowsOf>;

function settleIn(made: Town): void {
  town = made;
  rows = rowsOf(town);
}

afterEach(() => town.close());

/** Handlers of several tabs that work until they are told to end, and the list of which tab began which input. */
function shift() {
  const log: string[] = [];
  const turns: Turn[] = [];
  const done = gate();
  const of = (tab: string) => async (turn: Turn) => {
    log.push(`${tab} ${turn.attempt}: ${turn.inputs.map(({ inputId }) => inputId).join(" ")}`);
    turns.push(turn);
    await done.promise;
    turn.append(saying(`${tab} answers`));
  };
  return { log, turns, done, of };
}

describe.each([
  ["memory", () => memoryStorage()],
  ["IndexedDB in memory", () => indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange })],
])("several tabs on %s", (_, place) => {
  beforeEach(() => settleIn(buildTown(place())));

  it("run one turn at a time, in one of them", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    const b = await openTab(town, "b", of("b"));
    const c = await openTab(town, "c", of("c"));
    await Promise.all([a, b, c].map(({ name, session }) => session.submit(prompt(`from ${name}`))));
    await until(() => log.length > 0, "a turn");
    await town.clock.advance(45_000);
    expect(log).toHaveLength(1);
    done.open();
    await until(() => log.length === 3, "the other turns");
    await rounds(30);
    expect((await rows.inputs()).map(({ record }) => [record.currentState, record.attemptCount])).toEqual([
      ["consumed", 1],
      ["consumed", 1],
      ["consumed", 1],
    ]);
    expect(await rows.said()).toHaveLength(6);
    for (const { session } of [a, b, c])
      expect((await session.messages()).map(({ content }) => content)).toEqual(await rows.said());
    expect([...a.faults, ...b.faults, ...c.faults]).toEqual([]);
    expect((await rows.lease())?.leaseToken).toBeUndefined();
  });

  it("take over from one that died, which costs its inputs a recovery and no failure (R-94, R-110)", async () => {
    const { log, turns, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    const b = await openTab(town, "b", of("b"));
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the first turn");
    const [first] = log;
    const dying = first?.startsWith("a") ? a : b;
    const heir = dying === a ? b : a;
    expect(await rows.counts("p")).toEqual({ attemptCount: 1, recoveryCount: 0 });
    dying.die();
    await until(() => log.length === 2, "the second turn");
    expect(log[1]).toBe(`${heir.name} 2: p`);
    expect(await rows.counts("p")).toEqual({ attemptCount: 2, recoveryCount: 1 });
    expect((await rows.lease())?.fencingToken).toBe(2);

    // Later writes of the dead tab are refused.
    dying.mend();
    await expect(turns[0]?.checkpoint()).rejects.toMatchObject({ code: "lease-lost" });
    done.open();
    await until(() => heir.told.some(({ code }) => code === "run.completed"), "the end");
    await rounds(30);
    expect(await rows.said()).toEqual(["p", `${heir.name} answers`]);
    expect(dying.told.some(({ code }) => code === "run.completed")).toBe(false);
    expect((await rows.receipts()).map(({ contributingInputIds }) => contributingInputIds)).toEqual([["p"]]);
    expect(await rows.record("p")).toMatchObject({ currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } });
  });

  it("do not run again what was stored the moment before its tab died (R-110)", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    const b = await openTab(town, "b", of("b"));
    a.probed.hooks.done = ({ tables, mode }) => {
      if (mode !== "write" || !tables.includes("receipts")) return;
      a.die();
      throw new HoldfastError("unavailable", "a is gone", { details: { outcome: "unknown" } });
    };
    done.open();
    await rounds(60);
    await town.clock.advance(45_000);
    expect(log).toEqual(["a 1: p"]);
    expect(await rows.phase("p")).toBe("consumed");
    expect(await rows.said()).toEqual(["p", "a answers"]);
    await b.session.submit(prompt("q"));
    await until(() => log.length === 2, "the next turn");
    expect(log[1]).toBe("b 1: q");
  });

  it("count five crashes in a row, and then give the input up (R-94)", async () => {
    const { log, of } = shift();
    for (const name of ["a", "b", "c", "d", "e"]) {
      const tab = await openTab(town, name, of(name));
      if (name === "a") await tab.session.submit(prompt("p"));
      await until(() => log.at(-1)?.startsWith(name) === true, `the turn of ${name}`);
      tab.die();
      await rounds(20);
    }
    const f = await openTab(town, "f");
    f.session.onTurn(of("f"));
    await rounds(30);
    expect(log).toEqual(["a 1: p", "b 2: p", "c 3: p", "d 4: p", "e 5: p"]);
    expect(f.session.recovery).toEqual({ recovered: 0, requeued: 0, consumed: 0, abandoned: 1, dropped: 0 });
    expect(await rows.record("p")).toMatchObject({
      currentState: "abandoned",
      attemptCount: 5,
      recoveryCount: 5,
      terminalOutcome: { outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts: 5 } } },
    });
    // The session itself goes on.
    await f.session.submit(prompt("q"));
    await until(() => log.length === 6, "the next turn");
  });

  it("count crashes anew after a checkpoint", async () => {
    const log: string[] = [];
    const letters = [..."abcdefgh"];
    for (const name of letters) {
      const tab = await openTab(town, name, async (turn) => {
        turn.append(saying(`${name} was here`));
        if (name === "d") await turn.checkpoint();
        log.push(name);
        await new Promise(() => {});
      });
      if (name === "a") await tab.session.submit(prompt("p"));
      await until(() => log.at(-1) === name, `the turn of ${name}`);
      tab.die();
      await rounds(20);
    }
    // Three deaths before the checkpoint, five after it.
    expect(log).toEqual(letters);
    expect(await rows.said()).toEqual(["p", "d was here"]);
    const last = await openTab(town, "last");
    expect(await rows.record("p")).toMatchObject({ currentState: "abandoned", attemptCount: 8, recoveryCount: 8 });
    expect(last.session.recovery?.abandoned).toBe(1);
  });
});

describe("a turn that ends early", () => {
  beforeEach(() => settleIn(buildTown()));

  it("because its tab is closed, twenty times in a row, loses nothing and costs no attempt", async () => {
    const names = Array.from({ length: 20 }, (_, at) => `tab${at}`);
    const seen: unknown[] = [];
    for (const name of names) {
      const begun = gate();
      const tab = await openTab(town, name, async (turn) => {
        seen.push(turn.messages.map(({ content }) => content));
        turn.append(saying(`${name} checked`));
        await turn.checkpoint();
        turn.append(saying(`${name} lost`));
        begun.open();
        await new Promise(() => {});
      });
      if (name === "tab0") await Promise.all([tab.session.submit(event("e")), tab.session.submit(prompt("p"))]);
      await begun.promise;
      await tab.kernel.close();
      // The lease is handed back at once: no clock is moved.
      expect((await rows.lease())?.leaseToken).toBeUndefined();
    }
    const last = await openTab(town, "last", async (turn) => void turn.append(saying("done")));
    await until(() => last.told.some(({ code }) => code === "run.completed"), "the end");
    await rounds();
    const checked = names.map((name) => `${name} checked`);
    expect(seen[19]).toEqual(["e", "p", ...checked.slice(0, 19)]);
    expect(await rows.said()).toEqual(["e", "p", ...checked, "done"]);
    for (const { record, interruptions } of await rows.inputs()) {
      expect(record).toMatchObject({ currentState: "consumed", recoveryCount: 0, attemptCount: 21 });
      expect(interruptions).toBe(20);
    }
  });

  it("because its handler throws is tried again without any clock or word from outside (R-104), and given up the third time", async () => {
    const attempts: number[] = [];
    const a = await openTab(town, "a", async (turn) => {
      turn.append(saying("never stored"));
      attempts.push(turn.attempt);
      throw new Error(`failure ${turn.attempt}`);
    });
    await a.session.submit(prompt("p"));
    await until(() => a.told.some(({ code }) => code === "input.abandoned"), "the end of it");
    await rounds();
    expect(attempts).toEqual([1, 2, 3]);
    const { terminalOutcome, history, recoveryCount } = await rows.record("p");
    expect(terminalOutcome).toEqual({ outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts: 3 } } });
    expect(history.map(({ to }) => to)).toEqual(["queued", "staged", "queued", "staged", "queued", "staged", "abandoned"]);
    expect(history.filter(({ reason }) => reason?.includes("failure")).map(({ reason }) => reason)).toHaveLength(3);
    expect(recoveryCount).toBe(0);
    expect(a.told.filter(({ code }) => code === "run.failed").map(({ error }) => error)).toEqual([
      "failure 1",
      "failure 2",
      "failure 3",
    ]);
    expect(await rows.said()).toEqual([]);
    expect(await rows.receipts()).toEqual([]);
    expect((await rows.runtime()).state).toBe("idle");
    expect((await rows.lease())?.leaseToken).toBeUndefined();
  });

  it("for failures and for crashes is counted apart: four deaths and two failures leave one more try", async () => {
    const log: string[] = [];
    const plan = ["crash", "crash", "fail", "crash", "crash", "fail", "ok"];
    let tab: Awaited<ReturnType<typeof openTab>> | undefined;
    for (let at = 0; at < plan.length; ) {
      const begun = gate();
      tab = await openTab(town, `tab${at}`, async (turn) => {
        const what = plan[at++] as string;
        log.push(`${what} ${turn.attempt}`);
        if (what === "fail") throw new Error("no");
        begun.open();
        if (what === "crash") await new Promise(() => {});
      });
      if (at === 0) await tab.session.submit(prompt("p"));
      await begun.promise;
      if (plan[at - 1] === "crash") tab.die();
      await rounds(20);
    }
    expect(log).toEqual(plan.map((what, attempt) => `${what} ${attempt + 1}`));
    expect(await rows.record("p")).toMatchObject({ currentState: "consumed", attemptCount: 7, recoveryCount: 4 });
  });

  it("refuses a step that asks for itself at once, and lets one that is asked for later share the run", async () => {
    const results: unknown[] = [];
    const a = await openTab(town, "a", async ({ step }: Turn) => {
      results.push(await step("a", () => step("a", () => 1)).catch((error: { code: string }) => error.code));
      let later: Promise<number> | undefined;
      results.push(
        await step("b", async () => {
          await rounds(1);
          later = step("b", () => 3);
          return 2;
        }),
      );
      results.push(await later);
    });
    await a.session.submit(prompt("p"));
    await until(() => results.length === 3, "the steps");
    expect(results).toEqual(["invalid", 2, 2]);
  });

  it("gives the results of its steps to every later attempt, wherever it runs, and forgets them at the end", async () => {
    const ran: string[] = [];
    const keys = new Set<string>();
    const begun = gate();
    const results: unknown[] = [];
    const work = (tab: string, then: () => Promise<void>) => async (turn: Turn) => {
      results.push(
        await turn.step("pay", ({ idempotencyKey }) => {
          ran.push(tab);
          keys.add(idempotencyKey);
          return `paid by ${tab}`;
        }),
      );
      await then();
    };
    const a = await openTab(
      town,
      "a",
      work("a", async () => {
        if (results.length === 1) throw new Error("after the step");
        begun.open();
        await new Promise(() => {});
      }),
    );
    await a.session.submit(prompt("p"));
    await begun.promise;
    a.die();
    const b = await openTab(
      town,
      "b",
      work("b", async () => {}),
    );
    await until(() => b.told.some(({ code }) => code === "run.completed"), "the end");
    expect(ran).toEqual(["a"]);
    expect(results).toEqual(["paid by a", "paid by a", "paid by a"]);
    expect(keys.size).toBe(1);
    expect(await town.rows("turnSteps")).toEqual([]);
    await b.session.submit(prompt("q"));
    await until(() => results.length === 4, "the next turn");
    expect(results[3]).toBe("paid by b");
  });

  it("is tried again with exactly the inputs that were staged together, though more wait that would fit", async () => {
    const batches: string[][] = [];
    const begun = gate();
    const fail = gate();
    const a = await openTab(town, "a");
    for (const input of [event("e1"), event("e2")]) await a.session.submit(input);
    a.session.onTurn(async (turn) => {
      batches.push(turn.inputs.map(({ inputId }) => inputId));
      if (batches.length > 1) return;
      begun.open();
      await fail.promise;
      throw new Error("no");
    });
    await begun.promise;
    for (const input of [event("e3"), event("e4")]) await a.session.submit(input);
    fail.open();
    await until(() => batches.length === 3, "the turns after it");
    expect(batches).toEqual([
      ["e1", "e2"],
      ["e1", "e2"],
      ["e3", "e4"],
    ]);
  });

  it("runs its steps again when one of its inputs has ended meanwhile", async () => {
    const ran: string[] = [];
    const keys = new Set<string>();
    const begun = gate();
    const a = await openTab(town, "a");
    for (const input of [event("e"), prompt("p")]) await a.session.submit(input);
    a.session.onTurn(async (turn) => {
      const ids = turn.inputs.map(({ inputId }) => inputId).join(" ");
      await turn.step("once", ({ idempotencyKey }) => {
        ran.push(ids);
        keys.add(idempotencyKey);
        return null;
      });
      begun.open();
      if (turn.attempt === 1) await new Promise(() => {});
    });
    await begun.promise;
    await a.session.cancel("e");
    await until(() => a.told.some(({ code }) => code === "run.completed"), "the end");
    expect(ran).toEqual(["e p", "p"]);
    // A new effect needs a new key: a service that knows the first key must not take one for the other.
    expect(keys.size).toBe(2);
    expect(await rows.phase("e")).toBe("abandoned");
    expect(await town.rows("turnSteps")).toEqual([]);
  });
});

/** Two tabs. "a" runs a turn under a clock of its own: it can be frozen while the other goes on. */
async function freezable() {
  const { log, turns, done, of } = shift();
  const own = sleepyClock();
  const a = await openTab(town, "a", of("a"), { clock: own });
  await a.session.submit(prompt("p"));
  await until(() => log.length === 1, "the turn");
  const b = await openTab(town, "b", of("b"));
  await rounds();
  const freeze = async (ms: number) => {
    await town.clock.advance(ms);
    own.sleep(ms);
  };
  return { a, b, log, turns, done, own, freeze };
}

describe("an owner", () => {
  beforeEach(() => settleIn(buildTown()));

  it("that was frozen until its lease ran out goes on when it comes back in time, and no attempt is counted", async () => {
    const { a, log, turns, done, own, freeze } = await freezable();
    await freeze(35_000);
    expect(turns[0]?.signal.aborted).toBe(false);
    await own.wake();
    await rounds();
    expect(turns[0]?.signal.aborted).toBe(false);
    await turns[0]?.checkpoint();
    await town.clock.advance(3_000);
    done.open();
    await until(() => a.told.some(({ code }) => code === "run.completed"), "the end");
    expect(log).toEqual(["a 1: p"]);
    expect(await rows.counts("p")).toEqual({ attemptCount: 1, recoveryCount: 0 });
    expect(await rows.said()).toEqual(["p", "a answers"]);
  });

  it("that was frozen for longer finds its run taken: its signal aborts and what it writes is refused", async () => {
    const { a, b, log, turns, done, own, freeze } = await freezable();
    await freeze(60_000);
    await until(() => log.length === 2, "the other's turn");
    expect(log).toEqual(["a 1: p", "b 2: p"]);
    await own.wake();
    await until(() => turns[0]?.signal.aborted === true, "the abort");
    expect(turns[0]?.signal.reason).toMatchObject({ code: "lease-lost" });
    expect(() => turns[0]?.append(saying("late"))).toThrow(expect.objectContaining({ code: "lease-lost" }));
    await expect(turns[0]?.checkpoint()).rejects.toMatchObject({ code: "lease-lost" });
    await expect(turns[0]?.step("late", () => 1)).rejects.toMatchObject({ code: "lease-lost" });
    done.open();
    await until(() => b.told.some(({ code }) => code === "run.completed"), "the end");
    await rounds();
    expect(await rows.said()).toEqual(["p", "b answers"]);
    expect(await town.rows("turnSteps")).toEqual([]);
    expect(a.told.map(({ code }) => code)).not.toContain("run.completed");
  });
});

const WRITES: Record<"begin" | "checkpoint" | "commit", (tables: readonly string[]) => boolean> = {
  begin: (tables) => tables.includes("snapshots") && tables.includes("farewells") && !tables.includes("sessions"),
  checkpoint: (tables) => tables.includes("messages") && tables.includes("sessions") && !tables.includes("receipts"),
  commit: (tables) => tables.includes("messages") && tables.includes("sessions") && tables.includes("receipts"),
};
const OF_TURNS = ["runtimes", "sessions", "inputs", "inputKeys", "receipts", "turnSteps", "messages", "leases"] as const;
const UNKNOWN = { details: { outcome: "unknown" } };
const TROUBLES: [string, "open" | "end", HoldfastError][] = [
  ["has no space", "end", new HoldfastError("quota-exceeded", "no space")],
  ["fails", "end", new HoldfastError("write-failed", "it failed")],
  ["is not there", "open", new HoldfastError("unavailable", "not there")],
  ["is lost before the commit", "end", new HoldfastError("unavailable", "lost", UNKNOWN)],
];

describe("a storage that", () => {
  beforeEach(() => settleIn(buildTown()));
  const moment = async () => JSON.stringify(await Promise.all(OF_TURNS.map((table) => town.rows(table))));

  /** A turn with a checkpoint and a commit, over a storage that will fail. */
  async function play(hooks: Hooks) {
    const a = await openTab(town, "a");
    await a.session.submit(prompt("p", { idempotencyKey: "k" }));
    const heard: unknown[] = [];
    a.probed.hooks = hooks;
    a.session.onTurn(async (turn) => {
      if (!turn.messages.some(({ content }) => content === "checked")) turn.append(saying("checked"));
      await turn.checkpoint().catch((error: HoldfastError) => {
        heard.push(error.code);
        throw error;
      });
      turn.append(saying("done"));
    });
    await rounds(30);
    await town.clock.advance(60_000);
    await rounds(30);
    expect(await rows.said()).toEqual(["p", "checked", "done"]);
    expect((await rows.receipts()).map(({ contributingInputIds }) => contributingInputIds)).toEqual([["p"]]);
    expect(await rows.record("p")).toMatchObject({ currentState: "consumed", recoveryCount: 0 });
    expect((await rows.runtime()).state).toBe("idle");
    expect((await rows.lease())?.leaseToken).toBeUndefined();
    return { a, heard };
  }

  for (const [what, where, trouble] of TROUBLES) {
    for (const [phase, isIt] of Object.entries(WRITES)) {
      it(`${what} at a turn's ${phase}, three times, changes nothing, is told, and all is stored once in the end (R-97, R-103)`, async () => {
        const moments: [string, string][] = [];
        let fails = 0;
        let before = "";
        const fail = (seen: Seen) => {
          if (fails === 3 || seen.mode !== "write" || !isIt(seen.tables)) return;
          fails++;
          throw trouble;
        };
        const { a, heard } = await play({
          async open(seen) {
            // The next transaction after a refused one finds everything as it was.
            if (before !== "") moments.push([before, await moment()]);
            before = seen.mode === "write" && isIt(seen.tables) && fails < 3 ? await moment() : "";
            if (where === "open") fail(seen);
          },
          end(seen) {
            if (where === "end") fail(seen);
          },
        });
        expect(fails).toBe(3);
        expect(moments).toHaveLength(3);
        for (const [was, is] of moments) expect(is).toBe(was);
        expect(new Set(phase === "checkpoint" ? heard : a.faults.map(({ code }) => code))).toEqual(new Set([trouble.code]));
      });
    }
  }

  for (const [phase, isIt] of Object.entries(WRITES)) {
    it(`is lost after the commit of a turn's ${phase}, and again when that is asked for once more, has all stored once`, async () => {
      let fails = 0;
      await play({
        done({ mode, tables }) {
          if (fails === 2 || mode !== "write" || !isIt(tables)) return;
          fails++;
          throw new HoldfastError("unavailable", "lost", UNKNOWN);
        },
      });
      expect(fails).toBe(2);
    });
  }

  it("is lost after a turn's commit has it told all the same, once, and the next turn goes on", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a");
    for (const inputId of ["p", "q"]) await a.session.submit(prompt(inputId));
    const lost: string[] = [];
    a.probed.hooks.done = ({ mode, tables }) => {
      if (lost.length > 0 || mode !== "write" || !WRITES.commit(tables)) return;
      lost.push("commit");
      throw new HoldfastError("unavailable", "lost", UNKNOWN);
    };
    done.open();
    a.session.onTurn(of("a"));
    await until(() => a.told.filter(({ code }) => code === "run.completed").length === 2, "both turns");
    await rounds();
    expect(lost).toEqual(["commit"]);
    expect(log).toEqual(["a 1: p", "a 1: q"]);
    expect(await rows.said()).toEqual(["p", "a answers", "q", "a answers"]);
    expect(a.told.filter(({ code }) => code === "run.completed")).toHaveLength(2);
    expect(a.faults).toEqual([]);
  });
});

describe("a turn whose run is taken from it", () => {
  beforeEach(() => settleIn(buildTown()));

  it("in the middle of its commit changes nothing (R-95, R-96)", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    const tables = ["runtimes", "inputs", "inputKeys", "receipts", "messages", "sessions"] as const;
    const moment = async () => await Promise.all(tables.map((table) => town.rows(table)));
    const before = await moment();
    let taken = false;
    a.probed.hooks.open = async (seen) => {
      if (taken || seen.mode !== "write" || !WRITES.commit(seen.tables)) return;
      taken = true;
      const { leaseToken: _, ...row } = (await rows.lease()) as LeaseRow;
      const expiresAtMs = town.clock.now() + 30_000;
      const lease = { ...row, leaseToken: "another", ownerId: "another", fencingToken: row.fencingToken + 1, expiresAtMs };
      await town.put("leases", lease as unknown as Row);
    };
    done.open();
    await until(() => taken, "the commit");
    await rounds(30);
    expect(await moment()).toEqual(before);
    expect(a.told.map(({ code }) => code)).not.toContain("run.completed");
    expect(log).toHaveLength(1);
  });

  for (const end of ["shutdown", "destroy", "delete"] as const) {
    for (const hears of [true, false]) {
      it(`by ${end} in another tab ${hears ? "is told" : "does not hold up its tab, though its handler ignores the signal"} (R-138)`, async () => {
        const leave = gate();
        const turns: Turn[] = [];
        const a = await openTab(town, "a", async (turn) => {
          turns.push(turn);
          if (hears) await new Promise((resolve) => turn.signal.addEventListener("abort", resolve));
          else await leave.promise;
          turn.append(saying("late"));
        });
        const b = await openTab(town, "b");
        await a.session.submit(prompt("p"));
        await until(() => turns.length === 1, "the turn");
        await b.session.submit(prompt("q"));
        if (end === "delete") await b.kernel.sessions.delete("s");
        else if (end === "shutdown") await b.session.shutdown();
        else expect(await b.session.destroy()).toEqual({ abandoned: 2 });
        const [turn] = turns as [Turn];
        await until(() => turn.signal.aborted, "the abort");
        const state = { shutdown: "stopped", destroy: "destroyed", delete: "deleted" }[end];
        expect(turn.signal.reason).toMatchObject({ code: "lease-lost", details: { state } });
        leave.open();
        await expect(turn.checkpoint()).rejects.toMatchObject({ code: "lease-lost" });
        await expect(turn.step("late", () => 1)).rejects.toMatchObject({ code: "lease-lost" });
        await rounds(30);
        expect(await rows.said()).toEqual([]);
        expect(await rows.receipts()).toEqual([]);
        expect(await town.rows("turnSteps")).toEqual([]);
        expect(turns).toHaveLength(1);
        if (end === "delete") {
          await expect(a.session.submit(prompt("late"))).rejects.toMatchObject({ code: "not-found" });
          expect(() => a.session.onTurn(async () => {})).toThrow(expect.objectContaining({ code: "not-found" }));
          return;
        }
        expect((await rows.runtime()).state).toBe(state);
        for (const { record } of await rows.inputs())
          expect(record.terminalOutcome).toEqual({ outcomeType: "abandoned", reason: state });
        // The lease's fencing token was raised: an executor that still holds the old one is refused.
        const lease = await rows.lease();
        expect([lease?.leaseToken, lease?.fencingToken]).toEqual([undefined, 2]);
        expect([...a.faults, ...b.faults]).toEqual([]);
      });
    }
  }

  it("but not by reset or recycle: they are refused in every tab while it runs, and it goes on", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    const b = await openTab(town, "b");
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    for (const { session } of [a, b]) {
      await expect(session.reset()).rejects.toMatchObject({ code: "not-ready" });
      await expect(session.recycle()).rejects.toMatchObject({ code: "not-ready" });
    }
    done.open();
    await until(() => a.told.some(({ code }) => code === "run.completed"), "the end");
    expect(await rows.said()).toEqual(["p", "a answers"]);
  });
});

describe("a tab that", () => {
  beforeEach(() => settleIn(buildTown()));

  it("takes its handler off hands the turn to another at once, though the handler ignores its signal", async () => {
    const a = await openTab(town, "a");
    const late = gate();
    const begun = gate<Turn>();
    const off = a.session.onTurn(async (turn) => {
      begun.open(turn);
      await late.promise;
      turn.append(saying("late"));
    });
    await a.session.submit(prompt("p"));
    const turn = await begun.promise;
    const b = await openTab(town, "b", async (next) => void next.append(saying(`b at attempt ${next.attempt}`)));
    off();
    await until(() => b.told.some(({ code }) => code === "run.completed"), "the end");
    expect(turn.signal.reason).toMatchObject({ code: "aborted", details: { reason: "detached" } });
    late.open();
    await rounds();
    expect(await rows.said()).toEqual(["p", "b at attempt 2"]);
    expect(await rows.counts("p")).toEqual({ attemptCount: 2, recoveryCount: 0 });
    expect([...a.faults, ...b.faults]).toEqual([]);
  });

  it("retires the session during a turn lets what waits be run, and nothing brings the state back (R-92, R-138)", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    const b = await openTab(town, "b");
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    await b.session.submit(prompt("q"));
    // This input starts no run by itself; it is drained all the same.
    await b.session.submit(progress("o"));
    expect(await b.session.retire()).toEqual({ abandoned: 0, pendingDrain: 3 });
    await expect(a.session.submit(prompt("r"))).rejects.toMatchObject({ code: "not-ready" });
    done.open();
    await until(() => log.length === 3, "the drain");
    await rounds(30);
    expect(log).toEqual(["a 1: p", "a 1: o", "a 1: q"]);
    expect((await rows.inputs()).map(({ record }) => record.currentState)).toEqual(["consumed", "consumed", "consumed"]);
    expect((await rows.runtime()).state).toBe("retired");
    expect(a.session.state).toBe("retired");
  });

  it("retired a session has no more inputs taken, also while it drains (R-130)", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a");
    for (const inputId of ["p", "q"]) await a.session.submit(prompt(inputId));
    const go = gate();
    a.session.onTurn(async (turn) => {
      if (turn.inputs[0]?.inputId === "p") await go.promise;
      else await of("a")(turn);
    });
    await rounds(20);
    await a.session.retire();
    await expect(a.session.submit(prompt("r"))).rejects.toMatchObject({ code: "not-ready" });
    go.open();
    await until(() => log.length === 1, "the drain");
    await expect(a.session.submit(prompt("s"))).rejects.toMatchObject({ code: "not-ready" });
    done.open();
  });

  it("hands over a whole snapshot during a turn: what the turn says after it counts as a failure, and the next attempt goes on with it", async () => {
    const seen: unknown[] = [];
    const begun = gate();
    const go = gate();
    const a = await openTab(town, "a", async (turn) => {
      seen.push(turn.messages.map(({ content }) => content));
      begun.open();
      await go.promise;
      turn.append(saying(`attempt ${turn.attempt}`));
    });
    const b = await openTab(town, "b");
    await a.session.submit(prompt("p"));
    await begun.promise;
    const messages = [{ role: "user", content: "before all" }];
    const sessionSnapshot = new TextEncoder().encode(JSON.stringify({ id: "s", title: "kept", messages }));
    await b.kernel.runtime.commitSessionSnapshot(RUNTIME_ID, { sessionSnapshot });
    go.open();
    await until(() => a.told.some(({ code }) => code === "run.completed"), "the end");
    await rounds();
    expect(seen).toEqual([["p"], ["before all", "p"]]);
    expect(await rows.said()).toEqual(["before all", "p", "attempt 2"]);
    expect(a.told.filter(({ code }) => code === "run.failed")).toHaveLength(1);
    expect(a.faults.map(({ code }) => code)).toEqual(["conflict"]);
    expect(JSON.parse(new TextDecoder().decode(await b.kernel.runtime.loadSessionSnapshot(RUNTIME_ID)))).toMatchObject({
      id: "s",
      title: "kept",
    });
    for (const { session } of [a, b])
      expect((await session.messages()).map(({ content }) => content)).toEqual(["before all", "p", "attempt 2"]);
  });

  it("has another policy than it had leaves inputs as they were admitted", async () => {
    const { log, done, of } = shift();
    const host = await town.host("a");
    const steer = builtInPolicy({ kind: "prompt", idle: true, handlingMode: "steer" });
    const first = await host.kernel.session("s", { policy: ({ kind }) => (kind === "prompt" ? steer : undefined) });
    await first.submit(event("e"));
    await first.submit(prompt("p"));
    await first[Symbol.asyncDispose]();
    const b = await openTab(town, "b");
    await b.session.submit(prompt("q"));
    done.open();
    b.session.onTurn(of("b"));
    await until(() => log.length === 2, "the turns");
    await rounds();
    expect(log).toEqual(["b 1: p", "b 1: e q"]);
    expect(await rows.record("p")).toMatchObject({
      policy: { decision: steer },
      runtimeSemantics: { boundary: "run_checkpoint" },
    });
    expect((await rows.record("q")).policy?.decision.routingDisposition).toBe("queue");
  });
});

describe("a process that is a turn", () => {
  beforeEach(() => settleIn(buildTown()));
  const turnOf = (input: JsonValue) => ({ id: "t", input: { type: "session_turn" as const, sessionId: "s", input } });

  it("ends with what its input came to", async () => {
    const a = await openTab(town, "a", async (turn) => void turn.append(saying("answer")));
    await a.kernel.start(turnOf("hello"));
    const result = await a.kernel.process("t").outcome();
    const [input] = await rows.inputs();
    expect(result).toEqual({
      type: "success",
      value: { inputId: input?.inputId, runId: input?.record.lastRunId, outcome: { outcomeType: "consumed" } },
    });
    expect(await rows.said()).toEqual(["hello", "answer"]);
  });

  it("is asked for anew when its id is registered with another input, after retention removed it", async () => {
    const options = { retention: { terminalProcessesMs: 1 } };
    const a = await openTab(town, "a", async (turn) => void turn.append(saying(`turn ${turn.inputs.length}`)), options);
    await a.kernel.start(turnOf("first"));
    const first = await a.kernel.process("t").outcome();
    await town.clock.advance(60_000);
    expect(await a.kernel.process("t").record()).toBeUndefined();
    await a.kernel.start(turnOf("second"));
    const second = await a.kernel.process("t").outcome();
    expect(second).toMatchObject({ type: "success", value: { outcome: { outcomeType: "consumed" } } });
    expect(second).not.toEqual(first);
    expect(await rows.said()).toEqual(["first", "turn 1", "second", "turn 1"]);
  });

  it.each([
    ["is found under the id that an older database gave its input", 0, ["hello", "answer"]],
    ["does not take an input for its own that is older than itself", -1, ["hello", "answer", "hello", "answer"]],
  ])("%s", async (_, ageMs, expected) => {
    const a = await openTab(town, "a");
    const inputId = `process-${bytesToHex(sha256(utf8ToBytes("t"))).slice(0, 28)}`;
    await a.session.submit(prompt(inputId, { text: "hello" }));
    await a.kernel.start(turnOf("hello"));
    const createdAtMs = ((await a.kernel.process("t").record())?.createdAtMs ?? 0) + ageMs;
    const [input] = await rows.inputs();
    await town.put("inputs", { ...input, record: { ...input?.record, createdAtMs } } as never);
    a.session.onTurn(async (turn) => void turn.append(saying("answer")));
    await town.clock.advance(60_000);
    expect(await a.kernel.process("t").outcome()).toMatchObject({ type: "success" });
    await rounds(30);
    expect(await rows.said()).toEqual(expected);
  });

  it("fails when its input is given up", async () => {
    const a = await openTab(town, "a", async () => {
      throw new Error("never");
    });
    await a.kernel.start(turnOf({ inputType: "prompt", text: "hello" }));
    expect(await a.kernel.process("t").outcome()).toMatchObject({ type: "failure", code: "max_attempts_exhausted" });
  });

  it("is cancelled with its input, while it waits and while it runs", async () => {
    const { log, turns, of } = shift();
    const a = await openTab(town, "a", of("a"));
    await a.session.submit(prompt("first"));
    await until(() => log.length === 1, "the turn before it");
    await a.kernel.start(turnOf("waits"));
    await rounds(20);
    await a.kernel.process("t").cancel("not wanted");
    expect(await a.kernel.process("t").outcome()).toMatchObject({ type: "cancelled" });
    await a.session.cancel("first");

    await a.kernel.start({ ...turnOf("runs"), id: "u" });
    await until(() => log.length === 2, "its turn");
    await a.kernel.process("u").cancel("not wanted");
    expect(await a.kernel.process("u").outcome()).toMatchObject({ type: "cancelled" });
    expect(turns[1]?.signal.reason).toMatchObject({ details: { reason: "cancel-requested" } });
    for (const { record } of await rows.inputs())
      expect(record.terminalOutcome).toEqual({ outcomeType: "abandoned", reason: "cancelled" });
    expect(await rows.said()).toEqual([]);
    expect((await rows.lease())?.leaseToken).toBeUndefined();
  });

  it("is finished by another tab when its owner dies, with the one input that it has", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    await a.kernel.start(turnOf("hello"));
    await until(() => log.length === 1, "the turn");
    const b = await openTab(town, "b", of("b"));
    await rounds(20);
    a.die();
    await until(() => log.length === 2, "the second turn");
    done.open();
    expect(await b.kernel.process("t").outcome()).toMatchObject({ type: "success" });
    expect(await rows.inputs()).toHaveLength(1);
    expect(await rows.said()).toEqual(["hello", "b answers"]);
  });

  it("is woken by what concerns its own input and its session alone, and reads the session's row with the others", async () => {
    const { log, of } = shift();
    const a = await openTab(town, "a", of("a"), { concurrency: 40 });
    await a.session.submit(prompt("first"));
    await until(() => log.length === 1, "the turn before them");
    for (let n = 0; n < 30; n++) await a.kernel.start({ ...turnOf(`waits ${n}`), id: `t${n}` });
    await rounds(50);
    expect(await rows.inputs()).toHaveLength(31);
    const readsDuring = async (work: () => Promise<unknown>) => {
      a.probed.seen.length = 0;
      await work();
      await rounds(50);
      const read = a.probed.seen.filter(({ mode }) => mode === "read").map(({ tables }) => tables.join());
      return ["runtimes", "runtimes,inputs"].map((tables) => read.filter((each) => each === tables).length);
    };
    const submitted = readsDuring(async () => {
      for (let n = 0; n < 5; n++) await a.session.submit(prompt(`more ${n}`));
    });
    // The session reads once for each input.
    expect(await submitted).toEqual([0, 5]);
    // Each waiting turn finds at the poll that inputs changed, and reads its own.
    expect(await readsDuring(() => town.clock.advance(5_000))).toEqual([1, 31]);
    expect(await readsDuring(() => town.clock.advance(5_000))).toEqual([1, 1]);
    await a.kernel.sessions.delete("s");
    for (let n = 0; n < 30; n++) expect(await a.kernel.process(`t${n}`).outcome()).toMatchObject({ code: "not-found" });
  });

  it("ends when its session is deleted under it", async () => {
    const { log, of } = shift();
    const a = await openTab(town, "a", of("a"));
    await a.kernel.start(turnOf("hello"));
    await until(() => log.length === 1, "the turn");
    await a.kernel.sessions.delete("s");
    expect(await a.kernel.process("t").outcome()).toMatchObject({ type: "failure", code: "not-found" });
  });
});

describe("an ephemeral input", () => {
  beforeEach(() => settleIn(buildTown()));

  it("is gone when it has ended, and its key with it", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    done.open();
    await a.session.submit(prompt("p", { durability: "ephemeral", idempotencyKey: "k" }));
    await until(() => a.told.some(({ code }) => code === "run.completed"), "the end");
    expect(log).toEqual(["a 1: p"]);
    expect(await rows.inputs()).toEqual([]);
    expect(await town.rows("inputKeys")).toEqual([]);
    expect(await rows.said()).toEqual(["p", "a answers"]);
  });

  it("goes with the tab that submitted it, though another tab was at it, and is run while that lives (R-112)", async () => {
    const { log, of } = shift();
    const a = await openTab(town, "a", of("a"));
    const b = await openTab(town, "b");
    await b.session.submit(prompt("brief", { durability: "ephemeral" }));
    await a.session.submit(prompt("durable"));
    await until(() => log.length === 1, "the turn");
    expect(log).toEqual(["a 1: brief"]);
    b.die();
    await rounds(20);
    a.die();
    const c = await openTab(town, "c", of("c"));
    await until(() => log.length === 2, "the next turn");
    expect(log[1]).toBe("c 1: durable");
    expect(c.session.recovery).toMatchObject({ dropped: 1, recovered: 1 });
    expect((await rows.inputs()).map(({ inputId }) => inputId)).toEqual(["durable"]);
  });

  it("waits on where its tab lives, through the death of the one that ran it", async () => {
    const { log, of } = shift();
    const a = await openTab(town, "a", of("a"));
    const b = await openTab(town, "b");
    await b.session.submit(prompt("brief", { durability: "ephemeral" }));
    await until(() => log.length === 1, "the turn");
    a.die();
    b.session.onTurn(of("b"));
    await until(() => log.length === 2, "the next turn");
    expect(log).toEqual(["a 1: brief", "b 2: brief"]);
  });
});

describe("a kernel that is closed", () => {
  beforeEach(() => settleIn(buildTown()));

  /** A clock that knows which of its timers are still open. */
  function counted(): Clock & { readonly open: number } {
    const timers = new Set<object>();
    return {
      now: town.clock.now,
      monotonicMs: town.clock.monotonicMs,
      setTimer(run, delayMs) {
        const timer = {};
        timers.add(timer);
        const cancel = town.clock.setTimer(() => {
          timers.delete(timer);
          run();
        }, delayMs);
        return () => {
          timers.delete(timer);
          cancel();
        };
      },
      get open() {
        return timers.size;
      },
    };
  }

  it("in the middle of a turn, or beside one, leaves no timer open that would keep its program alive", async () => {
    const { log, of } = shift();
    const clock = counted();
    const a = await openTab(town, "a", of("a"), { clock });
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    const other = counted();
    const b = await openTab(town, "b", of("b"), { clock: other });
    await rounds(20);
    expect(other.open).toBeGreaterThan(0);
    await b.kernel.close();
    expect(other.open).toBe(0);
    expect(clock.open).toBeGreaterThan(0);
    await a.kernel.close();
    await rounds();
    expect(clock.open).toBe(0);
  });

  it("while a commit waits to be tried again leaves the turn to another tab, at no cost", async () => {
    const { log, done, of } = shift();
    const a = await openTab(town, "a", of("a"));
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    a.probed.hooks.open = (seen) => {
      if (seen.mode === "write" && WRITES.commit(seen.tables)) throw new HoldfastError("quota-exceeded", "no space");
    };
    done.open();
    await until(() => a.faults.length > 0, "the refusal");
    await rounds();
    await a.kernel.close();
    await openTab(town, "b", of("b"));
    await until(() => log.length === 2, "the other's turn");
    expect(log[1]).toBe("b 2: p");
    expect(await rows.counts("p")).toEqual({ attemptCount: 2, recoveryCount: 0 });
  });

  it("during a turn, by the machine's own time, keeps its program alive with nothing", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const { log, of } = shift();
    const before = timers();
    const a = await openTab(town, "a", of("a"), { clock: systemClock() });
    await a.session.submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    await a.kernel.close();
    await rounds();
    expect(timers()).toBeLessThanOrEqual(before);
  });
});
