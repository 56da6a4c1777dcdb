import { accept, type Command, type Corridor, refuse } from "../../corridor/command.js";
import { checkId, checkList } from "../../domain/check.js";
import { HoldfastError } from "../../domain/errors.js";
import type {
  ProcessHandleDescriptor,
  ProcessHandleGrant,
  ProcessHandleGrantEntry,
  ProcessSessionDeleteReport,
} from "../../domain/process/process.js";
import { checkScope, type ProcessScope, scopeId } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import { loadRow, loadRows } from "../schema.js";
import { loadProcess, RECORD_TABLES, recordOf } from "./processes.js";
import { grantWrite, unknownProcess } from "./processes.rules.js";
import { checkDescriptor } from "./registration.js";
import type { GrantRow, ProcessRow } from "./tables.js";

/** A grant makes a process visible to a session or to one frame of it. It says nothing about which host runs the process. */
type GrantInput = { scope: ProcessScope; processId: string; descriptor: ProcessHandleDescriptor };

export const grantHandle: Command<GrantInput, ProcessRow | undefined, ProcessHandleGrant> = {
  tables: ["processes", "grants"],
  load: (reader, { processId }) => loadRow(reader, "processes", processId),
  decide(process, { scope, processId, descriptor }) {
    if (!process) return refuse(unknownProcess(processId));
    const grant = { sessionId: scope.sessionId, processId, descriptor };
    return accept(grant, [grantWrite(scope, processId, descriptor)], [{ about: "grant", id: processId }]);
  },
  repeatable: () => true,
};

export const revokeHandle: Command<{ scope: ProcessScope; processId: string }, void, void> = {
  tables: ["grants"],
  load: async () => undefined,
  decide: (_, { scope, processId }) =>
    accept(undefined, [{ table: "grants", drop: [scopeId(scope), processId] }], [{ about: "grant", id: processId }]),
  repeatable: () => true,
};

/** Transfers all of the grants or none. A grant that the target already has is replaced. */
export const transferHandleGrants: Command<
  { from: ProcessScope; to: ProcessScope; processIds: string[] },
  (GrantRow | undefined)[],
  void
> = {
  tables: ["grants"],
  load: (reader, { from, processIds }) => Promise.all(processIds.map((id) => loadRow(reader, "grants", [scopeId(from), id]))),
  decide(grants, { from, to, processIds }) {
    const missing = processIds.find((_, at) => grants[at] === undefined);
    if (missing !== undefined) {
      return refuse(
        new HoldfastError("not-found", `process "${missing}" is not granted to session "${from.sessionId}"`, {
          details: { processId: missing },
        }),
      );
    }
    if (scopeId(from) === scopeId(to)) return accept(undefined);
    const writes = grants.flatMap((grant) =>
      grant
        ? [
            { table: "grants", drop: [grant.scopeId, grant.processId] as const },
            grantWrite(to, grant.processId, grant.descriptor),
          ]
        : [],
    );
    return accept(
      undefined,
      writes,
      processIds.map((id) => ({ about: "grant", id })),
    );
  },
};

export interface Revoked {
  grants: GrantRow[];
  /** Each process that loses a grant, with the other sessions that keep one. */
  processes: { process: ProcessRow | undefined; keptBy: string[] }[];
}

export const deleteSessionProcessState: Command<{ sessionId: string }, Revoked, ProcessSessionDeleteReport> = {
  tables: ["processes", "grants"],
  async load(reader, { sessionId }) {
    const grants = await loadRows(reader, "grants", { index: "bySession", prefix: [sessionId] });
    const ids = [...new Set(grants.map(({ processId }) => processId))];
    const processes = await Promise.all(
      ids.map(async (processId) => {
        const [process, all] = await Promise.all([
          loadRow(reader, "processes", processId),
          loadRows(reader, "grants", { index: "byProcess", prefix: [processId] }),
        ]);
        return { process, keptBy: all.map((grant) => grant.sessionId).filter((id) => id !== sessionId) };
      }),
    );
    return { grants, processes };
  },
  decide({ grants, processes }, { sessionId }) {
    const running = processes.flatMap(({ process, keptBy }) =>
      process?.state === "running" ? [{ id: process.processId, keptBy }] : [],
    );
    const idsWhere = (kept: boolean) =>
      running
        .filter(({ keptBy }) => keptBy.length > 0 === kept)
        .map(({ id }) => id)
        .sort(byCodeUnits);
    return accept(
      {
        sessionId,
        revokedHandleCount: grants.length,
        deletedWakeCount: 0,
        cancelProcessIds: idsWhere(false),
        preservedProcessIds: idsWhere(true),
      },
      grants.map((grant) => ({ table: "grants", drop: [grant.scopeId, grant.processId] })),
      grants.map(({ processId }) => ({ about: "grant", id: processId })),
    );
  },
};

