import { createKernel, type Kernel, type KernelOptions } from "holdfast";
import { fill, openBare } from "../bare.js";
import { storedRows } from "./stored-rows.js";

/** The handler of all sleepers: it is suspended at once, and due in ten days. */
export const SLEEPER = "sleeper";
export const sleepers: NonNullable<KernelOptions["handlers"]> = {
  [SLEEPER]: { run: ({ sleep }) => sleep("nap", 10 * 86_400_000), suspendAfterMs: 0 },
};

/** Starts so many processes and waits until all of them are suspended. */
export async function suspend(kernel: Kernel, ids: readonly string[]): Promise<void> {
  await Promise.all(ids.map((id) => kernel.start(SLEEPER, { id })));
  for (const id of ids) {
    while (!(await kernel.processes.getProcess(id))?.suspended) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A kernel's database with so many suspended processes: it makes one, and the others are copies of its rows under other ids. */
export async function suspendedCrowd(count: number): Promise<string> {
  const name = `bench-suspended-${count}`;
  const known = await indexedDB.databases();
  if (known.some((database) => database.name === name)) return name;
  const kernel = await createKernel({ name, loop: "inline", handlers: sleepers });
  if (count > 0) await suspend(kernel, [idOf(0)]);
  await kernel.close();
  const database = await openBare(name);
  for (const [table, rows] of Object.entries(
    await storedRows(name, idOf(0), ["processes", "registrations", "leases", "waits"]),
  )) {
    const text = JSON.stringify(rows[0]);
    if (count > 0) await fill(database, table, count, (at) => JSON.parse(text.replaceAll(idOf(0), idOf(at))));
  }
  database.close();
  return name;
}

const idOf = (at: number) => `sleeper-${String(at).padStart(7, "0")}`;
