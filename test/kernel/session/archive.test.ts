import { afterEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { KernelSessions, SessionRuntime, Turn } from "../../../src/index.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { type Probe, probe, type Seen } from "../../stores/probe-storage.js";
import { type Bench, bench, closeBenches } from "../hosts.js";
import { gate, rounds, until } from "../rounds.js";

afterEach(closeBenches);

async function linesOf(sessions: KernelSessions, sessionId = "s"): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of sessions.export(sessionId)) lines.push(line);
  return lines;
}

const prompt = (text: string, more: object = {}) => ({ inputType: "prompt" as const, text, ...more });

/** Two kernels of one database, each behind a probe of its own. No notice of one reaches the other. */
async function two(): Promise<{ here: Bench; there: Bench }> {
  const storage = memoryStorage();
  const here = await bench({ hostId: "here" }, { probed: probe(storage) });
  const there = await bench({ hostId: "there" }, { probed: probe(storage), clock: here.clock });
  return { here, there };
}

/** All rows of a database, by table. */
async function rowsIn(probed: Probe): Promise<Record<string, unknown[]>> {
  const storage = await probed.storage.open({
    name: "bench",
    schema: SCHEMA,
    durability: "relaxed",
    newDatabaseId: "none",
    onState: () => undefined,
  });
  try {
    // A host may write a beat at any time: its row is left out.
    const tables = Object.keys(SCHEMA.tables).filter((table) => table !== "hosts");
    return await storage.transact(tables, "read", async (tx) => {
      const rows = await Promise.all(tables.map((table) => tx.range(table, {})));
      return Object.fromEntries(tables.map((table, at) => [table, rows[at] as unknown[]]));
    });
  } finally {
    await storage.close();
  }
}

interface Held {
  readonly turn: Turn;
  /** The calls that the handler made on its turn after it was let go. */
  readonly calls: Promise<unknown>[];
  go(): void;
}

/** A turn whose handler stands still until it is let go, and then makes every call that a turn has. */
function holdTurn(session: SessionRuntime): { held: Promise<Held> } {
  const started = gate<Held>();
  session.onTurn(async (turn) => {
    const leave = gate();
    const calls: Promise<unknown>[] = [];
    started.open({ turn, calls, go: () => leave.open() });
    await leave.promise;
    calls.push(
      Promise.resolve().then(() => void turn.append({ role: "assistant", content: "late" })),
      turn.checkpoint(),
      turn.step("late", () => 1),
    );
    await Promise.allSettled(calls);
  });
  return { held: started.promise };
}

const codesOf = async (calls: readonly Promise<unknown>[]) =>
  (await Promise.allSettled(calls)).map((result) =>
    result.status === "fulfilled" ? "done" : (result.reason as HoldfastError).code,
  );

