import type { JsonValue } from "../../../domain/json.js";
import type { StoredInputState } from "../../../domain/session/input.js";
import { ranked } from "../../../stores/session/inputs/input-rows.rules.js";
import type { InputRow } from "../../../stores/session/inputs/tables.js";
import type { Setup } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { waiting } from "../session.fixture.js";

/** Stores inputs as a host does that runs its sessions itself. */
export const handOver = async (setup: Setup, ...states: StoredInputState[]) => {
  for (const state of states) await setup.kernel.runtime.persistInputState(RUNTIME, state);
};

export const applied = (inputId: string, more: Partial<StoredInputState> = {}) =>
  waiting(inputId, { currentState: "applied", attemptCount: 1, lastRunId: "run", lastBoundarySequence: 0, ...more });

/** The rows of a run whose owner is gone, or still runs it. */
export async function abandonedRun(
  setup: Setup,
  inputId: string,
  { outOfOrder, isLive = false }: { outOfOrder: boolean; isLive?: boolean },
): Promise<void> {
  const of = async (table: string, column: string, value: JsonValue) =>
    (await readRows(setup, table)).find((row) => row[column] === value);
  const input = await of("inputs", "inputId", inputId);
  const record = input?.record as StoredInputState;
  const lease = await of("leases", "resource", RUNTIME);
  const fencingToken = Number(lease?.fencingToken ?? 0) + 1;
  const held = outOfOrder ? { ownerId: "gone", leaseToken: `t.${fencingToken}` } : { endedInOrder: 1 };
  const now = setup.clock.now();
  await writeRows(
    setup,
    {
      table: "runtimes",
      put: {
        ...(await of("runtimes", "runtimeId", RUNTIME)),
        v: 1,
        state: "running",
        run: { runId: "run", before: "idle", inputIds: [inputId], workId: "work" },
        due: "running",
        dueAtMs: now,
      },
    },
    {
      table: "inputs",
      put: ranked({
        ...(input as InputRow),
        workId: "work",
        workSize: 1,
        record: {
          ...record,
          currentState: "staged",
          attemptCount: record.attemptCount + 1,
          lastRunId: "run",
          history: [...record.history, { timestampMs: setup.clock.now(), from: "queued", to: "staged" }],
        },
      }),
    },
    {
      table: "leases",
      put: {
        v: 1,
        resource: RUNTIME,
        fencingToken,
        claimedAtMs: now,
        expiresAtMs: isLive ? now + 30_000 : outOfOrder ? now : 0,
        fruitless: 0,
        ...held,
      },
    },
  );
}
