// Compares the writes that were acknowledged before the whole browser was killed with the rows after its restart. Pure.
import { complaintsAbout } from "../../src/conformance/session/session.invariants.js";
import type { OpenStorage, Row } from "../../src/ports/storage.js";

/** The report of an acknowledged write; `number` counts its stream, `life` the browser's lifetimes. */
export type Written = { life: number; number: number } & (
  | { stream: "event"; sequence: number; replayKey?: string }
  | { stream: "fenced"; sequence: number; fence: number }
  /** The function of a step ran; this is no write. */
  | { stream: "run"; fence: number }
  | { stream: "step"; key: string; fence: number }
  | { stream: "submit"; inputId: string; idempotencyKey?: string }
  /** A message of a running turn. */
  | { stream: "part"; content: string }
  | { stream: "end"; inputId: string }
  | { stream: "receipt"; runId: string; inputId: string }
);

/** The tables as read; bytes are given as text. */
export type Tables = Record<string, Row[]>;

type Of<S extends Written["stream"]> = Extract<Written, { stream: S }>;

interface Event extends Row {
  processId: string;
  sequence: number;
  eventType: string;
  payload: Record<string, unknown>;
  replayKey?: string;
  fencingToken?: number;
}

/** Each acknowledged write that is not there, or not as it was. */
export function missing(tables: Tables, writes: readonly Written[]): Written[] {
  const table = (name: string) => tables[name] ?? [];
  const events = new Map((table("events") as Event[]).map((event) => [`${event.processId} ${event.sequence}`, event]));
  const steps = new Map(
    [...events.values()].flatMap(({ processId, eventType, payload }) =>
      processId === "steady" && eventType === "process.step" ? [[payload.key, payload.result] as const] : [],
    ),
  );
  const inputs = new Map(
    table("inputs").map((row) => [`${row.runtimeId} ${row.inputId}`, row.record as Record<string, unknown>]),
  );
  const keys = new Map(table("inputKeys").map((row) => [row.idempotencyKey, row.inputId]));
  const contents = new Set(table("messages").map(({ message }) => (message as { content: unknown }).content));
  const receipts = new Map(table("receipts").map((row) => [(row.receipt as { runId: string }).runId, row.receipt]));
  const fences = new Map(table("leases").map(({ resource, fencingToken }) => [resource, fencingToken as number]));

  const isThere = (write: Written): boolean => {
    switch (write.stream) {
      case "event": {
        const found = events.get(`log ${write.sequence}`);
        const life = write.replayKey === undefined ? write.life : undefined;
        return found?.payload.number === write.number && found.payload.life === life && found.replayKey === write.replayKey;
      }
      case "fenced": {
        const found = events.get(`fenced ${write.sequence}`);
        const { number, life, fence } = write;
        return (
          same(found?.payload, { number, life, fence }) && found?.fencingToken === fence && (fences.get("fenced") ?? 0) >= fence
        );
      }
      case "run":
        return true;
      case "step":
        return same(steps.get(write.key), { number: write.number, fence: write.fence, life: write.life });
      case "submit": {
        const found = inputs.get(`rt:session:s ${write.inputId}`);
        const { idempotencyKey: key } = write;
        return found !== undefined && found.idempotencyKey === key && (key === undefined || keys.get(key) === write.inputId);
      }
      case "part":
        return contents.has(write.content);
      case "end":
        return inputs.get(`rt:session:s ${write.inputId}`)?.currentState === "consumed";
      case "receipt":
        return receipts.has(write.runId) && inputs.get(`bare ${write.inputId}`)?.lastRunId === write.runId;
    }
  };
  return writes.filter((write) => !isThere(write));
}

