import type { Corridor } from "../../../corridor/command.js";
import { followReads } from "../../../corridor/follow.js";
import { isHoldfastError } from "../../../domain/errors.js";
import type { RuntimeState } from "../../../domain/session/session.js";
import type { Timings } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import type { Notices } from "../../../ports/notices.js";
import type { Reader } from "../../../ports/storage.js";
import { type Host, isLive } from "../../../stores/host/leases.rules.js";
import type { LeaseRow } from "../../../stores/host/tables.js";
import { loadRow } from "../../../stores/schema.js";
import { type LiveRuntimeRow, type SessionRef, sortOut } from "../../../stores/session/draft.js";
import type { InputRow } from "../../../stores/session/inputs/tables.js";
import type { Transcript } from "../transcript.js";
import {
  type Admission,
  type SessionRun,
  type SessionView,
  unknownAdmission,
  type ViewFacts,
  viewFrom,
} from "./session-view.rules.js";

interface SessionViewParts {
  readonly ref: SessionRef;
  readonly corridor: Corridor;
  readonly transcript: Transcript;
  readonly notices: Notices;
  readonly clock: Clock;
  readonly timings: Timings;
  host(): Host;
  hasHandler(): boolean;
  /** The session was deleted. */
  vanish(): void;
  last(): SessionView;
  show(next: SessionView): void;
}

/** The inputs that the view shows or counts, as of a write of inputs. */
interface KnownInputs {
  readonly revision: number;
  readonly rows: ReadonlyMap<string, InputRow>;
}

/** Reads the session while its view has subscribers. Returns what ends it. */
export function followSessionView(parts: SessionViewParts): () => void {
  const { ref, corridor, transcript, last, show } = parts;
  const { runtimeId } = ref;
  const admissions = new Map<string, Admission | undefined>();
  let known: KnownInputs | undefined;

  async function readFacts(): Promise<ViewFacts> {
    const { messages, more } = await transcript.readWith(["inputs", "leases"], async (reader, runtime, now) => {
      const [inputs, lease] = await Promise.all([
        readShownInputs(reader, runtime, known),
        runtime.run && loadRow(reader, "leases", runtimeId),
      ]);
      const run = runOf(runtime, lease, inputs.rows, now());
      return { inputs, run, state: runtime.state };
    });
    known = more.inputs;
    return { messages, rows: [...known.rows.values()], run: more.run, state: shown(more.state) };
  }

  async function read(): Promise<ViewFacts> {
    const facts = await readFacts();
    for (;;) {
      const inputId = unknownAdmission(facts, admissions);
      if (inputId === undefined) return facts;
      const [row] = await corridor.query(["inputs"], async (reader) => {
        const stored = await reader.get("inputs", [runtimeId, inputId]);
        return stored ? sortOut([stored]).live : [];
      });
      admissions.set(inputId, row && { createdAtMs: row.record.createdAtMs, rank: row.rank });
    }
  }

  function runOf(
    { run }: LiveRuntimeRow,
    lease: LeaseRow | undefined,
    rows: ReadonlyMap<string, InputRow>,
    nowMs: number,
  ): SessionRun | undefined {
    if (!run || !isLive(lease, nowMs)) return undefined;
    const { runId, inputIds } = run;
    const attempt = Math.max(1, ...inputIds.map((inputId) => rows.get(inputId)?.record.attemptCount ?? 1));
    const self = lease.bootId !== undefined && lease.bootId === parts.host().bootId;
    return { runId, attempt, inputIds, hostId: lease.hostId ?? "", self };
  }

  const shown = (state: RuntimeState) => (state === "idle" && parts.hasHandler() ? "attached" : state);

  return followReads(parts, {
    concerns: ({ id, about }) => id === runtimeId && about !== "ops",
    read,
    found: (facts) => show(viewFrom(last(), facts, admissions)),
    failed(error) {
      if (isHoldfastError(error) && error.code === "not-found") return parts.vanish();
      const message = error instanceof Error ? error.message : String(error);
      if (last().error !== message) show({ ...last(), error: message });
    },
  });
}

/** After the first read, only inputs that were written since are read: a long queue costs nothing. */
async function readShownInputs(
  reader: Reader,
  { runtimeId, inputRevision: revision = 0 }: LiveRuntimeRow,
  known: KnownInputs | undefined,
): Promise<KnownInputs> {
  if (known?.revision === revision) return known;
  const prefix = [runtimeId];
  if (!known || known.revision > revision) {
    const [live, givenUp] = await Promise.all([
      reader.range("inputs", { index: "live", prefix }),
      reader.range("inputs", { index: "givenUp", prefix }),
    ]);
    return { revision, rows: new Map(sortOut([...live, ...givenUp]).live.map((row) => [row.inputId, row])) };
  }
  // An ephemeral input that has ended leaves no row.
  const brief = [...known.rows.values()].filter(({ record }) => record.durability === "ephemeral").map(({ inputId }) => inputId);
  const [changed, ...kept] = await Promise.all([
    reader.range("inputs", { index: "changed", prefix, from: [runtimeId, known.revision + 1] }),
    ...brief.map((inputId) => reader.get("inputs", [runtimeId, inputId])),
  ]);
  const rows = new Map(known.rows);
  brief.forEach((inputId, at) => {
    if (!kept[at]) rows.delete(inputId);
  });
  for (const { inputId } of changed) rows.delete(String(inputId));
  for (const row of sortOut(changed).live) {
    if (row.liveRank !== undefined || row.givenUpSince !== undefined) rows.set(row.inputId, row);
  }
  return { revision, rows };
}
