import { accept, type Command, type Corridor, refuse } from "../../corridor/command.js";
import { asHoldfastError, HoldfastError } from "../../domain/errors.js";
import { checkFence, type ProcessLease } from "../../domain/lease.js";
import { checkRuntimeId, runtimeIdOf } from "../../domain/runtime-id.js";
import { asOpsSnapshot, checkOpsSnapshot, type OperationOutcome, type PersistedOpsSnapshot } from "../../domain/session/ops.js";
import type { Limits } from "../../domain/time.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Row, Write } from "../../ports/storage.js";
import { fence } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow, readRow } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import {
  collectedOps,
  type Ended,
  type Ending,
  endedOps,
  freshOps,
  type Ops,
  type OpsSettings,
  recoveredOps,
  watermarkOf,
} from "./ops.rules.js";
import type { RuntimeRow } from "./tables.js";

/** A session's ended operations and its completion feed. They are one row, which every tab reads and writes as a whole. */
export interface OpsMethods {
  /** Replaces all that is stored; the last write wins. With a lease, it is refused with `lease-lost` unless that is the live one. */
  persistOpsLifecycle(runtimeId: string, snapshot: PersistedOpsSnapshot, fence?: { lease?: ProcessLease }): Promise<void>;
  /** What was last written. Rejects `read-failed` if it does not decode. */
  loadOpsLifecycle(runtimeId: string): Promise<PersistedOpsSnapshot | undefined>;
}

type PersistOps = { runtimeId: string; snapshot: PersistedOpsSnapshot; lease?: ProcessLease };

const persistOps: Command<PersistOps, LeaseRow | undefined, void> = {
  tables: ["ops", "leases"],
  load: async (reader, { lease }) => lease && (await loadRow(reader, "leases", lease.processId)),
  decide(leaseRow, { runtimeId, snapshot, lease }, nowMs) {
    const fenced = lease && fence(leaseRow, lease, nowMs);
    if (fenced instanceof HoldfastError) return refuse(fenced);
    return accept(undefined, [opsWrite(runtimeId, snapshot)], [opsChange(runtimeId, snapshot)]);
  },
  repeatable: () => true,
};

export function opsStoreMethods(corridor: Corridor, limits: Limits): OpsMethods {
  return {
    async persistOpsLifecycle(runtimeId, snapshot, fence) {
      const known = checkRuntimeId("runtimeId", runtimeId, limits.idLength);
      const stored = checkOpsSnapshot("snapshot", snapshot, limits);
      // The resource of an executor's lease is the runtime id, which is longer than a session id.
      const lease = checkFence("fence", fence, runtimeIdOf("").length + limits.idLength);
      const input: PersistOps = { runtimeId: known, snapshot: stored, ...(lease && { lease }) };
      await corridor.run(persistOps, input, { size: JSON.stringify(stored).length });
    },
    async loadOpsLifecycle(runtimeId) {
      const known = checkRuntimeId("runtimeId", runtimeId, limits.idLength);
      return await corridor.query(["ops"], (reader) => readSnapshot(reader, known));
    },
  };
}

/** The session whose operations a registry keeps. */
export interface OpsOwner {
  runtimeId: string;
  /** The incarnation of the session that it was opened on; a deletion raises it. Absent: any session with that runtime id. */
  incarnation?: number;
}

/** The content of the row. A row that does not decode is replaced by a new feed at the next write; `broken` says why. */
interface OpsState {
  ops: Ops | undefined;
  broken?: HoldfastError;
}

const OPS_TABLES = ["ops", "runtimes"] as const;

/** For the registry's reads: the ended operations and the feed at one moment. */
export function queryOps(corridor: Corridor, owner: OpsOwner): Promise<OpsState> {
  return corridor.query(OPS_TABLES, async (reader) => {
    const { runtime, ...state } = await loadOps(reader, owner);
    const gone = refusalOfOwner(runtime, owner);
    if (gone) throw gone;
    return state;
  });
}

