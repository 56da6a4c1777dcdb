// The checker finds lost and torn writes after a crash: rows that the same streams wrote in memory are sound until changed.
import { beforeAll, expect, it, vi } from "vitest";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { createKernel } from "../../src/platform.js";
import { SCHEMA } from "../../src/stores/schema.js";
import { missing, type Tables, torn, type Written } from "../tabs/written.js";

const STREAMS = ["event", "fenced", "run", "step", "submit", "part", "end", "receipt"] as const;

type Row = Record<string, unknown>;

interface Found {
  tables: Record<string, Row[]>;
  writes: Written[];
}

let sound: Found;

beforeAll(async () => {
  const writes: Written[] = [];
  vi.stubGlobal("location", { href: "http://localhost/?tab=a" });
  vi.stubGlobal("fetch", async (_: string, { body }: { body: string }) => {
    writes.push(JSON.parse(body));
    // The pause lets the other streams have their turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
  });
  const { createWriters } = await import("../tabs/fixture/writers.js");
  const storage = memoryStorage();
  const [a, b] = [createWriters(), createWriters()];
  for (const writers of [a, b]) writers.enter(1);
  const kernel = await createKernel({ name: "written", storage, handlers: { steady: a.handler } });
  const input = { type: "external", metadata: null } as const;
  for (const id of ["log", "fenced"]) await kernel.start({ id, input, eventTypes: [{ name: "noted" }] });
  const steady = await kernel.start({ id: "steady", input: { type: "task", name: "steady" } });
  a.begin(kernel, await kernel.session("s"), {});
  b.begin(kernel, undefined, {});
  const count = (stream: string) => writes.filter((write) => write.stream === stream).length;
  await vi.waitFor(() => expect(STREAMS.filter((stream) => count(stream) < 7)).toEqual([]), 20_000);
  await Promise.all([a.stop(), b.stop()]);
  await steady.outcome();
  await kernel.close();
  vi.unstubAllGlobals();

  const names = Object.keys(SCHEMA.tables);
  const rows = await storage.open({
    name: "written",
    schema: SCHEMA,
    durability: "relaxed",
    newDatabaseId: "none",
    onState: () => undefined,
  });
  const all = await rows.transact(names, "read", (tx) => Promise.all(names.map((table) => tx.range(table, {}))));
  await rows.close();
  const tables = Object.fromEntries(names.map((table, at) => [table, all[at]]));
  const bytesAsText = (_: string, value: unknown) => (value instanceof Uint8Array ? new TextDecoder().decode(value) : value);
  sound = { tables: JSON.parse(JSON.stringify(tables, bytesAsText)), writes };
});

/** A changed copy of the sound rows. */
function changed(change: (found: Found) => void): Found {
  const found = structuredClone(sound);
  change(found);
  return found;
}

const missingIn = ({ tables, writes }: Found) => missing(tables as Tables, writes);
const tornIn = ({ tables, writes }: Found) => torn(tables as Tables, writes);
const table = ({ tables }: Found, name: string) => tables[name] as Row[];
const isOf = (wanted: Row) => (row: Row) => Object.entries(wanted).every(([name, value]) => row[name] === value);

function one(found: Found, name: string, wanted: Row): Row {
  const row = table(found, name).find(isOf(wanted));
  if (!row) throw new Error(`no ${JSON.stringify(wanted)} in ${name}`);
  return row;
}

function drop(found: Found, name: string, wanted: Row): void {
  one(found, name, wanted);
  found.tables[name] = table(found, name).filter((row) => !isOf(wanted)(row));
}

function writeOf<S extends Written["stream"]>({ writes }: Found, stream: S, number: number) {
  const write = writes.find((write) => write.stream === stream && write.number === number);
  if (!write) throw new Error(`no ${stream} ${number}`);
  return write as Extract<Written, { stream: S }>;
}

const SESSION = "rt:session:s";
const event = (found: Found, processId: string, number: number) => {
  const { sequence } = writeOf(found, processId === "log" ? "event" : "fenced", number);
  return one(found, "events", { processId, sequence }) as Row & { payload: Record<string, unknown> };
};
const message = (found: Found, content: string) =>
  table(found, "messages").findIndex(({ message }) => (message as { content: unknown }).content === content);
const inputOf = (found: Found, runtimeId: string, inputId: string) =>
  one(found, "inputs", { runtimeId, inputId }) as Row & { record: Record<string, unknown> };

it("misses nothing of what is there, and finds it whole", async () => {
  expect(STREAMS.filter((stream) => !sound.writes.some((write) => write.stream === stream))).toEqual([]);
  expect(missingIn(sound)).toEqual([]);
  expect(await tornIn(sound)).toEqual([]);
});

const lost: Record<string, { write: [Written["stream"], number]; change(found: Found): void }> = {
  "an event that is gone": {
    write: ["event", 3],
    change: (found) => drop(found, "events", { processId: "log", sequence: writeOf(found, "event", 3).sequence }),
  },
  "an event with another's payload": {
    write: ["event", 3],
    change: (found) => {
      event(found, "log", 3).payload.number = 4;
    },
  },
  "an event without its replay key": {
    write: ["event", 4],
    change: (found) => {
      delete event(found, "log", 4).replayKey;
    },
  },
  "an event under another fence": {
    write: ["fenced", 3],
    change: (found) => {
      event(found, "fenced", 3).fencingToken = 77;
    },
  },
  "a step without its result": {
    write: ["step", 2],
    change: (found) => {
      const isStep = ({ payload }: Row) => (payload as { key?: string } | null)?.key === "s2";
      found.tables.events = table(found, "events").filter((row) => !isStep(row));
    },
  },
  "an input that is gone": {
    write: ["submit", 1],
    change: (found) => drop(found, "inputs", { runtimeId: SESSION, inputId: writeOf(found, "submit", 1).inputId }),
  },
  "an input without its key": {
    write: ["submit", 2],
    change: (found) => drop(found, "inputKeys", { runtimeId: SESSION, idempotencyKey: "key 2" }),
  },
  "a message that is gone": {
    write: ["part", 1],
    change: (found) => void table(found, "messages").splice(message(found, writeOf(found, "part", 1).content), 1),
  },
  "an input that is to be run again": {
    write: ["end", 1],
    change: (found) => {
      inputOf(found, SESSION, writeOf(found, "end", 1).inputId).record.currentState = "queued";
    },
  },
  "a receipt that is gone": {
    write: ["receipt", 2],
    change: (found) => drop(found, "receipts", { runtimeId: "bare", runId: writeOf(found, "receipt", 2).runId }),
  },
  "a receipt whose input is not stored": {
    write: ["receipt", 2],
    change: (found) => drop(found, "inputs", { runtimeId: "bare", inputId: writeOf(found, "receipt", 2).inputId }),
  },
};

