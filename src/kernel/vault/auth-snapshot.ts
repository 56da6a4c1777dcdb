import { checkBytes, checkFunction } from "../../domain/check.js";
import type { Limits } from "../../domain/time.js";
import type { Vault } from "./vault.js";

/** The record that holds the login flows of the whole database. */
export const OAUTH_RECORD = "oauth";

/** The part of the runtime store that keeps login flows: one record for all runtimes, as bytes. */
export interface AuthSnapshotMethods {
  /** Replaces the stored bytes, even if they do not open any more. At most `limits.snapshotBytes`. */
  persistAuthOAuthFlowSnapshot(snapshot: Uint8Array): Promise<void>;
  /** The bytes that were stored last. Rejects `read-failed` if they do not open any more. */
  loadAuthOAuthFlowSnapshot(): Promise<Uint8Array | undefined>;
  /**
   * Replaces the bytes by what `update` makes of them; no other write comes between. `update` is synchronous and pure: it may be called
   * several times, and only its last result is stored. An error that it throws is passed on, and nothing is stored; a promise is
   * `invalid`. Rejects `write-failed` when other tabs changed the bytes at every one of 17 tries.
   */
  updateAuthOAuthFlowSnapshot(update: (current: Uint8Array | undefined) => Uint8Array): Promise<void>;
}

export function authSnapshotMethods(vault: Vault, limits: Limits): AuthSnapshotMethods {
  return {
    async persistAuthOAuthFlowSnapshot(snapshot) {
      await vault.replace(OAUTH_RECORD, checkBytes("snapshot", snapshot, limits.snapshotBytes));
    },
    loadAuthOAuthFlowSnapshot: () => vault.read(OAUTH_RECORD),
    async updateAuthOAuthFlowSnapshot(update) {
      checkFunction("update", update);
      await vault.update(OAUTH_RECORD, (current) => {
        const next: unknown = update(current);
        // A promise is refused below; a rejection of it must not go unhandled.
        Promise.resolve(next).catch(() => {});
        return { next: checkBytes("update: what it returns", next, limits.snapshotBytes), reply: undefined };
      });
    },
  };
}
