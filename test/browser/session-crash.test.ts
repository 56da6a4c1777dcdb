// Sessions on the browser's own IndexedDB, whose transactions are broken at every request, one after another. Each failure keeps
// the earlier rows as they were, gives the caller its code, and lets a retry work; in the end everything has happened once.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { refusal } from "../../src/conformance/kit/fixture.js";
import { createKernel, type Kernel, type KernelOptions, type SessionRuntime, type Turn } from "../../src/index.js";
import type { SessionEvent } from "../../src/kernel/session/events.js";
import type { LeaseRow } from "../../src/stores/host/tables.js";
import type { InputRow } from "../../src/stores/session/inputs/tables.js";
import type { MessageRow, ReceiptRow, RuntimeRow } from "../../src/stores/session/tables.js";
import {
  answer,
  type Bare,
  CODES,
  type CommandName,
  type Harm,
  harm,
  openBare,
  type Rows,
  type Sweep,
  watchTransactions,
} from "./saboteur.js";

watchTransactions();

const RUNTIME_ID = "rt:session:s";
const TIMINGS = { leaseTtlMs: 60_000, leaseRenewMs: 80, sweepMs: 60_000, pollMs: 20 };
const PICTURE = { type: "image", mediaType: "image/png", data: btoa("a picture") };

let names = 0;
let name: string;
let bare: Bare;
let kernels: Kernel[] = [];
let told: SessionEvent[] = [];
let faults: string[] = [];

async function open(options: Partial<KernelOptions> = {}): Promise<Kernel> {
  const kernel = await createKernel({
    name,
    loop: "inline",
    timings: TIMINGS,
    turnRetry: { attempts: 3, backoffMs: 0 },
    ...options,
  });
  kernels.push(kernel);
  kernel.on("session", (event) => told.push(event));
  kernel.on("fault", ({ code }) => faults.push(code));
  // The kernel's lock is granted after this: its later rows are marked as locked.
  await kernel.status();
  return kernel;
}

async function closeAll(): Promise<void> {
  await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
}

beforeEach(async () => {
  name = `session-crash-${++names}`;
  told = [];
  faults = [];
  await (await open()).close();
  kernels = [];
  bare = await openBare(name);
});

afterEach(async () => {
  await closeAll();
  bare.close();
  await answer(indexedDB.deleteDatabase(name));
});

/** The rows without the values that only renew a sign of life. */
function still(rows: Rows): Rows {
  const { hosts: _, ...others } = rows;
  const timeless = (row: Record<string, unknown>) => ({ ...row, expiresAtMs: "any" });
  return { ...others, leases: (rows.leases ?? []).map(timeless), attachments: (rows.attachments ?? []).map(timeless) };
}

const read = async () => still(await bare.read());

/** Harms the call until it passes; each failure has its code and changes nothing. */
async function sweep<T>(command: CommandName, how: keyof typeof CODES, call: () => Promise<T>): Promise<T> {
  const before = await read();
  const heard = told.length;
  const swept = harm(command, how, read);
  for (;;) {
    const outcome = await call().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    if ("value" in outcome) {
      expect(swept.passed).toBe(true);
      await leftAlone(swept, before);
      return outcome.value;
    }
    expect(outcome.error).toMatchObject({ name: "HoldfastError", code: CODES[how] });
    expect(swept.passed).toBe(false);
    expect(await read()).toEqual(before);
    expect(told.slice(heard)).toEqual([]);
  }
}

async function leftAlone(swept: Sweep, before: Rows): Promise<void> {
  for (const left of swept.left) expect(await left).toEqual(before);
  expect(swept.left.length, "hardly a request was harmed").toBeGreaterThanOrEqual(FEWEST);
}

const FEWEST = 3;

const prompt = (inputId: string, more: object = {}) => ({ inputType: "prompt" as const, text: inputId, inputId, ...more });
const event = (inputId: string) => ({ inputType: "external_event" as const, text: inputId, inputId });
const progress = (inputId: string, more: object = {}) => ({
  inputType: "peer" as const,
  inputId,
  convention: { conventionType: "response_progress", requestId: "r" },
  supersessionKey: "r",
  ...more,
});
const saying = (content: string) => ({ role: "assistant" as const, content });

