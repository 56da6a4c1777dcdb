import type { OpsMethods } from "../stores/ops.js";
import type { RuntimeMethods } from "../stores/runtime.js";
import type { AuthSnapshotMethods } from "./auth-snapshot.js";

/** What sessions keep: snapshot, receipts, inputs, state, operations, login flows. Every record that comes out of it is a copy. */
export interface RuntimeStore extends RuntimeMethods, OpsMethods, AuthSnapshotMethods {
  /** Equal for all kernels on one durable database, also after a restart; nothing in memory. */
  authAuthorityKey(): string | undefined;
}
