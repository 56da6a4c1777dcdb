import { accept, type Command, type Corridor, refuse } from "../../corridor/command.js";
import { checkId, checkList, checkWhole, membersOf } from "../../domain/check.js";
import { HoldfastError } from "../../domain/errors.js";
import { checkFence, type ProcessLease } from "../../domain/lease.js";
import { checkRuntimeId } from "../../domain/runtime-id.js";
import type { StoredInputState } from "../../domain/session/input.js";
import { checkInputState } from "../../domain/session/input-record.js";
import { checkLifecycleCommit, type MachineLifecycleCommit } from "../../domain/session/lifecycle-commit.js";
import { checkReceipt } from "../../domain/session/receipt.js";
import type { RunBoundaryReceipt, RuntimeState, SessionDelta } from "../../domain/session/session.js";
import { type AdmittedSnapshot, admitSnapshot } from "../../domain/session/snapshot.js";
import type { Limits } from "../../domain/time.js";
import type { Change } from "../../ports/notices.js";
import type { Write } from "../../ports/storage.js";
import { fence } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow, loadRows } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import { withDue } from "./inputs/due.rules.js";
import { loadInput, loadInputKeys, loadInputs } from "./inputs/input-rows.js";
import { type InputChange, inputWrites } from "./inputs/input-rows.rules.js";
import type { InputKeyRow, InputRow } from "./inputs/tables.js";
import {
  duplicateReceipt,
  nextRuntime,
  receiptWrite,
  snapshotWrites,
  storedBytes,
  storedReceipt,
  storedState,
} from "./runtime.rules.js";
import type { RuntimeRow } from "./tables.js";
import { assembleSnapshot, headOf } from "./transcript.rules.js";

/** What one call stores of a runtime, all or nothing. */
interface StoreRuntime {
  readonly runtimeId: string;
  readonly snapshot?: AdmittedSnapshot;
  readonly receipt?: RunBoundaryReceipt;
  readonly state?: RuntimeState;
  /** At most one per input. */
  readonly inputs: readonly StoredInputState[];
  readonly lease?: ProcessLease;
}

interface Stored {
  readonly lease: LeaseRow | undefined;
  readonly hasReceipt: boolean;
  readonly runtime: RuntimeRow | undefined;
  readonly rows: readonly (InputRow | undefined)[];
  readonly keys: readonly InputKeyRow[];
}

const storeRuntime: Command<StoreRuntime, Stored, void> = {
  tables: ["runtimes", "sessions", "snapshots", "messages", "inputs", "inputKeys", "receipts", "leases"],
  async load(reader, { runtimeId, receipt, inputs, lease }) {
    const [leaseRow, receiptRow, runtime, rows] = await Promise.all([
      lease && loadRow(reader, "leases", lease.processId),
      receipt && reader.get("receipts", [runtimeId, receipt.runId, receipt.sequence]),
      loadRow(reader, "runtimes", runtimeId),
      Promise.all(inputs.map(({ inputId }) => loadInput(reader, runtimeId, inputId))),
    ]);
    const keys = await loadInputKeys(reader, runtimeId, [...rows.map((row) => row?.record), ...inputs]);
    return { lease: leaseRow, hasReceipt: receiptRow !== undefined, runtime, rows, keys };
  },
  decide(stored, { runtimeId, snapshot, receipt, state, inputs, lease }, nowMs) {
    const held = lease && fence(stored.lease, lease, nowMs);
    if (held instanceof HoldfastError) return refuse(held);
    if (receipt && stored.hasReceipt) return refuse(duplicateReceipt(receipt));

    // Only listeners of sessions need revisions, and only a session's runtime has a state.
    const counts = stored.runtime?.state !== undefined && inputs.length > 0;
    const revised = counts && { inputRevision: (stored.runtime?.inputRevision ?? 0) + 1 };
    const revision = revised && { revision: revised.inputRevision };
    const changed = inputs.map((record, at): InputChange => {
      const before = stored.rows[at];
      const row = { v: ROW_VERSION, runtimeId, inputId: record.inputId, ...before, record };
      return { before, after: { ...row, ...revision } };
    });
    const made = inputWrites(changed, stored.keys);
    const change = { runtimeId, state, endedKeys: made.endedKeys, replaced: snapshot !== undefined, ...revised };
    const runtime = nextRuntime(stored.runtime, change, nowMs);
    const writes: Write[] = [
      ...(snapshot ? snapshotWrites(runtimeId, snapshot, nowMs) : []),
      ...(receipt ? [receiptWrite(runtimeId, receipt)] : []),
      ...made.writes,
      ...(runtime ? [{ table: "runtimes", put: withDue(runtime, changed, nowMs) }] : []),
    ];
    const changes: Change[] = inputs.map(({ inputId }) => ({
      about: "input",
      id: runtimeId,
      member: inputId,
      ...(revised && { sequence: revised.inputRevision }),
    }));
    if (snapshot) changes.push({ about: "messages", id: runtimeId });
    if (state !== undefined) changes.push({ about: "runtime", id: runtimeId });
    return accept(undefined, writes, changes);
  },
};