const inputsOf = (rows: Rows) => (rows.inputs ?? []) as unknown as InputRow[];
const phasesOf = (rows: Rows) => inputsOf(rows).map(({ inputId, record }) => `${inputId} ${record.currentState}`);
const recordOf = (rows: Rows, inputId: string) => inputsOf(rows).find((row) => row.inputId === inputId)?.record;
const receiptsOf = (rows: Rows) => ((rows.receipts ?? []) as unknown as ReceiptRow[]).map(({ receipt }) => receipt);
const messagesOf = (rows: Rows) => (rows.messages ?? []) as unknown as MessageRow[];
const saidIn = (rows: Rows) => messagesOf(rows).map(({ message }) => message.inputId ?? message.content);
const runtimeOf = (rows: Rows) => (rows.runtimes as unknown as RuntimeRow[])[0];
const leaseOf = (rows: Rows) => ((rows.leases ?? []) as unknown as LeaseRow[]).find(({ resource }) => resource === RUNTIME_ID);

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 12_000; performance.now() < endMs; ) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`it did not come: ${what}; ${JSON.stringify({ faults: [...new Set(faults)], told: told.slice(-8) })}`);
}

const completed = (count: number) =>
  until(`${count} turns`, () => told.filter(({ code }) => code === "run.completed").length === count);

/** The promises when nothing waits and nothing runs: all of it happened once. */
async function expectDone(expected: { runs: string[][]; said: string[] }): Promise<Rows> {
  const rows = await bare.read();
  const receipts = receiptsOf(rows);
  expect(receipts.map(({ contributingInputIds }) => contributingInputIds).sort()).toEqual([...expected.runs].sort());
  expect(saidIn(rows)).toEqual(expected.said);
  expect(messagesOf(rows).map(({ position }) => position)).toEqual(expected.said.map((_, at) => at));
  for (const row of inputsOf(rows)) {
    expect(row.record.currentState, row.inputId).toBe("consumed");
    expect(row.liveRank).toBeUndefined();
    expect(row.record.history.filter(({ to }) => to === "consumed")).toHaveLength(1);
  }
  expect(runtimeOf(rows)).toMatchObject({ state: "idle", messageCount: expected.said.length });
  expect(runtimeOf(rows)?.run).toBeUndefined();
  expect(receipts.some(({ conversationDigest }) => conversationDigest === runtimeOf(rows)?.digest)).toBe(true);
  expect(rows.sessions).toMatchObject([{ sessionId: "s", messageCount: expected.said.length }]);
  expect(rows.turnSteps).toEqual([]);
  expect(leaseOf(rows)?.leaseToken).toBeUndefined();
  for (const inputId of expected.runs.flat()) {
    expect(told.filter((each) => each.code === "input.consumed" && each.inputId === inputId)).toHaveLength(1);
  }
  return rows;
}

/** The rows of a session whose tab dies while its turn is under way. */
async function crashed(): Promise<Rows> {
  const session = await (await open()).session("s");
  await session.submit(event("ev"));
  await session.submit(prompt("p", { idempotencyKey: "k" }));
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  session.onTurn(async (turn) => {
    await turn.step("one", () => "done");
    turn.append(saying("half"));
    await turn.checkpoint();
    begin();
    await new Promise(() => {});
  });
  await begun;
  const rows = await bare.read();
  await closeAll();
  const gone = ({ locked: _, ...row }: Record<string, unknown>) => ({ ...row, expiresAtMs: 1 });
  // The host's row is removed too: the loop would use it to find the host dead, at a moment of its own.
  const dead = { ...rows, hosts: [], leases: (rows.leases ?? []).map(gone), attachments: (rows.attachments ?? []).map(gone) };
  await bare.restore(dead);
  told = [];
  faults = [];
  return dead;
}

const HARMS = Object.keys(CODES) as (keyof typeof CODES)[];

