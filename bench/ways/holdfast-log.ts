import { createKernel, type Kernel, type KernelOptions, type ProcessEventAppendRequest } from "holdfast";
import { deleteBare, fill, openBare } from "../bare.js";
import { EVENT_TYPE, type Log, PAYLOAD } from "./log.js";
import { storedRows } from "./stored-rows.js";

/** A kernel as an app opens it, with processes that no handler runs. */
export async function holdfastLog(
  name: string,
  processIds: readonly string[],
  options: Partial<KernelOptions> = {},
): Promise<Log & { kernel: Kernel; request: ProcessEventAppendRequest }> {
  const kernel = await createKernel({ name, ...options });
  const request = { eventType: EVENT_TYPE, payload: PAYLOAD };
  await Promise.all(processIds.map((id) => register(kernel, id)));
  return {
    kernel,
    request,
    append: (processId) => kernel.processes.appendEvent(processId, request),
    after: (processId, sequence, limit) => kernel.processes.eventsAfter(processId, sequence, { limit }),
    /** The kernel stores the first event. The others are copies of its row, under their own numbers. */
    async fill(processId, count) {
      await kernel.processes.appendEvent(processId, request);
      const { processes, events } = await storedRows(name, processId, ["processes", "events"]);
      const database = await openBare(name);
      await fill(database, "events", count, (at) => ({ ...events?.[0], sequence: at + 1 }));
      await fill(database, "processes", 1, () => ({ ...processes?.[0], lastSequence: count }));
      database.close();
    },
    async close() {
      await kernel.close();
      await deleteBare(name);
    },
  };
}

export async function register(kernel: Kernel, id: string): Promise<void> {
  await kernel.processes.registerProcess({
    id,
    input: { type: "external", metadata: null },
    eventTypes: [{ name: EVENT_TYPE }],
  });
}
