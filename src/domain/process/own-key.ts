/**
 * The replay keys that are holdfast's own: `process:<id>:<kind>:<rest>`. The id is encoded, so that no two processes share a key:
 * a service outside sees the step keys of all processes. The former key is that of an older database, where ids were not encoded.
 */
export function ownKey(processId: string, kind: OwnKeyKind, rest: string): { replayKey: string; formerKey: string } {
  const [replayKey, formerKey] = prefixesOf(processId).map((prefix) => `${prefix}${kind}:${rest}`) as [string, string];
  return { replayKey, formerKey };
}

/**
 * `sleep` and `wait` hold the results of timers and of waits for signals, `waiting` their beginnings. `run` holds the keys of what stands for
 * something new after a restart, behind the count of restarts: `process:<id>:run:1:terminal:<type>`.
 */
export type OwnKeyKind =
  | "step"
  | "sleep"
  | "wait"
  | "waiting"
  | "signal"
  | "step_failed"
  | "attempt_failed"
  | "restarted"
  | "run"
  | "terminal"
  | "cancel_requested";

/** The rest of a key that begins with holdfast's own prefix; `undefined` for an app's own key. */
export function restOfOwnKey(processId: string, key: string): string | undefined {
  const prefix = prefixesOf(processId).find((one) => key.startsWith(one));
  return prefix && key.slice(prefix.length);
}

/** An id as a part of a key, without the separator `:`. An id without `%` and `:` stays as it is. */
export function keyPart(id: string): string {
  return id.replaceAll("%", "%25").replaceAll(":", "%3A");
}

/**
 * The id of a child that is started without one. No other parent and no other key gives the same id. The former id is that of an
 * older database.
 */
export function childId(parentId: string, key: string): { id: string; formerId: string } {
  const part = key.replaceAll("%", "%25").replaceAll("/", "%2F");
  return { id: `${parentId}/${part}`, formerId: `${parentId}/${key}` };
}

function prefixesOf(processId: string): string[] {
  return [keyPart(processId), processId].map((id) => `process:${id}:`);
}
