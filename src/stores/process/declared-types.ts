import type { ProcessEventType } from "../../domain/process/event-type.js";
import type { Reader } from "../../ports/storage.js";
import { loadRow } from "../schema.js";
import type { ProcessRow } from "./tables.js";

/** The event types that processes declare, as they were read before. */
export interface DeclaredTypes {
  /** As they were last read; the process may have been removed since, and its id used again. */
  known(processId: string): { registrationHash: string; eventTypes: readonly ProcessEventType[] } | undefined;
  load(
    reader: Reader,
    processId: string,
    process: Promise<ProcessRow | undefined>,
  ): Promise<readonly ProcessEventType[] | undefined>;
}

const MOST_KNOWN = 1_024;

/**
 * A registration never changes, and its hash lies in the small row that every append reads: what was read under that hash needs no
 * second read.
 */
export function declaredTypes(): DeclaredTypes {
  const known = new Map<string, Pick<ProcessRow, "registrationHash"> & { eventTypes: readonly ProcessEventType[] }>();
  return {
    known: (processId) => known.get(processId),
    async load(reader, processId, process) {
      const kept = known.get(processId);
      const [row, read] = await Promise.all([process, kept ? undefined : loadRow(reader, "registrations", processId)]);
      if (!row || row.registrationHash === kept?.registrationHash) return kept?.eventTypes;
      // The id was removed and used again, or nobody has looked yet.
      const registration = read ?? (await loadRow(reader, "registrations", processId));
      if (!registration) return undefined;
      const { eventTypes } = registration;
      known.set(processId, { registrationHash: row.registrationHash, eventTypes });
      if (known.size > MOST_KNOWN) known.delete(known.keys().next().value as string);
      return eventTypes;
    },
  };
}
