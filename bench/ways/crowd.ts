import { createKernel } from "holdfast";
import { fill, openBare } from "../bare.js";
import { EVENT_TYPE, PAYLOAD } from "./log.js";
import { storedRows } from "./stored-rows.js";

/** Tables that are read to find running processes. A running one is shown with its registration, so that is read too. */
const TABLES = { ended: ["processes", "leases"], live: ["processes", "leases", "registrations"] };
const DIGITS = 7;

/**
 * The handler that all processes need. The owner of the running ones is no host: a host that has the handler reads them and
 * claims none.
 */
export const CROWD_HANDLER = "crowd";
const DAY_MS = 86_400_000;

/**
 * A kernel's database with `live` running and `terminal` ended processes. The kernel itself makes one of each. The others are
 * copies of its rows under other ids, in the tables that matter here. All works share it; it stays until the browser's profile is
 * deleted.
 */
export async function crowd(live: number, terminal: number): Promise<string> {
  const name = `bench-crowd-${live}-${terminal}`;
  const known = await indexedDB.databases();
  if (known.some((database) => database.name === name)) return name;
  const kernel = await createKernel({ name, loop: "off" });
  const { processes } = kernel;
  const ids = { live: idOf("live", 0), ended: idOf("ended", 0) };
  for (const id of Object.values(ids)) {
    await processes.registerProcess({
      id,
      input: { type: "task", name: CROWD_HANDLER, args: PAYLOAD },
      eventTypes: [{ name: EVENT_TYPE }],
    });
  }
  await processes.claimProcessLease(ids.live, "bench", DAY_MS);
  const lease = await processes.claimProcessLease(ids.ended, "bench", DAY_MS);
  await processes.completeProcess(ids.ended, { type: "success", value: null }, { lease });
  await kernel.close();

  const database = await openBare(name);
  for (const [kind, count] of [
    ["ended", terminal],
    ["live", live],
  ] as const) {
    for (const [table, [row]] of Object.entries(await storedRows(name, ids[kind], TABLES[kind]))) {
      const text = JSON.stringify(row);
      if (row) await fill(database, table, count, (at) => JSON.parse(text.replaceAll(ids[kind], idOf(kind, at))));
    }
  }
  database.close();
  return name;
}

const idOf = (kind: string, at: number) => `${kind}-${String(at).padStart(DIGITS, "0")}`;