describe("a session that is deleted", () => {
  for (const where of ["here", "there"] as const) {
    it(`under a turn, by ${where === "here" ? "its own" : "another"} kernel: the handler is told, and nothing that it does is stored`, async () => {
      const both = await two();
      const { here } = both;
      const session = await here.kernel.session("s");
      const { held } = holdTurn(session);
      await session.submit(prompt("hello"));
      const { turn, calls, go } = await held;
      await both[where].kernel.sessions.delete("s");
      await rounds();
      // Without a channel the next poll finds it.
      if (where === "there") await here.clock.advance(5_000);
      await until(() => turn.signal.aborted, "the abort");
      expect(turn.signal.reason).toMatchObject({ code: "lease-lost", details: { state: "deleted" } });
      go();
      await until(() => calls.length === 3, "the late calls");
      expect((await codesOf(calls)).filter((code) => code === "done")).toEqual([]);
      await rounds();
      const rows = await rowsIn(here.probed);
      const left = Object.entries(rows).filter(([, found]) => found.length > 0);
      expect(left.map(([table]) => table)).toEqual(["runtimes", "floors"]);
      expect(rows.floors).toEqual([{ v: 1, name: "leases", floor: 1 }]);
      expect(here.faults).toEqual([]);
    });
  }

  it("does not linger in a kernel that had it open: opened again it is new, and its turns run", async () => {
    const { here, there } = await two();
    const old = await here.kernel.session("s");
    const before: string[] = [];
    old.onTurn(async ({ runId }) => void before.push(runId));
    await there.kernel.sessions.delete("s");
    await here.clock.advance(5_000);
    await rounds();
    // No loop renews the attachment of a deleted session.
    await here.clock.advance(20_000);
    expect((await rowsIn(here.probed)).attachments).toEqual([]);
    const session = await here.kernel.session("s");
    expect(session.state).toBe("idle");
    session.onTurn(async (turn) => void turn.append({ role: "assistant", content: "new" }));
    await old[Symbol.asyncDispose]();
    await session.submit(prompt("hello"));
    await rounds();
    expect((await session.messages()).map(({ content }) => content)).toEqual(["hello", "new"]);
    expect(before).toEqual([]);
    expect((await rowsIn(here.probed)).attachments).toHaveLength(1);
    await expect(old.submit(prompt("late"))).rejects.toMatchObject({ code: "closed" });
  });

  it("and made anew runs its turns under higher fencing tokens than before", async () => {
    const { here } = await two();
    const fences: unknown[] = [];
    for (let round = 0; round < 3; round++) {
      const session = await here.kernel.session("s");
      session.onTurn(async ({ step }) => void (await step("call", ({ fencingToken }) => fences.push(fencingToken))));
      await session.submit(prompt("hello"));
      await until(() => fences.length > round, "the turn");
      await session[Symbol.asyncDispose]();
      if (round < 2) await here.kernel.sessions.delete("s");
    }
    expect(fences).toEqual([1, 2, 3]);
    expect((await rowsIn(here.probed)).leases).toMatchObject([{ resource: "rt:session:s", fencingToken: 3, attempts: 1 }]);
  });

  it("leaves no tab busy with it that had it open", async () => {
    const { kernel, probed, clock } = await bench();
    await kernel.session("s");
    const isScan = (ranges: readonly string[]) => ranges.some((range) => range.includes('"limit"'));
    const renewals = () =>
      probed.seen.filter(({ mode, tables, ranges }) => mode === "write" && tables.includes("attachments") && !isScan(ranges))
        .length;
    const before = renewals();
    await clock.advance(20_000);
    expect(renewals()).toBeGreaterThan(before);
    await kernel.sessions.delete("s");
    await rounds();
    const after = renewals();
    await clock.advance(60_000);
    expect(renewals()).toBe(after);
  });

  it("leaves no executor that looks for its turns, also while another runs one of a new session of its id", async () => {
    const { here, there } = await two();
    const old = await here.kernel.session("s");
    old.onTurn(async () => undefined);
    await rounds();
    // The other tab is at work, so this one waits for the lease.
    const first = await there.kernel.session("s");
    const hung = gate();
    first.onTurn(async () => await hung.promise);
    await first.submit(prompt("hello"));
    await rounds(40);
    await here.clock.advance(6_000);
    await there.kernel.sessions.delete("s");
    const again = await there.kernel.session("s");
    let isRunning = false;
    again.onTurn(async () => {
      isRunning = true;
      await hung.promise;
    });
    await again.submit(prompt("hello"));
    await until(() => isRunning, "a turn of the new one");
    await here.clock.advance(6_000);
    await rounds();
    const before = here.probed.seen.length;
    await here.clock.advance(12_000);
    await rounds();
    const looks = here.probed.seen.slice(before).filter(({ tables, mode }) => mode === "read" && tables.includes("farewells"));
    expect(looks.filter(({ tables }) => !tables.includes("hosts"))).toEqual([]);
    expect(here.faults).toEqual([]);
    hung.open();
  });

  it("is no session any more for processes that are turns of a new one", async () => {
    const { here, there } = await two();
    const old = await here.kernel.session("s");
    old.onTurn(async () => undefined);
    await rounds();
    await there.kernel.sessions.delete("s");
    await there.kernel.session("s");
    await here.clock.advance(5_000);
    await rounds();
    const handle = await there.kernel.start({ input: { type: "session_turn", sessionId: "s", input: "go" } });
    await here.clock.advance(60_000);
    await rounds();
    expect(await handle.record()).toMatchObject({ status: { state: "running" } });
    expect(await here.kernel.processes.getLease(handle.id)).toBeUndefined();
  });

  it("and made anew before its kernel heard of it is the new one for processes that are turns of it", async () => {
    const { here, there } = await two();
    const old = await here.kernel.session("s");
    old.onTurn(async () => undefined);
    await rounds();
    await there.kernel.sessions.delete("s");
    await there.kernel.session("s");
    const again = await here.kernel.session("s");
    again.onTurn(async (turn) => void turn.append({ role: "assistant", content: "done" }));
    const handle = await here.kernel.start({ input: { type: "session_turn", sessionId: "s", input: "go" } });
    // A loop leaves new processes alone for a moment while there is another host.
    await here.clock.advance(100);
    await rounds(40);
    expect(await handle.record()).toMatchObject({ status: { state: "completed" } });
    expect((await again.messages()).map(({ content }) => content)).toEqual(["go", "done"]);
  });

  it("while others submit: each input was before it or is refused, and nothing is left", async () => {
    const { here, there } = await two();
    const session = await here.kernel.session("s");
    const codes: string[] = [];
    let gone: Promise<unknown> | undefined;
    for (let at = 0; at < 100 && codes.at(-1) !== "not-found"; at++) {
      if (at === 10) gone = there.kernel.sessions.delete("s");
      codes.push(...(await codesOf([session.submit(prompt(`input ${at}`))])));
    }
    await gone;
    expect([codes[9], codes.at(-1)]).toEqual(["done", "not-found"]);
    expect((await rowsIn(here.probed)).inputs).toEqual([]);
  });

  it("ends what waits for an operation of it", async () => {
    const { here } = await two();
    const session = await here.kernel.session("s");
    await session.ops.register({ id: "op", kind: "background_tool_op", displayName: "op" });
    const wait = codesOf([session.ops.watch("op"), session.ops.waitForAdvance(0)]);
    await rounds();
    await here.kernel.sessions.delete("s");
    expect(await wait).toEqual(["not-found", "not-found"]);
  });

  it("tells its listeners", async () => {
    const { here } = await two();
    const session = await here.kernel.session("s");
    const heard: string[] = [];
    session.subscribe(({ type }) => heard.push(type));
    await here.kernel.sessions.delete("s");
    await rounds();
    expect(new Set(heard)).toEqual(new Set(["messages", "state"]));
  });

  it("by two kernels at once is deleted once: one takes the grants, and each process is asked once", async () => {
    const { here, there } = await two();
    const { processes } = here.kernel;
    for (const id of ["a", "b"]) {
      await processes.registerProcess({ id, input: { type: "external", metadata: {} } });
      await processes.grantHandle({ sessionId: "s" }, id, {});
    }
    await here.kernel.session("s");
    const reports = await Promise.all([here, there].map(({ kernel }) => kernel.sessions.delete("s")));
    expect(reports.map(({ revokedHandleCount }) => revokedHandleCount).sort()).toEqual([0, 2]);
    for (const id of ["a", "b"]) expect(await processes.eventsAfter(id, 0)).toHaveLength(1);
    expect((await rowsIn(here.probed)).runtimes).toEqual([expect.objectContaining({ incarnation: 1 })]);
  });

  it("asks a running handler to cancel", async () => {
    const asked = gate<unknown>();
    const { kernel } = await bench({
      handlers: {
        work: async ({ signal }) => {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          asked.open(signal.reason);
        },
      },
    });
    await kernel.start({ input: { type: "task", name: "work" }, grant: { scope: { sessionId: "s" } } });
    await rounds();
    await kernel.sessions.delete("s");
    expect(await asked.promise).toMatchObject({ message: expect.stringContaining("session deleted") });
  });
});

