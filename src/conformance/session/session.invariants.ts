import { isTerminal } from "../../domain/session/input.js";
import type { Message } from "../../domain/session/session.js";
import type { OpenStorage, Row } from "../../ports/storage.js";
import { countAll, withDue } from "../../stores/session/inputs/due.rules.js";
import { rankWrites } from "../../stores/session/inputs/input-rows.rules.js";
import type { InputKeyRow, InputRow } from "../../stores/session/inputs/tables.js";
import type { MessageRow, RuntimeRow, TurnStepRow } from "../../stores/session/tables.js";
import { chainDigest } from "../../stores/session/transcript.rules.js";
import type { Setup } from "../kit/fixture.js";
import { onRows } from "../kit/rows.fixture.js";

const SESSION_TABLES = ["runtimes", "inputs", "inputKeys", "messages", "snapshots", "turnSteps", "blobs"] as const;

type SessionTables = Record<(typeof SESSION_TABLES)[number], Row[]>;

/** Broken invariants of the stored rows of sessions. The list is empty at any moment. */
export async function complaints(setup: Setup): Promise<string[]> {
  return await onRows(setup, complaintsAbout);
}

export async function complaintsAbout(storage: Pick<OpenStorage, "transact">): Promise<string[]> {
  const tables = await storage.transact(SESSION_TABLES, "read", async (tx) => {
    const found = await Promise.all(SESSION_TABLES.map((table) => tx.range(table, {})));
    return Object.fromEntries(SESSION_TABLES.map((table, at) => [table, found[at]])) as SessionTables;
  });
  return (tables.runtimes as RuntimeRow[]).flatMap((runtime) => {
    const of = <T extends Row>(table: keyof SessionTables) =>
      tables[table].filter(({ runtimeId }) => runtimeId === runtime.runtimeId) as T[];
    return [
      ...ofTranscript(runtime, of<MessageRow>("messages"), of("snapshots").length > 0),
      ...of<InputRow>("inputs").flatMap((row) => ofInput(row, runtime)),
      ...ofKeys(runtime, of<InputKeyRow>("inputKeys"), of<InputRow>("inputs")),
      ...ofRun(runtime, of<InputRow>("inputs"), of<TurnStepRow>("turnSteps")),
      ...ofCounts(runtime, of<InputRow>("inputs")),
      ...ofBlobs(of<InputRow>("inputs"), of("blobs")),
    ];
  });
}

function ofTranscript(runtime: RuntimeRow, rows: readonly MessageRow[], isWhole: boolean): string[] {
  if (isWhole) return rows.length === 0 ? [] : ["messages beside a snapshot that was handed over whole"];
  const messages = rows.map(({ message }) => message as Message);
  return said([
    [rows.some(({ position }, at) => position !== at), "a gap between messages"],
    [runtime.messageCount !== rows.length, `${rows.length} messages are counted as ${runtime.messageCount}`],
    [runtime.digest !== chainDigest("", messages), "the digest is not of the messages"],
  ]);
}

function ofInput(row: InputRow, { nextRank, firstRank }: RuntimeRow): string[] {
  const { inputId, rank, liveRank, record } = row;
  const { currentState, history, terminalOutcome, durability } = record;
  const isOver = isTerminal(currentState);
  const isChained = history.every(({ from }, at) => at === 0 || history[at - 1]?.to === from);
  return said([
    [(liveRank === undefined) !== isOver, "its place among those that live is not that of its phase"],
    [!isOver && liveRank !== (rank ?? Number.MAX_SAFE_INTEGER), "it lives under another number than its own"],
    [rankWrites([row]).length > 0, "it is found by what it does not wait for"],
    [rank !== undefined && (rank >= nextRank || rank < firstRank), "its number is none that was given"],
    [terminalOutcome?.outcomeType !== (isOver ? currentState : undefined), "its outcome is not that of its phase"],
    [!isChained, "its history has a gap"],
    [rank !== undefined && history.at(-1)?.to !== currentState, "its history ends in another phase"],
    [isOver && durability === "ephemeral", "it is ephemeral and has ended"],
  ]).map((what) => `input "${inputId}": ${what}`);
}

