import { checkId } from "./check.js";

const RUNTIME_PREFIX = "rt:session:";

/** The one address of a session's runtime. Its executor's lease has it as resource, so no process may be called so. */
export function runtimeIdOf(sessionId: string): string {
  return RUNTIME_PREFIX + sessionId;
}

export function isRuntimeId(id: string): boolean {
  return id.startsWith(RUNTIME_PREFIX);
}

/** Any id; one that was made of a session id may be longer by what was put before it. */
export function checkRuntimeId(field: string, value: unknown, maxLength: number): string {
  const isOfSession = typeof value === "string" && isRuntimeId(value);
  return checkId(field, value, maxLength + (isOfSession ? RUNTIME_PREFIX.length : 0));
}