/**
 * The stored state of a session's runtime, for programs that drive sessions themselves. Rows of one runtime id are invisible under another.
 * With `fence.lease`, a call is refused with `lease-lost` unless that is the live lease. Wrong arguments are `invalid`.
 */
export interface RuntimeMethods {
  /** Replaces the snapshot and puts its session on the list. Bytes that are no JSON object with a non-empty string `id` are `write-failed`. */
  commitSessionSnapshot(runtimeId: string, delta: SessionDelta): Promise<void>;
  /**
   * Stores the snapshot, if one is given, the receipt and the inputs: all or nothing. A receipt is written once: a second one with the same
   * run and sequence is `write-failed`. With `sessionStoreKey`, a snapshot of another session is `session-key-mismatch`
   * (`details: { expected, actual }`).
   */
  atomicApply(
    runtimeId: string,
    delta: SessionDelta | undefined,
    receipt: RunBoundaryReceipt,
    inputUpdates: readonly StoredInputState[],
    sessionStoreKey?: string,
    fence?: { lease?: ProcessLease },
  ): Promise<void>;
  /** All inputs, in the order of their ids by UTF-16 code units. A row that does not decode is `read-failed`, with its `inputId` in `details`. */
  loadInputStates(runtimeId: string): Promise<StoredInputState[]>;
  /** The receipt of that run and sequence, or `undefined`. */
  loadBoundaryReceipt(runtimeId: string, runId: string, sequence: number): Promise<RunBoundaryReceipt | undefined>;
  /** The bytes that were stored, or, for a session that holdfast runs, its transcript as such bytes. */
  loadSessionSnapshot(runtimeId: string): Promise<Uint8Array | undefined>;
  /** Stores one input. With `fence.lease` it is refused with `lease-lost` where that lease is not the live one. */
  persistInputState(runtimeId: string, state: StoredInputState, fence?: { lease?: ProcessLease }): Promise<void>;
  /** The input, or `undefined`. An input that does not decode is `read-failed`. */
  loadInputState(runtimeId: string, inputId: string): Promise<StoredInputState | undefined>;
  /** The runtime's state, or `undefined` before the first one is stored. */
  loadRuntimeState(runtimeId: string): Promise<RuntimeState | undefined>;
  /** Stores the runtime's state and the inputs in one write. Other inputs stay as they are. */
  commitMachineLifecycle(
    runtimeId: string,
    commit: MachineLifecycleCommit,
    inputStates: readonly StoredInputState[],
    fence?: { lease?: ProcessLease },
  ): Promise<void>;
}

const MOST_INPUTS = 65_536;