interface EndOperations extends OpsOwner {
  endings: readonly Ending[];
  settings: OpsSettings;
  /** The epoch id of the feed, if this write begins it. */
  epochId: string;
}

/** The result of a write. `broken` says why it replaced a row that did not decode. */
interface OpsReply<T> {
  done: T;
  broken?: HoldfastError;
}

/** Ends operations: their outcomes and their entries in the feed are one write. */
export const endOperations: Command<EndOperations, OpsState & Owned, OpsReply<Ended[]>> = {
  tables: OPS_TABLES,
  load: loadOps,
  decide({ ops: before, broken, runtime }, input, nowMs) {
    const { runtimeId, endings, settings, epochId } = input;
    const gone = refusalOfOwner(runtime, input);
    if (gone) return refuse(gone);
    const { ops, ends } = endedOps(before ?? freshOps(epochId, settings), endings, settings, nowMs);
    return accept({ done: ends, ...(broken && { broken }) }, [opsWrite(runtimeId, ops)], [opsChange(runtimeId, ops)]);
  },
  // A repeat finds the stored end by the feed sequence at which its operation was registered.
  repeatable: () => true,
};

/** Takes the ended operations out of the row: each one is given to one caller only. */
export const collectOperations: Command<OpsOwner, OpsState & Owned, OpsReply<{ id: string; outcome: OperationOutcome }[]>> = {
  tables: OPS_TABLES,
  load: loadOps,
  decide({ ops: before, broken, runtime }, owner) {
    const gone = refusalOfOwner(runtime, owner);
    if (gone) return refuse(gone);
    if (!before) return accept({ done: [], ...(broken && { broken }) });
    const { ops, taken } = collectedOps(before);
    if (taken.length === 0) return accept({ done: [] });
    return accept({ done: taken }, [opsWrite(owner.runtimeId, ops)], [opsChange(owner.runtimeId, ops)]);
  },
};

interface Owned {
  runtime: RuntimeRow | undefined;
}

async function loadOps(reader: Reader, { runtimeId }: OpsOwner): Promise<OpsState & Owned> {
  const [row, runtime] = await Promise.all([reader.get("ops", runtimeId), loadRow(reader, "runtimes", runtimeId)]);
  if (row === undefined) return { ops: undefined, runtime };
  try {
    return { ops: recoveredOps(decoded(row)), runtime };
  } catch (error) {
    const broken = asHoldfastError(error, "read-failed", "the stored operations could not be read");
    // A row of a newer version is not replaced.
    if (broken.code !== "read-failed") throw broken;
    return { ops: undefined, broken, runtime };
  }
}

export async function readSnapshot(reader: Reader, runtimeId: string): Promise<PersistedOpsSnapshot | undefined> {
  const row = await reader.get("ops", runtimeId);
  return row && decoded(row);
}

function decoded(row: Row): PersistedOpsSnapshot {
  const { runtimeId, snapshot } = readRow("ops", row);
  try {
    return asOpsSnapshot("snapshot", snapshot);
  } catch (cause) {
    throw new HoldfastError("read-failed", `the stored operations of "${runtimeId}" do not decode`, {
      details: { table: "ops", key: JSON.stringify([runtimeId]) },
      cause,
    });
  }
}

function refusalOfOwner(runtime: RuntimeRow | undefined, { runtimeId, incarnation }: OpsOwner): HoldfastError | undefined {
  if (incarnation === undefined || (runtime?.incarnation ?? 0) === incarnation) return undefined;
  return new HoldfastError("not-found", `the session of "${runtimeId}" was deleted`, { details: { runtimeId } });
}

function opsWrite(runtimeId: string, snapshot: PersistedOpsSnapshot): Write {
  return { table: "ops", put: { v: ROW_VERSION, runtimeId, snapshot } };
}

function opsChange(runtimeId: string, snapshot: PersistedOpsSnapshot): Change {
  return { about: "ops", id: runtimeId, sequence: watermarkOf(snapshot) };
}