const isOfSessions = ({ mode, tables }: Seen) => mode === "write" && tables.includes("quarantine") && tables.includes("ops");

describe("a storage that fails in the middle", () => {
  async function furnished(): Promise<Bench> {
    const made = await bench();
    const session = await made.kernel.session("s");
    session.onTurn(async (turn) => void turn.append({ role: "assistant", content: "hi" }));
    await session.submit(prompt("hello", { idempotencyKey: "k" }));
    await rounds();
    await made.kernel.processes.registerProcess({ id: "p", input: { type: "external", metadata: {} } });
    await made.kernel.processes.grantHandle({ sessionId: "s" }, "p", {});
    return made;
  }

  it("leaves a session as it was when it fails its deletion, which may be tried again", async () => {
    const { kernel, probed } = await furnished();
    const before = await rowsIn(probed);
    probed.hooks.end = (seen) => {
      if (isOfSessions(seen)) throw new HoldfastError("write-failed", "no space today");
    };
    await expect(kernel.sessions.delete("s")).rejects.toMatchObject({ code: "write-failed" });
    expect(await rowsIn(probed)).toEqual(before);
    probed.hooks = {};
    expect(await kernel.sessions.delete("s")).toMatchObject({ revokedHandleCount: 1, cancelProcessIds: ["p"] });
  });

  it("leaves no part of a session behind when it fails its import, which may be tried again", async () => {
    const { kernel } = await furnished();
    const lines = await linesOf(kernel.sessions);
    const { kernel: other, probed } = await bench();
    const before = await rowsIn(probed);
    probed.hooks.end = (seen) => {
      if (isOfSessions(seen)) throw new HoldfastError("quota-exceeded", "no space today");
    };
    await expect(other.sessions.import(lines)).rejects.toMatchObject({ code: "quota-exceeded" });
    expect(await rowsIn(probed)).toEqual(before);
    probed.hooks = {};
    expect(await other.sessions.import(lines)).toEqual({ sessionId: "s" });
  });

  it("and hides the outcome of a deletion has it made again, which changes nothing more", async () => {
    const { kernel, probed } = await furnished();
    let hidden = 0;
    probed.hooks.done = (seen) => {
      if (isOfSessions(seen) && hidden++ === 0)
        throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
    };
    await kernel.sessions.delete("s");
    expect(hidden).toBe(2);
    const rows = await rowsIn(probed);
    expect(rows.runtimes).toEqual([expect.objectContaining({ incarnation: 1 })]);
    expect(await kernel.processes.eventsAfter("p", 0)).toHaveLength(1);
  });
});

