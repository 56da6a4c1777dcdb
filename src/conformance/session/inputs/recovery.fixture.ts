import type { JsonValue } from "../../../domain/json.js";
import type { StoredInputState } from "../../../domain/session/input.js";
import { ranked } from "../../../stores/session/inputs/input-rows.rules.js";
import type { InputRow } from "../../../stores/session/inputs/tables.js";
import type { Ground } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { waiting } from "../session.fixture.js";

/** Stores inputs as a host does that drives its sessions itself. */
export const handOver = async (ground: Ground, ...states: StoredInputState[]) => {
  for (const state of states) await ground.kernel.runtime.persistInputState(RUNTIME, state);
};

export const applied = (inputId: string, more: Partial<StoredInputState> = {}) =>
  waiting(inputId, { currentState: "applied", attemptCount: 1, lastRunId: "run", lastBoundarySequence: 0, ...more });

/** The rows as an owner leaves them that is gone in the middle of a run, or is at it. */
export async function abandonedRun(
  ground: Ground,
  inputId: string,
  { outOfOrder, isLive = false }: { outOfOrder: boolean; isLive?: boolean },
): Promise<void> {
  const of = async (table: string, column: string, value: JsonValue) =>
    (await readRows(ground, table)).find((row) => row[column] === value);
  const input = await of("inputs", "inputId", inputId);
  const record = input?.record as StoredInputState;
  const lease = await of("leases", "resource", RUNTIME);
  const fencingToken = Number(lease?.fencingToken ?? 0) + 1;
  const held = outOfOrder ? { ownerId: "gone", leaseToken: `t.${fencingToken}` } : { endedInOrder: 1 };
  const now = ground.clock.now();
  await writeRows(
    ground,
    {
      table: "runtimes",
      put: {
        ...(await of("runtimes", "runtimeId", RUNTIME)),
        v: 1,
        state: "running",
        run: { runId: "run", before: "idle", inputIds: [inputId], workId: "work" },
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
          history: [...record.history, { timestampMs: ground.clock.now(), from: "queued", to: "staged" }],
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
