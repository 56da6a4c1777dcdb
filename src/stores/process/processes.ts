import { accept, type Command, type Corridor, refuse } from "../../corridor/command.js";
import { checkId, checkOneOf, checkWhole, membersOf, optionsOf } from "../../domain/check.js";
import { HoldfastError } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import type {
  ProcessExternalRef,
  ProcessHandleDescriptor,
  ProcessRecord,
  ProcessRegistration,
  ProcessState,
} from "../../domain/process/process.js";
import type { ProcessScope } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import type { Reader, Row, Write } from "../../ports/storage.js";
import { awoken, fence } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow, loadRows, type RowIn, readRow } from "../schema.js";
import type { PayloadSchemas } from "./payload-schema.js";
import {
  grantWrite,
  newProcess,
  type PreparedRegistration,
  processRecordOf,
  sameRegistration,
  unknownProcess,
  withExternalRef,
} from "./processes.rules.js";
import { admitPayload, prepareRegistration } from "./registration.js";
import { dueChanges, parkedUntil } from "./runs/claimable.rules.js";
import type { ProcessRow, RegistrationRow, WaitRow } from "./tables.js";
import { loadWaits } from "./waits/wait-rows.js";
import { limitWaits, waitsOf } from "./waits/waits.rules.js";

/** A process: its two rows, which are written and removed together, and what it waits for. */
export type StoredProcess = { process: ProcessRow; registration: RegistrationRow; waits: readonly WaitRow[] };

/** The record as it is at this moment. */
export function recordOf({ process, registration, waits }: StoredProcess, nowMs: number): ProcessRecord {
  return processRecordOf(process, registration, [...waitsOf(waits, nowMs), ...limitWaits(process)]);
}

/** The tables of a record. */
export const RECORD_TABLES = ["processes", "registrations", "waits"] as const;

export async function loadProcess(reader: Reader, processId: string): Promise<StoredProcess | undefined> {
  const [process, registration] = await Promise.all([
    loadRow(reader, "processes", processId),
    loadRow(reader, "registrations", processId),
  ]);
  return process && withRegistration(process, registration, await loadWaits(reader, process));
}

function withRegistration(
  process: ProcessRow,
  registration: RegistrationRow | undefined,
  waits: readonly WaitRow[],
): StoredProcess {
  if (registration) return { process, registration, waits };
  throw new HoldfastError("read-failed", `the registration of process "${process.processId}" is missing`, {
    details: { table: "registrations", key: process.processId },
  });
}

/** The process as it is stored, or `undefined`. */
export function readRecord(corridor: Corridor, processId: string): Promise<ProcessRecord | undefined> {
  return corridor.query(RECORD_TABLES, async (reader, now) => {
    const stored = await loadProcess(reader, processId);
    return stored && recordOf(stored, now());
  });
}

/** Only such a process may end with that one: what others started is theirs, and no process ends with itself. */
function isChildOf(
  { processId }: ProcessRow,
  { processId: id, provenance: { causedBy }, endsWith = processId }: ProcessRow,
): boolean {
  return id !== processId && causedBy?.type === "process" && causedBy.processId === processId && endsWith === processId;
}

/** Whether that process is a child of that parent without a key. Older databases made such children, under ids that another child may have now. */
export async function isUnmarkedChild(reader: Reader, parentId: string, processId: string): Promise<boolean> {
  const cause = (await loadRow(reader, "processes", processId))?.provenance.causedBy;
  return cause?.type === "process" && cause.processId === parentId && cause.key === undefined;
}

export interface RegisterProcess {
  registration: PreparedRegistration;
  /** No host claims it before. */
  startAtMs?: number;
  /** A grant that is stored in the same transaction. */
  grant?: { scope: ProcessScope; descriptor: ProcessHandleDescriptor };
  /** The lease of the process that starts this one. The child is refused if that lease is lost. */
  lease?: ProcessLease;
  /** It is cancelled when the process of that lease ends. Refused if that process has ended already. */
  endsWithParent?: true;
  /** The hash of a stored registration that the caller found to be the same, although it differs in what does not count. */
  alike?: string;
}

export const registerProcess: Command<
  RegisterProcess,
  { stored: StoredProcess | undefined; lease: LeaseRow | undefined; parent: ProcessRow | undefined },
  ProcessRecord