describe.each(HARMS)("every request in turn is %s, and", (how) => {
  it("a session is made all the same, all or nothing", async () => {
    const kernel = await open();
    await sweep("open", how, () => kernel.session("s"));
    const rows = await bare.read();
    expect(runtimeOf(rows)).toMatchObject({ state: "idle", incarnation: 0 });
    expect([rows.runtimes, rows.sessions, rows.attachments].map((table) => table?.length)).toEqual([1, 1, 1]);
  });

  it("an input is accepted at last under the same id and key, with all that belongs to it, and once (R-79, R-82, R-83)", async () => {
    const session = await (await open()).session("s");
    await session.submit(progress("old"));
    const given = progress("new", { idempotencyKey: "k", blocks: [PICTURE] });
    const submitted = () => session.submit(structuredClone(given));
    expect(await sweep("accept", how, submitted)).toEqual({ outcome: "accepted", inputId: "new" });
    const rows = await bare.read();
    expect(phasesOf(rows)).toEqual(["new queued", "old coalesced"]);
    expect(rows.inputKeys).toMatchObject([{ idempotencyKey: "k", inputId: "new" }]);
    expect(rows.blobs).toHaveLength(1);
    expect(runtimeOf(rows)?.nextRank).toBe(2);
    const again = { ...structuredClone(given), inputId: "again" };
    expect(await session.submit(again)).toEqual({ outcome: "deduplicated", inputId: "again", existingId: "new" });
  });

  it("a turn begins: nothing is staged by half, no attempt is lost (R-93)", async () => {
    const kernel = await open();
    const session = await kernel.session("s");
    const seen: unknown[][] = [];
    session.onTurn(async ({ messages, attempt }) => void seen.push([attempt, ...messages.map(({ content }) => content)]));
    // The same write turns a transcript that was stored whole into rows.
    const bytes = new TextEncoder().encode(JSON.stringify({ id: "s", messages: [saying("before")], more: 1 }));
    await kernel.runtime.commitSessionSnapshot(RUNTIME_ID, { sessionSnapshot: bytes });
    // The pauses grow with each turn that fails in a row, so each request is tested in a turn of its own.
    let harmed = 0;
    for (let passed = false; !passed; ) {
      const { handed, swept } = await oneHarmed(kernel, session, `p${harmed}`, harmed);
      passed = swept;
      expect(handed, `request ${harmed + 1}`).toBe(true);
      harmed++;
    }
    expect(harmed).toBeGreaterThan(10);
    for (const turn of seen) expect(turn[0]).toBe(1);

    /** Harms the n-th request of the next begin. */
    async function oneHarmed(on: Kernel, at: SessionRuntime, inputId: string, skip: number) {
      await on.runtime.commitSessionSnapshot(RUNTIME_ID, { sessionSnapshot: bytes });
      const begun = harm("begin", how, read, skip, 1);
      const runs = told.filter(({ code }) => code === "run.completed").length;
      let before: Rows | undefined;
      // The input is announced after it is stored, and the executor looks after the announcement.
      await at.submit(prompt(inputId));
      await completed(runs + 1);
      const [left] = begun.left;
      before = left && (await left);
      if (before) {
        expect(recordOf(before, inputId)).toMatchObject({ currentState: "queued", attemptCount: 0 });
        expect(before.snapshots).toHaveLength(1);
        expect(runtimeOf(before)?.run).toBeUndefined();
        expect(leaseOf(before)?.leaseToken).toBeUndefined();
      }
      const rows = await bare.read();
      expect(saidIn(rows)).toEqual(["before", inputId]);
      expect(recordOf(rows, inputId)).toMatchObject({ currentState: "consumed", attemptCount: 1, recoveryCount: 0 });
      return { handed: rows.snapshots?.length === 0, swept: begun.left.length === 0 };
    }
  });

  it("a checkpoint is refused to its handler, which tries again: its messages are stored once", async () => {
    const session = await (await open()).session("s");
    await session.submit(prompt("p"));
    let runs = 0;
    session.onTurn(async (turn) => {
      runs++;
      turn.append(saying("half"));
      await sweep("checkpoint", how, () => turn.checkpoint());
      expect(saidIn(await read())).toEqual(["p", "half"]);
      turn.append(saying("whole"));
    });
    await completed(1);
    await expectDone({ runs: [["p"]], said: ["p", "half", "whole"] });
    expect(runs).toBe(1);
    expect(faults).toEqual([]);
  });

  it("a step's result is refused to its handler, which tries again: the stored one stays", async () => {
    const session = await (await open()).session("s");
    await session.submit(prompt("p"));
    const results: unknown[] = [];
    let tries = 0;
    session.onTurn(async (turn) => {
      results.push(await sweep("step", how, () => turn.step("one", () => ++tries)), await turn.step("one", () => ++tries));
      expect((await read()).turnSteps).toMatchObject([{ stepKey: "one", result: results[0] }]);
    });
    await completed(1);
    expect(results[1]).toBe(results[0]);
    await expectDone({ runs: [["p"]], said: ["p"] });
  });

  it("a turn is committed once: messages, receipt, inputs and state together, and its handler runs no second time (R-95, R-96)", async () => {
    const session = await (await open()).session("s");
    await session.submit(event("ev"));
    await session.submit(prompt("p", { idempotencyKey: "k" }));
    let runs = 0;
    let before: Rows = {};
    let committing: Sweep | undefined;
    session.onTurn(async (turn) => {
      runs++;
      await turn.step("one", () => "done");
      turn.append(saying("half"));
      await turn.checkpoint();
      turn.append(saying("whole"));
      before = await read();
      committing = harm("commit", how, read);
    });
    await completed(1);
    await leftAlone(committing as Sweep, before);
    expect(phasesOf(before)).toEqual(["ev staged", "p staged"]);
    const rows = await expectDone({ runs: [["ev", "p"]], said: ["ev", "p", "half", "whole"] });
    expect(recordOf(rows, "p")).toMatchObject({ attemptCount: 1, recoveryCount: 0 });
    expect(rows.inputKeys).toMatchObject([{ idempotencyKey: "k", inputId: "p", endedAtMs: expect.any(Number) }]);
    expect(runs).toBe(1);
    expect(new Set(faults)).toEqual(new Set([CODES[how]]));
    expect((await session.messages()).map(({ content }) => content).slice(2)).toEqual(["half", "whole"]);
  });

  it("a failed turn is stored as one failure, and tried again (R-98)", async () => {
    const session = await (await open()).session("s");
    await session.submit(prompt("p"));
    let before: Rows = {};
    let ending: Sweep | undefined;
    session.onTurn(async ({ attempt }) => {
      if (attempt > 1) return;
      before = await read();
      ending = harm("end", how, read);
      throw new Error("it broke");
    });
    await completed(1);
    await leftAlone(ending as Sweep, before);
    const rows = await expectDone({ runs: [["p"]], said: ["p"] });
    const { attemptCount, history } = recordOf(rows, "p") ?? {};
    expect(attemptCount).toBe(2);
    expect(history?.filter(({ reason }) => reason === "it broke")).toHaveLength(1);
    expect(told.filter(({ code }) => code === "run.failed")).toMatchObject([{ error: "it broke" }]);
  });

  it("what a dead tab left is recovered all or nothing, and goes on where its checkpoint was (R-110, R-114)", async () => {
    await crashed();
    const kernel = await open();
    const session = await sweep("open", how, () => kernel.session("s"));
    expect(session.recovery).toEqual({ recovered: 2, requeued: 2, consumed: 0, abandoned: 0, dropped: 0 });
    expect(phasesOf(await read())).toEqual(["ev queued", "p queued"]);
    const turns: Turn[] = [];
    session.onTurn(async (turn) => {
      turns.push(turn);
      expect(await turn.step("one", () => "again")).toBe("done");
      turn.append(saying("whole"));
    });
    await completed(1);
    expect(turns.map(({ attempt, messages }) => [attempt, messages.map(({ content }) => content).slice(2)])).toEqual([
      [2, ["half"]],
    ]);
    const rows = await expectDone({ runs: [["ev", "p"]], said: ["ev", "p", "half", "whole"] });
    expect(recordOf(rows, "p")).toMatchObject({ attemptCount: 2, recoveryCount: 1 });
  });

  it.each(["shutdown", "destroy", "retire", "reset", "recycle"] as const)(
    "%s changes all or nothing (R-135)",
    async (command) => {
      const session = await (await open()).session("s");
      await session.submit(prompt("p", { idempotencyKey: "k" }));
      await session.submit(prompt("q"));
      await sweep<unknown>("change", how, () => session[command]());
      const rows = await bare.read();
      const ended = command === "recycle" ? "queued" : "abandoned";
      expect(phasesOf(rows)).toEqual([`p ${ended}`, `q ${ended}`]);
      const states = { shutdown: "stopped", destroy: "destroyed", retire: "retired", reset: "idle", recycle: "idle" };
      expect(runtimeOf(rows)?.state).toBe(states[command]);
      expect(session.state).toBe(states[command]);
    },
  );

  it("a session is deleted, and another brought in its place, all or nothing", async () => {
    const kernel = await open();
    const session = await kernel.session("s");
    session.onTurn(async (turn) => void turn.append(saying("answer")));
    await session.submit(prompt("p", { idempotencyKey: "k", blocks: [PICTURE] }));
    await completed(1);
    const lines: string[] = [];
    for await (const line of kernel.sessions.export("s")) lines.push(line);
    await sweep("delete", how, () => kernel.sessions.delete("s"));
    const gone = await bare.read();
    for (const table of ["sessions", "messages", "inputs", "inputKeys", "receipts", "blobs", "attachments"])
      expect(gone[table], table).toEqual([]);
    expect(runtimeOf(gone)?.incarnation).toBe(1);
    await sweep("import", how, () => kernel.sessions.import(lines));
    const rows = await bare.read();
    expect(saidIn(rows)).toEqual(["p", "answer"]);
    expect(phasesOf(rows)).toEqual(["p consumed"]);
    expect(runtimeOf(rows)?.incarnation).toBe(1);
  });
});

