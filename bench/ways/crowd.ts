import { createKernel } from "holdfast";
import { fill, openBare } from "../bare.js";
import { EVENT_TYPE, PAYLOAD } from "./log.js";
import { storedRows } from "./stored-rows.js";

/** What is read to find out what runs. Of a process that runs its registration, too, which is read to show it. */
const TABLES = { ended: ["processes", "leases"], live: ["processes", "leases", "registrations"] };
const DIGITS = 7;

/** What all of them need; those that run are held by an owner that is no host, so that a host which has it reads them and takes none. */
export const CROWD_HANDLER = "crowd";
const DAY_MS = 86_400_000;

/**
 * A kernel's database with so many running and so many ended processes. One of each is made by the kernel itself; the others are its rows
 * again under ids of their own, in the tables that matter here. Kept until the browser's profile goes, for every work that asks for it.
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