function ofKeys(runtime: RuntimeRow, keys: readonly InputKeyRow[], inputs: readonly InputRow[]): string[] {
  const ended = keys.filter(({ endedAtMs }) => endedAtMs !== undefined).length;
  const wrong = keys.flatMap(({ idempotencyKey, inputId, endedAtMs, endedRank }) => {
    const record = inputs.find((row) => row.inputId === inputId)?.record;
    return said([
      [record?.idempotencyKey !== idempotencyKey, "stands for an input that has not it"],
      [
        record !== undefined && isTerminal(record.currentState) !== (endedAtMs !== undefined),
        "does not know whether its input lives",
      ],
      [(endedAtMs === undefined) !== (endedRank === undefined), "has half an end"],
    ]).map((what) => `key "${idempotencyKey}" ${what}`);
  });
  const holders = new Map(keys.map(({ idempotencyKey, inputId }) => [idempotencyKey, inputId]));
  const shown = inputs.flatMap(({ inputId, givenUpSince, record: { idempotencyKey = "" } }) =>
    givenUpSince !== undefined && (holders.get(idempotencyKey) ?? inputId) !== inputId
      ? [`input "${inputId}": a view shows it, and its key stands for another`]
      : [],
  );
  return [
    ...wrong,
    ...shown,
    ...said([[runtime.endedKeys !== ended, `${ended} ended keys are counted as ${runtime.endedKeys}`]]),
  ];
}

function ofRun({ state, run }: RuntimeRow, inputs: readonly InputRow[], steps: readonly TurnStepRow[]): string[] {
  const staged = inputs.filter(({ record }) => record.currentState === "staged").map(({ inputId }) => inputId);
  const works = new Set(inputs.filter(({ record }) => !isTerminal(record.currentState)).map(({ workId }) => workId));
  return said([
    [staged.sort().join() !== [...(run?.inputIds ?? [])].sort().join(), "what is staged is not what runs"],
    [(state === "running") !== (run !== undefined) && state !== "retired", `it is ${state} ${run ? "with" : "without"} a run`],
    [state === "attached", "it is stored as attached"],
    [steps.some(({ workId }) => !works.has(workId)), "a step outlived its inputs"],
  ]);
}

/** Rows of a runtime that was never opened, or not since its schema counts, have no counts. */
function ofCounts(runtime: RuntimeRow, inputs: readonly InputRow[]): string[] {
  if (runtime.liveInputs === undefined) return [];
  const counts = countAll(inputs);
  const { due, dueAtMs } = withDue({ ...runtime, ...counts }, [], 0);
  return said([
    [runtime.liveInputs !== counts.liveInputs, `${counts.liveInputs} live inputs are counted as ${runtime.liveInputs}`],
    [runtime.starters !== counts.starters, `${counts.starters} inputs that begin a run are counted as ${runtime.starters}`],
    [runtime.due !== due, `it is due as ${runtime.due}, and not as ${due}`],
    [(due === undefined) !== (runtime.dueAtMs === undefined), `it is due at ${dueAtMs}`],
  ]);
}

function ofBlobs(inputs: readonly InputRow[], blobs: readonly Row[]): string[] {
  const hashes = new Set(blobs.map(({ hash }) => hash));
  return inputs.flatMap(({ inputId, record }) => {
    const blocks = record.persistedInput?.blocks;
    const named = Array.isArray(blocks) ? blocks.map((block) => (block as { blob?: unknown } | null)?.blob) : [];
    return named.some((hash) => hash !== undefined && !hashes.has(hash as string))
      ? [`input "${inputId}": a blob is missing`]
      : [];
  });
}

function said(checks: readonly (readonly [boolean, string])[]): string[] {
  return checks.flatMap(([isWrong, what]) => (isWrong ? [what] : []));
}
