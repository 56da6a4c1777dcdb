/**
 * The replay keys that are holdfast's own: `process:<id>:<kind>:<rest>`, the id encoded, so that no two processes share one. A service
 * outside sees those of steps, from all processes. The former key is the one of an older database, where ids were not encoded.
 */
export function ownKey(
  processId: string,
  kind: "step" | "terminal" | "cancel_requested",
  rest: string,
): { replayKey: string; formerKey: string } {
  const [replayKey, formerKey] = prefixesOf(processId).map((prefix) => `${prefix}${kind}:${rest}`) as [string, string];
  return { replayKey, formerKey };
}

/** What stands behind the prefix in a key that is not an app's to use. */
export function restOfOwnKey(processId: string, key: string): string | undefined {
  const prefix = prefixesOf(processId).find((one) => key.startsWith(one));
  return prefix && key.slice(prefix.length);
}

/** An id as a part of a key: what parts it from the next is in none. One without `%` and `:` stays as it is. */
export function keyPart(id: string): string {
  return id.replaceAll("%", "%25").replaceAll(":", "%3A");
}

/** A child's id, where it is given none: no other parent and no other key gives it. The former id is the one of an older database. */
export function childId(parentId: string, key: string): { id: string; formerId: string } {
  const part = key.replaceAll("%", "%25").replaceAll("/", "%2F");
  return { id: `${parentId}/${part}`, formerId: `${parentId}/${key}` };
}

function prefixesOf(processId: string): string[] {
  return [keyPart(processId), processId].map((id) => `process:${id}:`);
}