> = {
  tables: [...RECORD_TABLES, "grants", "leases"],
  async load(reader, { registration, lease, endsWithParent }) {
    const [stored, leaseRow, parent] = await Promise.all([
      loadProcess(reader, registration.id),
      lease ? loadRow(reader, "leases", lease.processId) : undefined,
      lease && endsWithParent ? loadRow(reader, "processes", lease.processId) : undefined,
    ]);
    return { stored, lease: leaseRow, parent };
  },
  decide({ stored, lease: leaseRow, parent }, { registration, startAtMs, grant, lease, alike, endsWithParent }, nowMs) {
    const fenced = lease && fence(leaseRow, lease, nowMs);
    if (fenced instanceof HoldfastError) return refuse(fenced);
    if (endsWithParent && parent?.state !== "running") {
      return refuse(new HoldfastError("terminal", `process "${lease?.processId}", with which this one would end, has ended`));
    }
    const writes: Write[] = [
      ...(grant ? [grantWrite(grant.scope, registration.id, grant.descriptor)] : []),
      ...(lease ? awoken(leaseRow) : []),
      ...(parent && !parent.endsChildren ? [{ table: "processes", put: { ...parent, endsChildren: 1 } }] : []),
    ];
    if (stored) {
      const same = stored.process.registrationHash === alike || sameRegistration(stored, registration);
      if (same !== true) return refuse(same);
      if (parent && !isChildOf(parent, stored.process)) {
        const message = `endWith: process "${registration.id}" is no child of process "${parent.processId}", with which it would end`;
        return refuse(new HoldfastError("conflict", message, { details: { processId: registration.id, path: "endWith" } }));
      }
      if (parent && stored.process.state === "running")
        writes.push({ table: "processes", put: { ...stored.process, endsWith: parent.processId } });
      return accept(recordOf(stored, nowMs), writes);
    }
    const made = newProcess(registration, nowMs);
    const process = startingAt({ ...made.process, ...(parent && { endsWith: parent.processId }) }, startAtMs, nowMs);
    return accept(
      processRecordOf(process, made.registration),
      [{ table: "processes", put: process }, { table: "registrations", put: made.registration }, ...writes],
      [
        { about: "registered", id: registration.id, ...(process.parked !== undefined && { member: "parked" }) },
        ...dueChanges(process),
      ],
    );
  },
  repeatable: () => true,
};

function startingAt(process: ProcessRow, startAtMs: number | undefined, nowMs: number): ProcessRow {
  if (startAtMs === undefined) return process;
  const given = { ...process, startAtMs };
  return startAtMs > nowMs ? parkedUntil(given, startAtMs) : given;
}

export const setExternalRef: Command<
  { processId: string; externalRef: ProcessExternalRef },
  StoredProcess | undefined,
  ProcessRecord
> = {
  tables: RECORD_TABLES,
  load: (reader, { processId }) => loadProcess(reader, processId),
  decide(stored, { processId, externalRef }, nowMs) {
    if (!stored) return refuse(unknownProcess(processId));
    const process = withExternalRef(stored.process, externalRef, nowMs);
    return accept(
      recordOf({ ...stored, process }, nowMs),
      [{ table: "processes", put: process }],
      [{ about: "record", id: processId }],
    );
  },
  repeatable: () => true,
};

/** Which processes are listed. Every member narrows it. */
export interface ProcessFilter {
  state?: ProcessState;
  /** The session of the owner scope. */
  sessionId?: string;
  /** Only ids behind this one. */
  after?: string;
  limit?: number;
}

/** A copy with its members in one order. */
export function checkProcessFilter(method: string, filter: unknown, limits: Limits): ProcessFilter {
  const { state, sessionId, after, limit } = optionsOf(method, filter, ["state", "sessionId", "after", "limit"], "filter");
  const id = (field: string, value: unknown) => checkId(field, value, limits.idLength);
  return {
    ...(state !== undefined && {
      state: checkOneOf<ProcessState>("filter.state", state, ["running", "completed", "failed", "cancelled"]),
    }),
    ...(sessionId !== undefined && { sessionId: id("filter.sessionId", sessionId) }),
    ...(after !== undefined && { after: id("filter.after", after) }),
    ...(limit !== undefined && { limit: checkWhole("filter.limit", limit, 0) }),
  };
}

/** Rows that one transaction reads, so that none takes long. */
const PAGE = 1_024;
/** How many rows a range may read for each row that is wanted: one `get` costs as much as several rows of a range. */
const MOST_BETWEEN = 4;

/** The rows of these ids, which are sorted. One range reads from the first to the last. Rows behind the range's limit are read one by one. */
async function loadBetween<T extends "processes" | "registrations">(
  reader: Reader,
  table: T,
  ids: readonly string[],
): Promise<Map<string, RowIn<T>>> {
  const found = new Map<string, RowIn<T>>();
  const [from, upTo] = [ids[0], ids.at(-1)];
  if (from === undefined || upTo === undefined) return found;
  const asked = new Set(ids);
  const keep = (row: Row | undefined) =>
    row && asked.delete(String(row.processId)) && found.set(String(row.processId), readRow(table, row));
  const limit = MOST_BETWEEN * ids.length;
  const rows = await reader.range(table, { from, upTo, limit });
  rows.forEach(keep);
  if (rows.length === limit) (await Promise.all([...asked].map((id) => reader.get(table, id)))).forEach(keep);
  return found;
}

