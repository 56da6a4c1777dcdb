import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { checkId, membersOf } from "../../domain/check.js";
import { HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { Limits } from "../../domain/time.js";
import { type AuthTarget, checkTarget } from "../../domain/vault/auth-target.js";
import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import {
  admitBrowser,
  admitDevice,
  type BrowserClaim,
  consumeBrowser,
  consumeDevice,
  type DeviceClaim,
  decodeFlows,
  deviceExpiry,
  encodeFlows,
  type Flows,
  type FlowVerdict,
  flowRefusal,
  keysOfTarget,
  releaseFlows,
  verifyBrowser,
  verifyDevice,
} from "../../stores/vault/oauth-flows.rules.js";
import { disposable } from "../host/disposable.js";
import { channelName } from "../host/ids.js";
import { holdIfFree, type Release } from "../host/web-lock.js";
import { OAUTH_RECORD } from "./auth-snapshot.js";
import type { Vault } from "./vault.js";

/**
 * Logins under way, of all tabs. Each call reads and changes the stored set in one step, so a flow that one tab consumed is gone for
 * every tab. Refusals carry `details.reason`: Missing (`not-found`), TargetMismatch, ProviderMismatch, RedirectUriMismatch,
 * CapacityExceeded with `max`, DevicePollInProgress, DeviceCodeAlreadyAdmitted, LifecycleRejected (`conflict`), DeviceExpiryOutOfRange
 * (`invalid`), StateGenerationFailed (`internal`), and PersistenceFailed with `operation` and the storage's own code: then nothing changed.
 */
export interface OAuthFlows {
  /** Stores a flow that expires after ten minutes. `state` is its token, made here. */
  beginBrowser(flow: {
    target: AuthTarget;
    provider: string;
    redirectUri: string;
    pkceVerifier: string;
  }): Promise<{ state: string; expiresAtMs: number }>;
  /** Resolves if a live flow matches; the flow stays. Target, provider and redirect URI are compared, in this order. */
  verifyBrowser(flow: { state: string; target: AuthTarget; provider: string; redirectUri: string }): Promise<void>;
  /** Like `verifyBrowser`, and removes the flow: one caller gets the verifier, every other one Missing. A flow that does not match stays. */
  consumeBrowser(flow: {
    state: string;
    target: AuthTarget;
    provider: string;
    redirectUri: string;
  }): Promise<{ pkceVerifier: string }>;
  /** Stores a device flow. `expiresInMs` is the provider's `expires_in`, in milliseconds. */
  admitDevice(flow: { target: AuthTarget; provider: string; deviceCode: string; expiresInMs: number }): Promise<void>;
  /** The right to poll for one device code: one holder in this kernel, and one in all tabs where there are Web Locks. */
  pollDevice(flow: { target: AuthTarget; provider: string; deviceCode: string }): Promise<DevicePoll>;
  /** Removes the flows that the target has when the call first reads them, and resolves with their number. */
  release(target: AuthTarget): Promise<number>;
}

/** Disposing calls `finish`. */
export interface DevicePoll extends AsyncDisposable {
  /** The provider granted the login: removes the flow. Rejects Missing when it expired or was released meanwhile. */
  consume(): Promise<void>;
  /** Lets another caller poll. The flow stays. */
  finish(): Promise<void>;
}

export interface OAuthFlowsParts {
  readonly vault: Vault;
  readonly databaseId: string;
  readonly locks: Locks | undefined;
  readonly clock: Clock;
  readonly limits: Limits;
  randomBytes(count: number): Uint8Array;
}

const BROWSER_FLOW_MS = 600_000;
const STATE_BYTES = 32;
/** The members of a flow in any call: what began a flow may be handed over again to go on with it. */
const BROWSER_MEMBERS = ["state", "target", "provider", "redirectUri", "pkceVerifier"] as const;
const DEVICE_MEMBERS = ["target", "provider", "deviceCode", "expiresInMs"] as const;
/** The longest URI, verifier or code, in characters. */
const LONGEST_TEXT = 4_096;

export function createOAuthFlows(parts: OAuthFlowsParts): { flows: OAuthFlows; close(): void } {
  const { vault, clock, limits } = parts;
  const polls = new Map<string, Release>();
  let closed = false;

  async function change<T>(operation: string, decide: (stored: Flows, nowMs: number) => FlowVerdict<T>): Promise<T> {
    let verdict: FlowVerdict<T>;
    try {
      verdict = await vault.update(OAUTH_RECORD, (current) => {
        const stored = decodeFlows(current);
        if (!stored)
          throw new HoldfastError("read-failed", "the stored login flows are broken", { details: { name: OAUTH_RECORD } });
        const reply = decide(stored, clock.now());
        return reply.flows === stored ? { reply } : { reply, next: encodeFlows(reply.flows) };
      });
    } catch (error) {
      throw persistenceFailed(operation, error);
    }
    if ("refusal" in verdict) throw verdict.refusal;
    return verdict.reply;
  }

  function newState(): string {
    try {
      const text = String.fromCharCode(...parts.randomBytes(STATE_BYTES));
      return `st-${btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
    } catch (error) {
      throw flowRefusal("StateGenerationFailed", { cause: error });
    }
  }

  const text = (field: string, value: unknown) => checkId(field, value, LONGEST_TEXT);
  const head = ({ target, provider }: { target: unknown; provider: unknown }) => ({
    target: checkTarget("flow.target", target, limits.idLength),
    provider: checkId("flow.provider", provider, limits.idLength),
  });

  function checkBrowserClaim(flow: unknown): BrowserClaim {
    const given = membersOf("flow", flow, BROWSER_MEMBERS);
    const state = checkId("flow.state", given.state, limits.idLength);
    return { state, ...head(given), redirectUri: text("flow.redirectUri", given.redirectUri) };
  }

  function checkDeviceClaim(given: Record<"target" | "provider" | "deviceCode", unknown>): DeviceClaim {
    return { ...head(given), deviceCode: text("flow.deviceCode", given.deviceCode) };
  }

  /** Any script of the origin can list the names of Web Locks: the code itself is not in it. */
  function lockName({ deviceCode }: DeviceClaim): string {
    return `${channelName(parts.databaseId)}:poll:${bytesToHex(sha256(utf8ToBytes(deviceCode)))}`;
  }

  async function beginPoll(claim: DeviceClaim): Promise<() => void> {
    const { deviceCode } = claim;
    await change("pollDevice", (stored, nowMs) => verifyDevice(stored, claim, nowMs));
    // The kernel closed meanwhile: a lock that is taken now would never be released.
    if (closed) throw new HoldfastError("closed", "the kernel is closed");
    if (polls.has(deviceCode)) throw flowRefusal("DevicePollInProgress");
    let isOver = false;
    let release: Release | undefined = () => {};
    const end = () => {
      if (isOver) return;
      isOver = true;
      polls.delete(deviceCode);
      release?.();
    };
    polls.set(deviceCode, end);
    release = await holdIfFree(parts.locks, lockName(claim));
    if (isOver) release?.();
    if (release) return end;
    end();
    throw flowRefusal("DevicePollInProgress");
  }

  const flows: OAuthFlows = {
    async beginBrowser(flow) {
      const given = membersOf("flow", flow, ["target", "provider", "redirectUri", "pkceVerifier"]);
      const checked = {
        ...head(given),
        redirectUri: text("flow.redirectUri", given.redirectUri),
        pkceVerifier: text("flow.pkceVerifier", given.pkceVerifier),
      };
      const state = newState();
      return await change("beginBrowser", (stored, nowMs) => {
        const expiresAtMs = nowMs + BROWSER_FLOW_MS;
        const verdict = admitBrowser(stored, { state, ...checked, createdAtMs: nowMs, expiresAtMs }, nowMs);
        return "refusal" in verdict ? verdict : { ...verdict, reply: { state, expiresAtMs } };
      });
    },
    async verifyBrowser(flow) {
      const claim = checkBrowserClaim(flow);
      await change("verifyBrowser", (stored, nowMs) => verifyBrowser(stored, claim, nowMs));
    },
    async consumeBrowser(flow) {
      const claim = checkBrowserClaim(flow);
      const { pkceVerifier } = await change("consumeBrowser", (stored, nowMs) => consumeBrowser(stored, claim, nowMs));
      return { pkceVerifier };
    },
    async admitDevice(flow) {
      const { expiresInMs, ...given } = membersOf("flow", flow, DEVICE_MEMBERS);
      const claim = checkDeviceClaim(given);
      const atMs = clock.now();
      const expiresAtMs = deviceExpiry(expiresInMs, atMs);
      await change("admitDevice", (stored, nowMs) => admitDevice(stored, { ...claim, createdAtMs: atMs, expiresAtMs }, nowMs));
    },
    async pollDevice(flow) {
      const claim = checkDeviceClaim(membersOf("flow", flow, DEVICE_MEMBERS));
      const end = await beginPoll(claim);
      let state: "open" | "consumed" | "finished" = "open";
      const finish = async () => {
        if (state === "open") state = "finished";
        end();
      };
      const poll = {
        async consume() {
          if (state === "finished") throw flowRefusal("LifecycleRejected");
          await change("consumeDevice", (stored, nowMs) => consumeDevice(stored, claim, nowMs));
          state = "consumed";
          end();
        },
        finish,
      };
      return disposable(poll, finish);
    },
    async release(target) {
      const released = checkTarget("target", target, limits.idLength);
      // Flows that other callers admit between two tries are not part of this release.
      let keys: ReadonlySet<string> | undefined;
      return await change("release", (stored, nowMs) => {
        keys ??= keysOfTarget(stored, released, nowMs);
        return releaseFlows(stored, keys, nowMs);
      });
    },
  };

  return {
    flows,
    close() {
      closed = true;
      for (const end of [...polls.values()]) end();
    },
  };
}

/** Keeps the code of the error; the error itself is the cause. */
function persistenceFailed(operation: string, thrown: unknown): HoldfastError {
  const { code, message } = isHoldfastError(thrown) ? thrown : { code: "internal" as const, message: "holdfast failed" };
  const told = isHoldfastError(thrown) && typeof thrown.details === "object" && thrown.details !== null ? thrown.details : {};
  const details = { ...told, reason: "PersistenceFailed", operation };
  return new HoldfastError(code, `${operation} could not read or store the login flows: ${message}`, { details, cause: thrown });
}