for (const [what, { write, change }] of Object.entries(lost)) {
  it(`misses ${what}`, () => {
    expect(missingIn(changed(change))).toContainEqual(writeOf(sound, ...write));
  });
}

it("misses every event whose fence the lease does not have any more", () => {
  const found = changed((found) => {
    one(found, "leases", { resource: "fenced" }).fencingToken = 0;
  });
  expect(missingIn(found)).toEqual(sound.writes.filter(({ stream }) => stream === "fenced"));
});

const halves: Record<string, { change(found: Found): void; found: RegExp }> = {
  "a gap between events": {
    change: (found) => drop(found, "events", { processId: "log", sequence: writeOf(found, "event", 3).sequence }),
    found: /the events of log have a gap/,
  },
  "an event that its process does not count": {
    change: (found) => {
      one(found, "processes", { processId: "log" }).lastSequence = 3;
    },
    found: /log has \d+ events and counts/,
  },
  "a key that two events have": {
    change: (found) => {
      event(found, "log", 4).replayKey = "key 2";
    },
    found: /log has a key twice/,
  },
  "an event under a lower fence than the one before": {
    change: (found) => {
      event(found, "fenced", 6).fencingToken = 0;
    },
    found: /the fences of fenced fall/,
  },
  "a lease that is older than what was written under it": {
    change: (found) => {
      one(found, "leases", { resource: "fenced" }).fencingToken = 1;
    },
    found: /the lease of fenced is older than its events/,
  },
  "an event that is stored twice": {
    change: (found) => {
      event(found, "log", 3).payload = event(found, "log", 1).payload;
    },
    found: /an event of log is stored twice/,
  },
  "more events of one lifetime than one can have asked for at a time": {
    change: ({ writes }) => {
      for (const number of [1, 3]) {
        const at = writes.findIndex((write) => write.stream === "event" && write.number === number);
        writes.splice(at, 1);
      }
    },
    found: /log has events of one lifetime that nobody was told of/,
  },
  "a step that ran again after it was stored": {
    change: ({ writes }) => void writes.push({ stream: "run", number: 2, life: 2, fence: 9 }),
    found: /step 2 ran again in 2/,
  },
  "a receipt without its input": {
    change: (found) => drop(found, "inputs", { runtimeId: "bare", inputId: writeOf(found, "receipt", 2).inputId }),
    found: /receipts and their inputs do not fit together/,
  },
  "an input without its receipt": {
    change: (found) => drop(found, "receipts", { runtimeId: "bare", runId: writeOf(found, "receipt", 2).runId }),
    found: /receipts and their inputs do not fit together/,
  },
  "a snapshot that is older than its receipt": {
    change: (found) => {
      const { runId } = writeOf(found, "receipt", 2);
      one(found, "snapshots", { runtimeId: "bare" }).bytes = JSON.stringify({ id: "bare", runId });
    },
    found: /the snapshot is not that of the newest receipt/,
  },
  "receipts without a snapshot": {
    change: (found) => drop(found, "snapshots", { runtimeId: "bare" }),
    found: /the snapshot is not that of the newest receipt/,
  },
  "a message that is stored twice": {
    change: (found) => {
      const messages = table(found, "messages");
      const at = message(found, writeOf(found, "part", 1).content);
      (messages[at + 1] as Row).message = messages[at]?.message;
    },
    found: /a message is stored twice/,
  },
  "a message that the session does not know of": {
    change: (found) => void table(found, "messages").pop(),
    found: /messages are counted as/,
  },
  "an input that ended without a receipt": {
    change: (found) => {
      const { inputId } = writeOf(found, "end", 1);
      const contributed = ({ receipt }: Row) => (receipt as { contributingInputIds: string[] }).contributingInputIds;
      found.tables.receipts = table(found, "receipts").filter((row) => !contributed(row).includes(inputId));
    },
    found: /an input is consumed without a receipt, or has one and is not/,
  },
  "an input that has a receipt and lives": {
    change: (found) => {
      inputOf(found, SESSION, writeOf(found, "end", 1).inputId).record.currentState = "queued";
    },
    found: /an input is consumed without a receipt, or has one and is not/,
  },
};

for (const [what, { change, found }] of Object.entries(halves)) {
  it(`finds ${what}`, async () => {
    expect((await tornIn(changed(change))).join("\n")).toMatch(found);
  });
}

it("allows that the last write of a lifetime is there and was not acknowledged", async () => {
  const found = changed(({ writes }) => {
    for (const stream of STREAMS)
      writes.splice(
        writes.findLastIndex((write) => write.stream === stream),
        1,
      );
  });
  expect(missingIn(found)).toEqual([]);
  expect(await tornIn(found)).toEqual([]);
});