describe("what is stored, though its connection is lost before anybody hears of it,", () => {
  const unheard: Harm = "unheard";

  it("is one input", async () => {
    const session = await (await open()).session("s");
    const accept = harm("accept", unheard, read);
    expect(await session.submit(prompt("p", { idempotencyKey: "k" }))).toEqual({ outcome: "accepted", inputId: "p" });
    expect(accept.passed).toBe(true);
    expect(phasesOf(await read())).toEqual(["p queued"]);
    expect(runtimeOf(await read())?.nextRank).toBe(1);
  });

  it("is one session", async () => {
    const kernel = await open();
    const opening = harm("open", unheard, read);
    const session = await kernel.session("s");
    expect(opening.passed).toBe(true);
    expect(await session.submit(prompt("p"))).toMatchObject({ outcome: "accepted" });
  });

  it("is a turn begun, which costs its inputs no failure and no crash", async () => {
    const session = await (await open()).session("s");
    await session.submit(prompt("p"));
    const attempts: number[] = [];
    const begin = harm("begin", unheard, read);
    session.onTurn(async ({ attempt }) => void attempts.push(attempt));
    await completed(1);
    expect(begin.passed).toBe(true);
    expect(attempts).toEqual([2]);
    const rows = await expectDone({ runs: [["p"]], said: ["p"] });
    expect(recordOf(rows, "p")).toMatchObject({ attemptCount: 2, recoveryCount: 0 });
    expect(inputsOf(rows)[0]?.interruptions).toBe(1);
  });

  it("is a checkpoint", async () => {
    const session = await (await open()).session("s");
    await session.submit(prompt("p"));
    session.onTurn(async (turn) => {
      turn.append(saying("half"));
      const point = harm("checkpoint", unheard, read);
      await turn.checkpoint();
      expect(point.passed).toBe(true);
      turn.append(saying("whole"));
    });
    await completed(1);
    await expectDone({ runs: [["p"]], said: ["p", "half", "whole"] });
  });

  it.each([[["p"]], [["p", "q", "r"]]])("is a turn's commit, when %j wait", async (ids) => {
    const session = await (await open()).session("s");
    for (const id of ids) await session.submit(prompt(id));
    const ran: string[] = [];
    let commit: Sweep | undefined;
    session.onTurn(async (turn) => {
      ran.push(...turn.inputs.map(({ inputId }) => inputId));
      turn.append(saying(`to ${ran.at(-1)}`));
      commit ??= harm("commit", unheard, read);
    });
    await completed(ids.length);
    expect(commit?.passed).toBe(true);
    expect(ran).toEqual(ids);
    const rows = await bare.read();
    expect(receiptsOf(rows)).toHaveLength(ids.length);
    expect(saidIn(rows)).toEqual(ids.flatMap((id) => [id, `to ${id}`]));
    expect(inputsOf(rows).map(({ record }) => [record.currentState, record.attemptCount])).toEqual(
      ids.map(() => ["consumed", 1]),
    );
    await until("the lease", async () => leaseOf(await bare.read())?.leaseToken === undefined);
  });

  it("is a failure, counted once", async () => {
    const session = await (await open()).session("s");
    await session.submit(prompt("p"));
    let end: Sweep | undefined;
    const attempts: number[] = [];
    session.onTurn(async ({ attempt }) => {
      attempts.push(attempt);
      if (attempt > 1) return;
      end = harm("end", unheard, read);
      throw new Error("it broke");
    });
    await completed(1);
    expect(end?.passed).toBe(true);
    expect(attempts).toEqual([1, 2]);
    const record = recordOf(await bare.read(), "p");
    expect(record?.history.filter(({ reason }) => reason === "it broke")).toHaveLength(1);
  });
});

