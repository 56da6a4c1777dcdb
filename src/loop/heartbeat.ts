import type { Corridor } from "../corridor/command.js";
import type { Pulse } from "../kernel/host/loop-contract.js";
import type { Presence } from "../kernel/host/presence.js";
import type { Clock } from "../ports/clock.js";
import { beatHost } from "../stores/host/beats.js";
import { needsWrite } from "../stores/host/hosts.rules.js";
import { loadRow } from "../stores/schema.js";

/**
 * A host says that it lives, for all its agents at once: to the others' memory at every beat, to its row only as often as the flush
 * interval asks, or where the memory cannot be had. Resolves with how many of its agents went to others, as its row counts them.
 * Rejects with the trouble of the storage; the others have heard of it then all the same.
 */
export async function beat(
  parts: { corridor: Corridor; presence: Presence; clock: Clock; flushMs: number },
  { host }: Pick<Pulse, "host">,
): Promise<number> {
  const { corridor, presence, clock, flushMs } = parts;
  const touch = () => {
    try {
      presence.beat(host.bootId);
      return true;
    } catch {
      return false;
    }
  };
  const row = await corridor
    .query(["hosts"], (reader) => loadRow(reader, "hosts", host.bootId))
    .catch((error: unknown) => {
      touch();
      throw error;
    });
  const isDue = needsWrite(row, host, { nowMs: clock.now(), flushMs, fast: presence.store.available() });
  if (touch() && !isDue) return row?.moves ?? 0;
  return (await corridor.run(beatHost, { host })).moves;
}