export interface HandleMethods {
  /** Makes the process visible to the scope. A grant that the scope has already gets the new descriptor. Rejects `not-found` for an unknown process. */
  grantHandle(scope: ProcessScope, processId: string, descriptor: ProcessHandleDescriptor): Promise<ProcessHandleGrant>;
  /** Takes the grant back. A grant that is not there changes nothing. */
  revokeHandle(scope: ProcessScope, processId: string): Promise<void>;
  /**
   * Moves the grants of at most 10,000 processes from one scope to another: all of them or none. A grant that the target has already is
   * replaced. Rejects `not-found` where one of them is missing, with its `processId` in `details`.
   */
  transferHandleGrants(from: ProcessScope, to: ProcessScope, processIds: readonly string[]): Promise<void>;
  /** The grants of the scope, with their processes, by process id. */
  listHandleGrants(scope: ProcessScope): Promise<ProcessHandleGrantEntry[]>;
  /** Like `listHandleGrants`, without processes that have ended. */
  listLiveHandleGrants(scope: ProcessScope): Promise<ProcessHandleGrantEntry[]>;
  /** Whether the process exists and is granted to the scope. */
  hasHandleGrant(scope: ProcessScope, processId: string): Promise<boolean>;
  /** All grants of the process, by scope. Rejects `not-found` for an unknown process. */
  handleGrantsForProcess(processId: string): Promise<ProcessHandleGrant[]>;
  /**
   * Revokes all grants of the session and of its frames. The report names the running processes that no other session has a grant of
   * (`cancelProcessIds`; the caller decides whether to cancel them) and those that another session keeps (`preservedProcessIds`).
   */
  deleteSessionProcessState(sessionId: string): Promise<ProcessSessionDeleteReport>;
}

const MOST_TRANSFERRED = 10_000;

export function handleMethods(corridor: Corridor, limits: Limits): HandleMethods {
  const id = (field: string, value: unknown) => checkId(field, value, limits.idLength);
  const scoped = (field: string, value: unknown) => checkScope(field, value, limits.idLength);

  const entriesOf = (scope: ProcessScope) =>
    corridor.query(["grants", ...RECORD_TABLES], async (reader, now) => {
      const grants = await loadRows(reader, "grants", { prefix: [scopeId(scope)] });
      const stored = await Promise.all(grants.map(({ processId }) => loadProcess(reader, processId)));
      return grants.flatMap((grant, at): ProcessHandleGrantEntry[] => {
        const process = stored[at];
        return process ? [{ grant: grantOf(grant), record: recordOf(process, now()) }] : [];
      });
    });

  return {
    async grantHandle(scope, processId, descriptor) {
      const input = {
        scope: scoped("scope", scope),
        processId: id("processId", processId),
        descriptor: checkDescriptor("descriptor", descriptor, limits),
      };
      return await corridor.run(grantHandle, input);
    },
    async revokeHandle(scope, processId) {
      await corridor.run(revokeHandle, { scope: scoped("scope", scope), processId: id("processId", processId) });
    },
    async transferHandleGrants(from, to, processIds) {
      const input = {
        from: scoped("from", from),
        to: scoped("to", to),
        processIds: [
          ...new Set(checkList("processIds", processIds, MOST_TRANSFERRED).map((value, at) => id(`processIds/${at}`, value))),
        ],
      };
      if (input.processIds.length > 0) await corridor.run(transferHandleGrants, input);
    },
    async listHandleGrants(scope) {
      return await entriesOf(scoped("scope", scope));
    },
    async listLiveHandleGrants(scope) {
      return (await entriesOf(scoped("scope", scope))).filter(({ record }) => record.status.state === "running");
    },
    async hasHandleGrant(scope, processId) {
      const owner = scoped("scope", scope);
      const known = id("processId", processId);
      return await corridor.query(["grants", "processes"], async (reader) => {
        const [grant, process] = await Promise.all([
          loadRow(reader, "grants", [scopeId(owner), known]),
          loadRow(reader, "processes", known),
        ]);
        return grant !== undefined && process !== undefined;
      });
    },
    async handleGrantsForProcess(processId) {
      const known = id("processId", processId);
      return await corridor.query(["grants", "processes"], async (reader) => {
        const [process, grants] = await Promise.all([
          loadRow(reader, "processes", known),
          loadRows(reader, "grants", { index: "byProcess", prefix: [known] }),
        ]);
        if (!process) throw unknownProcess(known);
        return grants.map(grantOf);
      });
    },
    async deleteSessionProcessState(sessionId) {
      return await corridor.run(deleteSessionProcessState, { sessionId: id("sessionId", sessionId) });
    },
  };
}

function grantOf({ sessionId, processId, descriptor }: GrantRow): ProcessHandleGrant {
  return { sessionId, processId, descriptor };
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
