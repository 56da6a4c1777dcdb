// A log of events per process: every library of the bench can keep one.

export interface Log {
  /** One transaction: reads the process's row, decides, puts that row and the event. */
  append(processId: string): Promise<unknown>;
  /** Reads at most `limit` events behind a sequence. */
  after(processId: string, sequence: number, limit: number): Promise<{ readonly length: number }>;
  /** Puts `count` events, in any way. */
  fill(processId: string, count: number): Promise<void>;
  /** Also removes the stored rows. */
  close(): Promise<void>;
}

export const EVENT_TYPE = "note";
export const PAYLOAD = { role: "assistant", text: "The quick brown fox jumps over the lazy dog. ".repeat(4), tokens: 41 };

/** A row as large as the kernel's own. */
export function processRow(processId: string) {
  return {
    processId,
    registrationHash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default" },
    inputType: "external",
    createdAtMs: Date.now(),
    updatedAtMs: Date.now(),
    state: "running",
    lastSequence: 0,
    v: 1,
  };
}

export type ProcessRow = ReturnType<typeof processRow>;

export function eventRow(processId: string, sequence: number) {
  return { v: 1, processId, sequence, eventType: EVENT_TYPE, payload: PAYLOAD, occurredAtMs: Date.now() };
}

/** The decision that all ways share: the next row and the event of a running process. Throws for any other process. */
export function decide(row: ProcessRow | undefined) {
  if (row?.state !== "running") throw new Error("the process is unknown or has ended");
  const sequence = row.lastSequence + 1;
  return { process: { ...row, lastSequence: sequence, updatedAtMs: Date.now() }, event: eventRow(row.processId, sequence) };
}
