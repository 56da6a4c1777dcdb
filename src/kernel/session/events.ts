import type { RuntimeState } from "../../domain/session/session.js";
import type { InputHappening } from "../../stores/session/draft.js";

/** A change of a session's inputs or runs, reported by the kernel that made it. */
export interface SessionEvent {
  sessionId: string;
  /** `input.accepted`, `input.deduplicated`, `input.queued`, `input.staged`, `input.applied`, `input.consumed`, `input.superseded`, `input.coalesced`, `input.abandoned`, `run.started`, `run.completed`, `run.failed`, `run.cancelled`, `runtime.state_changed` */
  code: string;
  inputId?: string;
  runId?: string;
  /** The cause of a failed run. */
  error?: string;
  state?: RuntimeState;
}

export function emitInputs(
  emit: (event: SessionEvent) => void,
  about: Pick<SessionEvent, "sessionId" | "runId">,
  happenings: readonly InputHappening[],
): void {
  for (const { code, inputId } of happenings) emit({ ...about, code, inputId });
}
