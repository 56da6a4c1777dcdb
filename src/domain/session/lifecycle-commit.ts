import { invalid } from "../errors.js";
import type { RuntimeState } from "./session.js";

/** The state that a runtime moves to. Only a session's runtime makes one; any other object is refused as `invalid`. */
export class MachineLifecycleCommit {
  declare private readonly minted: never;
  private constructor() {}
}

/** The state is no member: a member can be copied, inherited or forged. */
const MINTED = new WeakMap<object, RuntimeState>();

export function mintLifecycleCommit(state: RuntimeState): MachineLifecycleCommit {
  const commit: MachineLifecycleCommit = Object.freeze(Object.create(MachineLifecycleCommit.prototype));
  MINTED.set(commit, state);
  return commit;
}

/** Throws `invalid` for a forged one, and for "attached", a state of one tab that is never stored. */
export function checkLifecycleCommit(field: string, value: unknown): RuntimeState {
  const state = MINTED.get(value as object);
  if (state === undefined) throw invalid(`${field} must be a MachineLifecycleCommit that a session's runtime made`);
  if (state === "attached") throw invalid(`${field} must not carry the state attached`);
  return state;
}