/** Writes that are stored by halves or twice: rows of one transaction that do not fit together. */
export async function torn(tables: Tables, writes: readonly Written[]): Promise<string[]> {
  const table = (name: string) => tables[name] ?? [];
  const of = <S extends Written["stream"]>(stream: S) => writes.filter((write): write is Of<S> => write.stream === stream);
  const events = table("events") as Event[];
  const complaints: string[] = [];
  const check = (isWrong: boolean, what: string) => void (isWrong && complaints.push(what));

  for (const { processId, lastSequence } of table("processes")) {
    const own = events.filter((event) => event.processId === processId);
    const keys = own.flatMap(({ replayKey }) => (replayKey === undefined ? [] : [replayKey]));
    check(
      own.some(({ sequence }, at) => sequence !== at + 1),
      `the events of ${processId} have a gap`,
    );
    check(lastSequence !== own.length, `${processId} has ${own.length} events and counts ${lastSequence}`);
    check(new Set(keys).size !== keys.length, `${processId} has a key twice`);
    const fences = own.flatMap(({ fencingToken }) => (fencingToken === undefined ? [] : [fencingToken]));
    check(
      fences.some((fence, at) => fence < (fences[at - 1] ?? 0)),
      `the fences of ${processId} fall`,
    );
    const lease = table("leases").find(({ resource }) => resource === processId);
    check(((lease?.fencingToken as number) ?? 0) < (fences.at(-1) ?? 0), `the lease of ${processId} is older than its events`);
    const numbers = own.map(({ payload }) => `${payload?.number ?? payload?.key} ${payload?.life ?? ""}`);
    check(new Set(numbers).size !== numbers.length, `an event of ${processId} is stored twice`);
  }

  // Each lifetime had at most one write under way.
  for (const processId of ["log", "fenced"]) {
    const stream = processId === "log" ? "event" : "fenced";
    const heard = new Set<number>(of(stream).map(({ sequence }) => sequence));
    const lives = events.flatMap(({ processId: of, sequence, payload }) =>
      of === processId && !heard.has(sequence) && payload.life !== undefined ? [payload.life] : [],
    );
    check(new Set(lives).size !== lives.length, `${processId} has events of one lifetime that nobody was told of`);
  }
  const stored = new Map(of("step").map((step) => [step.number, step]));
  for (const { number, life } of of("run")) {
    const step = stored.get(number);
    check(step !== undefined && life > step.life, `step ${number} ran again in ${life}, and was stored in ${step?.life}`);
  }

  const bare = (name: string) => table(name).filter(({ runtimeId }) => runtimeId === "bare");
  const receipts = bare("receipts").map(({ receipt }) => receipt as { runId: string; contributingInputIds: string[] });
  const records = new Map(bare("inputs").map(({ inputId, record }) => [inputId, (record as { lastRunId: string }).lastRunId]));
  check(
    receipts.length !== records.size || receipts.some(({ runId, contributingInputIds: [id] }) => records.get(id) !== runId),
    "receipts and their inputs do not fit together",
  );
  const [snapshot] = bare("snapshots").map(({ bytes }) => JSON.parse(bytes as unknown as string).runId as string);
  const newest = Math.max(-1, ...receipts.map(({ runId }) => numberOf(runId)));
  check(
    snapshot === undefined
      ? receipts.length > 0
      : numberOf(snapshot) !== newest || receipts.every(({ runId }) => runId !== snapshot),
    "the snapshot is not that of the newest receipt",
  );

  const byContent = table("messages").map(({ message }) => (message as { content: unknown }).content);
  check(new Set(byContent).size !== byContent.length, "a message is stored twice");
  const ended = table("receipts").flatMap(({ runtimeId, receipt }) =>
    runtimeId === "rt:session:s" ? (receipt as { contributingInputIds: string[] }).contributingInputIds : [],
  );
  const consumed = table("inputs").flatMap(({ runtimeId, inputId, record }) =>
    runtimeId === "rt:session:s" && (record as { currentState: string }).currentState === "consumed" ? [inputId] : [],
  );
  check(ended.toSorted().join() !== consumed.toSorted().join(), "an input is consumed without a receipt, or has one and is not");

  const rows: Pick<OpenStorage, "transact"> = {
    transact: (_, __, body) => body({ get: async () => undefined, range: async (name) => table(name), write: () => {} }),
  };
  return [...complaints, ...(await complaintsAbout(rows))];
}

const numberOf = (runId: string) => Number(/^run (\d+)\./.exec(runId)?.[1]);

function same(found: unknown, wanted: Record<string, unknown>): boolean {
  const members = found as Record<string, unknown> | undefined;
  return members !== undefined && Object.entries(wanted).every(([name, value]) => members[name] === value);
}
