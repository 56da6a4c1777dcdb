import { checkId } from "./check.js";

const RUNTIME_PREFIX = "rt:session:";

/**
 * The only address of a session's runtime. It is also the resource of the executor's lease, so no process may have such an id.
 */
export function runtimeIdOf(sessionId: string): string {
  return RUNTIME_PREFIX + sessionId;
}

export function isRuntimeId(id: string): boolean {
  return id.startsWith(RUNTIME_PREFIX);
}

/** Any id. An id made of a session id may be longer, by the length of the prefix. */
export function checkRuntimeId(field: string, value: unknown, maxLength: number): string {
  const isOfSession = typeof value === "string" && isRuntimeId(value);
  return checkId(field, value, maxLength + (isOfSession ? RUNTIME_PREFIX.length : 0));
}
