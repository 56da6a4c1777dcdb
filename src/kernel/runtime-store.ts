import type { Corridor } from "../corridor/command.js";
import type { Limits } from "../domain/time.js";
import { type OpsMethods, opsStoreMethods } from "../stores/session/ops.js";
import { type RuntimeMethods, runtimeMethods } from "../stores/session/runtime.js";
import type { AuthSnapshotMethods } from "./vault/auth-snapshot.js";

/** What sessions keep: snapshot, receipts, inputs, state, operations, login flows. Every record that comes out of it is a copy. */
export interface RuntimeStore extends RuntimeMethods, OpsMethods, AuthSnapshotMethods {
  /** Equal for all kernels on one durable database, also after a restart; undefined in memory. */
  authAuthorityKey(): string | undefined;
}

export function rowMethods(corridor: Corridor, limits: Limits): RuntimeMethods & OpsMethods {
  return { ...runtimeMethods(corridor, limits), ...opsStoreMethods(corridor, limits) };
}
