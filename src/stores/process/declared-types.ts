import type { ProcessEventType } from "../../domain/process/event-type.js";
import type { Reader } from "../../ports/storage.js";
import { loadRow } from "../schema.js";
import type { ProcessRow } from "./tables.js";

/** A cache of the event types that processes declare. */
export interface DeclaredTypes {
  /** The types as they were last read. The process may have been removed since, and its id used again. */
  known(processId: string): { registrationHash: string; eventTypes: readonly ProcessEventType[] } | undefined;
  load(
    reader: Reader,
    processId: string,
    process: Promise<ProcessRow | undefined>,
  ): Promise<readonly ProcessEventType[] | undefined>;
}

const MOST_KNOWN = 1_024;

/**
 * A registration never changes, and its hash is in the small row that every append reads. So types that were read under that hash need
 * no second read.
 */
export function declaredTypes(): DeclaredTypes {
  const known = new Map<string, Pick<ProcessRow, "registrationHash"> & { eventTypes: readonly ProcessEventType[] }>();
  return {
    known: (processId) => known.get(processId),
    async load(reader, processId, process) {
      const kept = known.get(processId);
      const [row, read] = await Promise.all([process, kept ? undefined : loadRow(reader, "registrations", processId)]);
      if (!row || row.registrationHash === kept?.registrationHash) return kept?.eventTypes;
      // The process was removed and its id used again, or its types were never read.
      const registration = read ?? (await loadRow(reader, "registrations", processId));
      if (!registration) return undefined;
      const { eventTypes } = registration;
      known.set(processId, { registrationHash: row.registrationHash, eventTypes });
      if (known.size > MOST_KNOWN) known.delete(known.keys().next().value as string);
      return eventTypes;
    },
  };
}