describe("a burst of submissions in one transaction", () => {
  it.each(HARMS)("is stored one by one when that is %s: each once, in order", async (how) => {
    const session = await (await open()).session("s");
    const ids = ["a", "b", "c", "d", "e"];
    for (let at = 0; at < 8; at++) {
      const given = ids.map((id) => prompt(`${id}${at}`, { idempotencyKey: `${id}${at}` }));
      const accept = harm("accept", how, read, at, 1);
      const outcomes = await Promise.all(given.map((each) => session.submit(each)));
      expect(accept.left).toHaveLength(1);
      expect(outcomes).toEqual(given.map(({ inputId }) => ({ outcome: "accepted", inputId })));
      const rows = (await read()) as Rows;
      const stored = inputsOf(rows).filter(({ inputId }) => inputId.endsWith(String(at)));
      expect(stored.map(({ rank }) => (rank ?? 0) - at * ids.length)).toEqual(ids.map((_, rank) => rank));
    }
    expect(runtimeOf(await read())?.nextRank).toBe(8 * ids.length);
  });
});

it("tells a submitter that no space is left, for as long as there is none, and takes the same input when there is some again", async () => {
  const session = await (await open()).session("s");
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = () => {
    throw new DOMException("made by a test", "QuotaExceededError");
  };
  const before = await read();
  try {
    for (const _ of [1, 2, 3]) expect(await refusal(session.submit(prompt("p")))).toMatchObject({ code: "quota-exceeded" });
  } finally {
    IDBObjectStore.prototype.put = put;
  }
  expect(await read()).toEqual(before);
  expect(await session.submit(prompt("p"))).toEqual({ outcome: "accepted", inputId: "p" });
});

it("waits with a finished turn until there is space, when the browser refuses its messages at once: no failure of the handler", async () => {
  const session = await (await open()).session("s");
  await session.submit(prompt("p"));
  const put = IDBObjectStore.prototype.put;
  let refusals = 0;
  const attempts: number[] = [];
  session.onTurn(async (turn) => {
    attempts.push(turn.attempt);
    turn.append(saying("answer"));
    IDBObjectStore.prototype.put = function (...args) {
      if (this.name === "messages" && ++refusals <= 5) throw new DOMException("made by a test", "QuotaExceededError");
      return put.apply(this, args);
    };
  });
  try {
    await completed(1);
  } finally {
    IDBObjectStore.prototype.put = put;
  }
  expect(attempts).toEqual([1]);
  await expectDone({ runs: [["p"]], said: ["p", "answer"] });
  expect(new Set(faults)).toEqual(new Set(["quota-exceeded"]));
});