async function readPage(
  reader: Reader,
  { state, sessionId, after }: ProcessFilter,
  limit: number,
): Promise<{ found: StoredProcess[]; last: string | undefined }> {
  if (sessionId !== undefined) {
    const bound = after === undefined ? {} : { after: [sessionId, after] };
    const registrations = await loadRows(reader, "registrations", { index: "bySession", prefix: [sessionId], ...bound, limit });
    const ids = registrations.map(({ processId }) => processId);
    const processes = await loadBetween(reader, "processes", ids);
    const found = registrations.flatMap((registration) => {
      const process = processes.get(registration.processId);
      return process && (state === undefined || process.state === state) ? [{ process, registration }] : [];
    });
    return { found: await withWaits(reader, found), last: registrations.length < limit ? undefined : ids.at(-1) };
  }
  const bound = after === undefined ? {} : { after: state === undefined ? after : [state, after] };
  const where = state === undefined ? {} : { index: "byState", prefix: [state] };
  const processes = await loadRows(reader, "processes", { ...where, ...bound, limit });
  const ids = processes.map(({ processId }) => processId);
  const registrations = await loadBetween(reader, "registrations", ids);
  const found = processes.map((process) => withRegistration(process, registrations.get(process.processId), []));
  return { found: await withWaits(reader, found), last: processes.length < limit ? undefined : ids.at(-1) };
}

async function withWaits(reader: Reader, found: readonly Omit<StoredProcess, "waits">[]): Promise<StoredProcess[]> {
  const waits = await Promise.all(found.map(({ process }) => loadWaits(reader, process)));
  return found.map((stored, at) => ({ ...stored, waits: waits[at] ?? [] }));
}

export interface ProcessMethods {
  /**
   * Registers a process, once per id. The same registration again gives the stored record. Rejects `conflict` for another registration under
   * the id, and `invalid`. Nothing claims it before it is stored.
   */
  registerProcess(registration: ProcessRegistration): Promise<ProcessRecord>;
  /** Stores where a process runs in another system. The same again changes nothing. Rejects `not-found`. */
  setExternalRef(processId: string, externalRef: ProcessExternalRef<unknown>): Promise<ProcessRecord>;
  /** The process as it is stored, or `undefined`. */
  getProcess(processId: string): Promise<ProcessRecord | undefined>;
  /** The processes that the filter fits, by id. `after` is the id of the last one of the page before, `limit` a number of records; default: all. */
  list(filter?: ProcessFilter): Promise<ProcessRecord[]>;
  /** Like `list`, only the running ones. */
  listNonTerminal(options?: { after?: string; limit?: number }): Promise<ProcessRecord[]>;
}

export function processMethods(corridor: Corridor, limits: Limits, schemas: PayloadSchemas): ProcessMethods {
  const id = (field: string, value: unknown) => checkId(field, value, limits.idLength);

  async function list({ limit = Number.POSITIVE_INFINITY, ...filter }: ProcessFilter): Promise<ProcessRecord[]> {
    const records: ProcessRecord[] = [];
    let after = filter.after;
    // With both filters, a page may hold few rows that fit.
    const isFiltered = filter.sessionId !== undefined && filter.state !== undefined;
    while (records.length < limit) {
      const { last, ...page } = await corridor.query(RECORD_TABLES, async (reader, now) => {
        const size = isFiltered ? PAGE : Math.min(PAGE, limit);
        const { found, last } = await readPage(reader, { ...filter, ...(after !== undefined && { after }) }, size);
        return { records: found.map((stored) => recordOf(stored, now())), last };
      });
      records.push(...page.records);
      if (last === undefined) break;
      after = last;
    }
    return records.slice(0, limit);
  }

  return {
    async registerProcess(registration) {
      const prepared = await prepareRegistration("registration", registration, limits, schemas);
      return await corridor.run(registerProcess, { registration: prepared }, { size: prepared.size });
    },
    async setExternalRef(processId, externalRef) {
      const { backend, id: refId, metadata } = membersOf("externalRef", externalRef, ["backend", "id", "metadata"]);
      const input = {
        processId: id("processId", processId),
        externalRef: {
          backend: id("externalRef.backend", backend),
          id: id("externalRef.id", refId),
          ...(metadata !== undefined && { metadata: admitPayload(metadata, "externalRef.metadata", limits) }),
        },
      };
      return await corridor.run(setExternalRef, input);
    },
    async getProcess(processId) {
      const known = id("processId", processId);
      return await readRecord(corridor, known);
    },
    async list(filter = {}) {
      return await list(checkProcessFilter("list", filter, limits));
    },
    async listNonTerminal(options = {}) {
      const { after, limit } = optionsOf("listNonTerminal", options, ["after", "limit"]);
      return await list({
        state: "running",
        ...(after !== undefined && { after: id("options.after", after) }),
        ...(limit !== undefined && { limit: checkWhole("options.limit", limit, 0) }),
      });
    },
  };
}