describe("an export", () => {
  it("while a turn runs is of one moment: what it has is whole, and a turn elsewhere goes on behind it", async () => {
    const { kernel } = await bench();
    const session = await kernel.session("s");
    const reached = gate();
    const leave = gate();
    session.onTurn(async (turn) => {
      for (let at = 0; at < 10; at++) {
        turn.append({ role: "assistant", content: `line ${at}` });
        await turn.checkpoint();
      }
      await turn.step("paid", () => "once");
      reached.open();
      await leave.promise;
    });
    await session.submit(prompt("hello"));
    await session.submit(prompt("next"));
    const moments: string[][] = [];
    for (let at = 0; at < 10; at++) moments.push(await linesOf(kernel.sessions));
    await reached.promise;
    moments.push(await linesOf(kernel.sessions));
    leave.open();
    for (const lines of moments) {
      const other = await bench();
      await other.kernel.sessions.import(lines);
      const messages = await other.kernel.sessions.messages("s");
      const rows = messages.map(({ content }) => content);
      // A checkpoint is stored whole or not at all.
      expect(rows).toEqual(["hello", ...Array.from({ length: 10 }, (_, at) => `line ${at}`)].slice(0, rows.length));
      expect((await other.kernel.sessions.list()).map(({ state }) => state)).toEqual(["idle"]);
      const states = await other.kernel.runtime.loadInputStates("rt:session:s");
      expect(states.map(({ currentState }) => currentState)).toEqual(["queued", "queued"]);
      // The owner lives, so no crash is counted.
      expect(states.map(({ recoveryCount }) => recoveryCount)).toEqual([0, 0]);
    }
    const other = await bench();
    await other.kernel.sessions.import(moments.at(-1) as string[]);
    const copy = await other.kernel.session("s");
    const ran: unknown[] = [];
    copy.onTurn(async (turn) => {
      ran.push([turn.inputs.length, await turn.step("paid", () => "twice")]);
    });
    await rounds(40);
    expect(ran).toEqual([
      [1, "once"],
      [1, "twice"],
    ]);
    const said = (await copy.messages()).map(({ content }) => content);
    expect(said.filter((content) => content === "hello")).toHaveLength(1);
    expect(said.at(-1)).toBe("next");
  });

  it("leaves the run that it saw to its executor", async () => {
    const { kernel, faults } = await bench();
    const session = await kernel.session("s");
    const { held } = holdTurn(session);
    await session.submit(prompt("hello"));
    const { turn, go } = await held;
    await linesOf(kernel.sessions);
    expect(turn.signal.aborted).toBe(false);
    go();
    await rounds();
    expect((await session.messages()).map(({ content }) => content)).toEqual(["hello", "late"]);
    expect(faults).toEqual([]);
  });

  it("of a transcript of a megabyte comes back the same", async () => {
    const { kernel } = await bench();
    const session = await kernel.session("s");
    session.onTurn(async (turn) => {
      for (let at = 0; at < 1_000; at++) turn.append({ role: "assistant", content: `${at} ${"é\u{1f600}".repeat(180)}` });
    });
    await session.submit(prompt("look"));
    await until(() => session.state !== "running", "the turn");
    await rounds();
    const lines = await linesOf(kernel.sessions);
    const text = lines.join("");
    expect(new TextEncoder().encode(text).length).toBeGreaterThan(1_048_576);

    const { kernel: other } = await bench();
    await other.sessions.import(lines);
    expect((await linesOf(other.sessions)).slice(1).join("") === lines.slice(1).join("")).toBe(true);
    const messages = await other.sessions.messages("s");
    expect(JSON.stringify(messages) === JSON.stringify(await session.messages())).toBe(true);
    expect(messages).toHaveLength(1_001);
  });

  it("of an image of many lines comes back the same, and parts in another order, left out or doubled are noticed", async () => {
    const { kernel } = await bench({ loop: "off" });
    const image = Uint8Array.from({ length: 500_001 }, (_, at) => (at * 7919) % 251);
    const images = [image, new Uint8Array()].map((data) => ({ type: "image", data }));
    await (await kernel.session("s")).submit(prompt("look", { inputId: "a", blocks: images }));
    const lines = await linesOf(kernel.sessions);
    const parts = lines.filter((line) => line.startsWith('{"type":"blob"') && line.includes('"of":3'));
    expect(parts).toHaveLength(3);

    const { kernel: other } = await bench({ loop: "off" });
    const at = lines.indexOf(parts[0] as string);
    for (const [take, ...put] of [[2, 1, 0], [1], [1, 0, 0]] as number[][]) {
      const bad = lines.toSpliced(at, take as number, ...put.map((part) => parts[part] as string));
      await expect(other.sessions.import(bad)).rejects.toMatchObject({ code: "invalid" });
    }
    const [header, input] = lines as [string, string];
    const between = [header, ...lines.slice(2, at + 1), input, ...lines.slice(at + 1)];
    await expect(other.sessions.import(between)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining("must go on with the blob"),
    });

    await other.sessions.import(lines);
    const copy = await other.session("s");
    const stored = await other.runtime.loadInputState(copy.runtimeId, "a");
    const blocks = stored?.persistedInput?.blocks as { blob: string }[] | undefined;
    const bytes = await Promise.all((blocks ?? []).map(({ blob }) => copy.blob(blob)));
    expect(bytes.map((found) => found?.length)).toEqual([500_001, 0]);
    expect(bytes[0]?.every((byte, index) => byte === image[index])).toBe(true);
  });

  it("is read in one transaction, and written by an import in one", async () => {
    const { kernel, probed } = await bench();
    const session = await kernel.session("s");
    await session.submit(prompt("hello"));
    await rounds();
    const seen = probed.seen.length;
    const lines = await linesOf(kernel.sessions);
    expect(probed.seen.slice(seen).map(({ mode }) => mode)).toEqual(["read"]);
    const other = await bench({ loop: "off" });
    await rounds();
    const before = other.probed.seen.length;
    await other.kernel.sessions.import(lines);
    expect(other.probed.seen.slice(before).map(({ mode, committed }) => [mode, committed])).toEqual([["write", true]]);
  });
});

describe("an import", () => {
  it("of a session that is open is refused, and disturbs no tab that has it open", async () => {
    const { here, there } = await two();
    const session = await here.kernel.session("s");
    const { held } = holdTurn(session);
    await session.submit(prompt("hello"));
    const { turn, go } = await held;
    const lines = await linesOf(there.kernel.sessions);
    await expect(there.kernel.sessions.import(lines)).rejects.toMatchObject({ code: "conflict" });
    await rounds();
    expect(turn.signal.aborted).toBe(false);
    go();
    await rounds();
    expect((await session.messages()).map(({ content }) => content)).toEqual(["hello", "late"]);
  });

  it("twice at once is one session", async () => {
    const { kernel } = await bench();
    await (await kernel.session("s")).submit(prompt("hello"));
    const lines = await linesOf(kernel.sessions);
    const { here, there } = await two();
    const codes = await codesOf([here, there].map(({ kernel }) => kernel.sessions.import(lines)));
    expect(codes.sort()).toEqual(["conflict", "done"]);
    expect(await here.kernel.runtime.loadInputStates("rt:session:s")).toHaveLength(1);
  });
});
