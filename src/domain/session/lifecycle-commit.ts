import { invalid } from "../errors.js";
import type { RuntimeState } from "./session.js";

/** The state that a runtime moves to. Only a session's runtime makes one: whatever else looks like it is refused as `invalid`. */
export class MachineLifecycleCommit {
  declare private readonly minted: never;
  private constructor() {}
}

/** Not a member: what hangs on an object can be copied from it, inherited or forged. */
const MINTED = new WeakMap<object, RuntimeState>();

export function mintLifecycleCommit(state: RuntimeState): MachineLifecycleCommit {
  const commit: MachineLifecycleCommit = Object.freeze(Object.create(MachineLifecycleCommit.prototype));
  MINTED.set(commit, state);
  return commit;
}

/** Throws `invalid` for a forged one, and for "attached", which says something of one tab and is never stored. */
export function checkLifecycleCommit(field: string, value: unknown): RuntimeState {
  const state = MINTED.get(value as object);
  if (state === undefined) throw invalid(`${field} must be a MachineLifecycleCommit that a session's runtime made`);
  if (state === "attached") throw invalid(`${field} must not carry the state attached`);
  return state;
}
