/**
 * The replay keys that are holdfast's own: `process:<id>:<kind>:<rest>`, the id encoded, so that no two processes share one. A service
 * outside sees those of steps, from all processes.
 */
export type OwnKind = "step" | "terminal" | "cancel_requested";

export interface OwnKey {
  readonly replayKey: string;
  /** As it was before ids were encoded, where that differs: an older database has it. */
  readonly formerKey?: string;
}

export function ownKey(processId: string, kind: OwnKind, rest: string): OwnKey {
  const [replayKey = "", formerKey] = prefixesOf(processId).map((prefix) => `${prefix}${kind}:${rest}`);
  return { replayKey, ...(formerKey !== undefined && { formerKey }) };
}

/** What stands behind the prefix in a key that is not an app's to use. */
export function restOfOwnKey(processId: string, key: string): string | undefined {
  const prefix = prefixesOf(processId).find((one) => key.startsWith(one));
  return prefix === undefined ? undefined : key.slice(prefix.length);
}

/** An id as a part of a key: what parts it from the next is in none. One without `%` and `:` stays as it is. */
export function keyPart(id: string): string {
  return id.replaceAll("%", "%25").replaceAll(":", "%3A");
}

/**
 * A child's own id, where it is given none: only its parent and that key have it. `formerId` is the one that it had before keys were
 * encoded, where that differs.
 */
export function childId(parentId: string, key: string): { id: string; formerId?: string } {
  const part = key.replaceAll("%", "%25").replaceAll("/", "%2F");
  return { id: `${parentId}/${part}`, ...(part !== key && { formerId: `${parentId}/${key}` }) };
}

/** The one in use, and an older database's. */
function prefixesOf(processId: string): string[] {
  const part = keyPart(processId);
  return [...new Set([part, processId])].map((id) => `process:${id}:`);
}
