import { checkId, membersOf } from "./check.js";
import { invalid } from "./errors.js";

/** The scope that sees a process: a session, or one agent frame of it. */
export interface ProcessScope {
  sessionId: string;
  agentFrameId?: string;
}

const FRAME = "/frame:";

/** `session:<s>` or `session:<s>/frame:<f>`; two scopes are the same when their ids are. */
export function scopeId(scope: ProcessScope): string {
  return scope.agentFrameId ? `session:${scope.sessionId}${FRAME}${scope.agentFrameId}` : `session:${scope.sessionId}`;
}

export function checkScope(field: string, value: unknown, maxLength: number): ProcessScope {
  const { sessionId, agentFrameId } = membersOf(field, value, ["sessionId", "agentFrameId"]);
  if (sessionId === "") throw invalid(`${field}.sessionId must be a non-empty string: an owner scope must include a session id`);
  const session = checkId(`${field}.sessionId`, sessionId, maxLength);
  if (session.includes(FRAME)) throw invalid(`${field}.sessionId must not contain "${FRAME}"`);
  if (agentFrameId === undefined || agentFrameId === "") return { sessionId: session };
  return { sessionId: session, agentFrameId: checkId(`${field}.agentFrameId`, agentFrameId, maxLength) };
}
