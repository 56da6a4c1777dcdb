import type { Limits } from "../../domain/time.js";
import { type AuthSnapshotMethods, authSnapshotMethods } from "./auth-snapshot.js";
import { createOAuthFlows, type OAuthFlows, type OAuthFlowsParts } from "./oauth-flows.js";
import { type Secrets, secretMethods } from "./secrets.js";
import { createVault, type VaultParts } from "./vault.js";

/** Secrets, login flows and their snapshots: all that the vault seals. */
export interface Sealed extends OAuthFlows, AuthSnapshotMethods {
  readonly secrets: Secrets;
  close(): void;
}

export function openSealed(parts: VaultParts & Omit<OAuthFlowsParts, "vault"> & { limits: Limits }): Sealed {
  const vault = createVault(parts);
  const { flows, close } = createOAuthFlows({ ...parts, vault });
  return {
    ...flows,
    ...authSnapshotMethods(vault, parts.limits),
    secrets: secretMethods(vault, parts.limits),
    close() {
      close();
      vault.close();
    },
  };
}
