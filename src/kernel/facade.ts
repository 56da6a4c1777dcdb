import type { Limits } from "../domain/time.js";
import type { KeyStore, Seal } from "../ports/seal.js";
import type { HandleMethods } from "../stores/process/handles.js";
import type { LeaseMethods } from "../stores/process/leases-by-hand.js";
import type { OpsMethods } from "../stores/session/ops.js";
import type { RuntimeMethods } from "../stores/session/runtime.js";
import type { KernelGround } from "./ground.js";
import type { AgentRegistration, Agents } from "./host/agents.js";
import { heldLocks } from "./host/held-locks.js";
import type { CurrentHost } from "./host/host.js";
import type { HostRecord } from "./host/host-list.js";
import { hostLockName } from "./host/ids.js";
import type { LifecycleStore } from "./host/lifecycle.js";
import { type Lazy, mapLazy, methodsOf } from "./lazy.js";
import type { LazyParts } from "./lazy-parts.js";
import type { RuntimeStore } from "./runtime-store.js";
import type { KernelSessions } from "./session/archive.js";
import type { AuthSnapshotMethods } from "./vault/auth-snapshot.js";
import type { OAuthFlows } from "./vault/oauth-flows.js";
import type { Secrets } from "./vault/secrets.js";

/** The methods whose code is loaded when an app first calls them. */
interface Facade {
  readonly runtime: RuntimeStore;
  readonly lifecycle: LifecycleStore;
  readonly auth: OAuthFlows;
  readonly secrets: Secrets;
  readonly sessions: KernelSessions;
  agent(agentId: string): Promise<AgentRegistration>;
  hosts(): Promise<HostRecord[]>;
}

interface FacadeParts extends KernelGround {
  readonly lazyParts: LazyParts;
  readonly limits: Limits;
  readonly seal: Lazy<Seal> | undefined;
  readonly keys: KeyStore | undefined;
  readonly host: Readonly<CurrentHost>;
  /** The storage is memory: nothing outlives this kernel. */
  readonly isMemory: boolean;
  /** Equal for all kernels on one durable database. */
  readonly authorityKey: string | undefined;
  newNonce(): string;
  randomBytes(count: number): Uint8Array;
  agentsFailed(error: unknown): void;
}

interface LazyFacade {
  readonly facade: Facade;
  /** `kernel.processes` has them: leases that an app claims itself. */
  readonly leases: LeaseMethods;
  /** `kernel.processes` has them, too. */
  readonly grants: HandleMethods;
  readonly agents: Lazy<Agents>;
  /** Parts that are made after this are closed at once. */
  close(): void;
}

export function createFacade(parts: FacadeParts): LazyFacade {
  const { lazyParts, corridor, limits, databaseId, locks, host, authorityKey } = parts;
  let isClosed = false;
  const sealed = mapLazy(lazyParts.sealed, ({ openSealed }) => {
    const made = openSealed(parts);
    if (isClosed) made.close();
    return made;
  });
  const agents = mapLazy(lazyParts.agents, ({ createAgents }) => {
    const made = createAgents({ ...parts, host: () => host.identity, fault: parts.agentsFailed });
    if (isClosed) void made.close();
    return made;
  });
  const locksOfHosts = {
    lockName: (bootId: string) => hostLockName(databaseId, bootId),
    held: () => heldLocks(locks),
  };
  const archive = mapLazy(lazyParts.archive, ({ sessionArchive }) => sessionArchive({ corridor, limits, ...locksOfHosts }));
  const rows = mapLazy(lazyParts.runtime, ({ rowMethods }) => rowMethods(corridor, limits));
  const byHand = mapLazy(lazyParts.leases, ({ leaseMethods }) => leaseMethods(corridor, limits, parts.newNonce));
  const grants = mapLazy(lazyParts.grants, ({ handleMethods }) => handleMethods(corridor, limits));
  const lifecycle = mapLazy(agents, (made) => made.lifecycle);
  const secrets = mapLazy(sealed, (made) => made.secrets);

  const facade: Facade = {
    runtime: {
      ...methodsOf<RuntimeMethods & OpsMethods>(rows, {
        commitSessionSnapshot: true,
        atomicApply: true,
        loadInputStates: true,
        loadBoundaryReceipt: true,
        loadSessionSnapshot: true,
        persistInputState: true,
        loadInputState: true,
        loadRuntimeState: true,
        commitMachineLifecycle: true,
        persistOpsLifecycle: true,
        loadOpsLifecycle: true,
      }),
      authAuthorityKey: () => authorityKey,
      ...methodsOf<AuthSnapshotMethods>(sealed, {
        persistAuthOAuthFlowSnapshot: true,
        loadAuthOAuthFlowSnapshot: true,
        updateAuthOAuthFlowSnapshot: true,
      }),
    },
    lifecycle: methodsOf<LifecycleStore>(lifecycle, {
      register: true,
      heartbeat: true,
      deregister: true,
      get: true,
      list: true,
    }),
    auth: methodsOf<OAuthFlows>(sealed, {
      beginBrowser: true,
      verifyBrowser: true,
      consumeBrowser: true,
      admitDevice: true,
      pollDevice: true,
      release: true,
    }),
    secrets: methodsOf<Secrets>(secrets, { put: true, get: true, delete: true }),
    sessions: {
      ...methodsOf<Omit<KernelSessions, "export">>(archive, { list: true, messages: true, import: true, delete: true }),
      async *export(sessionId, options) {
        yield* (await archive.load()).export(sessionId, options);
      },
    },
    agent: methodsOf<Pick<Agents, "register">>(agents, { register: true }).register,
    async hosts() {
      const { listHosts } = await lazyParts.agents.load();
      return await listHosts({
        ...parts,
        ...locksOfHosts,
        self: host.identity,
      });
    },
  };
  return {
    facade,
    leases: methodsOf<LeaseMethods>(byHand, {
      getLease: true,
      claimProcessLease: true,
      renewProcessLease: true,
      completeProcessLease: true,
    }),
    grants: methodsOf<HandleMethods>(grants, {
      grantHandle: true,
      revokeHandle: true,
      transferHandleGrants: true,
      listHandleGrants: true,
      listLiveHandleGrants: true,
      hasHandleGrant: true,
      handleGrantsForProcess: true,
      deleteSessionProcessState: true,
    }),
    agents,
    close() {
      isClosed = true;
      sealed.loaded?.close();
    },
  };
}