export function runtimeMethods(corridor: Corridor, limits: Limits): RuntimeMethods {
  const runtime = (value: unknown) => checkRuntimeId("runtimeId", value, limits.idLength);

  const snapshotOf = (delta: unknown) => {
    const { sessionSnapshot } = membersOf("delta", delta, ["sessionSnapshot"]);
    return admitSnapshot("delta.sessionSnapshot", sessionSnapshot, limits);
  };

  /** If an input is given several times, its last state counts. */
  const inputsOf = (field: string, value: unknown) => {
    const states = checkList(field, value, MOST_INPUTS).map((state, at) => checkInputState(`${field}/${at}`, state, limits));
    return [...new Map(states.map((state) => [state.inputId, state])).values()];
  };

  const leaseOf = (value: unknown) => {
    const lease = checkFence("fence", value, limits.idLength);
    return lease && { lease };
  };

  const store = (input: StoreRuntime) =>
    corridor.run(storeRuntime, input, { size: JSON.stringify(input.inputs).length + (input.snapshot?.bytes.byteLength ?? 0) });

  return {
    async commitSessionSnapshot(runtimeId, delta) {
      await store({ runtimeId: runtime(runtimeId), snapshot: snapshotOf(delta), inputs: [] });
    },
    async atomicApply(runtimeId, delta, receipt, inputUpdates, sessionStoreKey, fence) {
      const known = runtime(runtimeId);
      const snapshot = delta === undefined ? undefined : snapshotOf(delta);
      const input: StoreRuntime = {
        runtimeId: known,
        ...(snapshot && { snapshot }),
        receipt: checkReceipt("receipt", receipt, limits),
        inputs: inputsOf("inputUpdates", inputUpdates),
        ...leaseOf(fence),
      };
      const key = sessionStoreKey === undefined ? undefined : checkId("sessionStoreKey", sessionStoreKey, limits.idLength);
      if (snapshot && key !== undefined && key !== snapshot.id) {
        throw new HoldfastError("session-key-mismatch", `the snapshot is of session "${snapshot.id}", the key says "${key}"`, {
          details: { expected: key, actual: snapshot.id },
        });
      }
      await store(input);
    },
    async loadInputStates(runtimeId) {
      const known = runtime(runtimeId);
      const rows = await corridor.query(["inputs"], (reader) => loadInputs(reader, known));
      return rows.map(({ record }) => record);
    },
    async loadBoundaryReceipt(runtimeId, runId, sequence) {
      const key = [runtime(runtimeId), checkId("runId", runId, limits.idLength), checkWhole("sequence", sequence, 0)] as const;
      const row = await corridor.query(["receipts"], (reader) => loadRow(reader, "receipts", key));
      return row && storedReceipt(row);
    },
    async loadSessionSnapshot(runtimeId) {
      const known = runtime(runtimeId);
      return await corridor.query(["snapshots", "runtimes", "messages"], async (reader) => {
        const snapshot = await loadRow(reader, "snapshots", known);
        if (snapshot) return storedBytes(snapshot);
        const head = headOf(await loadRow(reader, "runtimes", known));
        if (!head) return undefined;
        const rows = await loadRows(reader, "messages", { prefix: [known] });
        return assembleSnapshot(
          head,
          rows.map(({ message }) => message),
        );
      });
    },
    async persistInputState(runtimeId, state, fence) {
      const known = runtime(runtimeId);
      await store({ runtimeId: known, inputs: [checkInputState("state", state, limits)], ...leaseOf(fence) });
    },
    async loadInputState(runtimeId, inputId) {
      const known = runtime(runtimeId);
      const id = checkId("inputId", inputId, limits.idLength);
      return (await corridor.query(["inputs"], (reader) => loadInput(reader, known, id)))?.record;
    },
    async loadRuntimeState(runtimeId) {
      const known = runtime(runtimeId);
      const row = await corridor.query(["runtimes"], (reader) => loadRow(reader, "runtimes", known));
      return row && storedState(row);
    },
    async commitMachineLifecycle(runtimeId, commit, inputStates, fence) {
      const known = runtime(runtimeId);
      await store({
        runtimeId: known,
        state: checkLifecycleCommit("commit", commit),
        inputs: inputsOf("inputStates", inputStates),
        ...leaseOf(fence),
      });
    },
  };
}
