import { someMembersOf } from "../../domain/check.js";
import { type ErrorCode, HoldfastError, invalid } from "../../domain/errors.js";
import { canonicalText, type JsonValue } from "../../domain/json.js";
import { type AuthTarget, checkTarget, sameTarget } from "../../domain/vault/auth-target.js";

export interface BrowserFlow {
  readonly state: string;
  readonly target: AuthTarget;
  readonly provider: string;
  readonly redirectUri: string;
  readonly pkceVerifier: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface DeviceFlow {
  readonly target: AuthTarget;
  readonly provider: string;
  readonly deviceCode: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

/** All login flows that are under way. */
export interface Flows {
  readonly browser: readonly BrowserFlow[];
  readonly device: readonly DeviceFlow[];
}

/** What a caller claims of a flow. It must match what was given when the flow began. */
export type BrowserClaim = Pick<BrowserFlow, "state" | "target" | "provider" | "redirectUri">;
export type DeviceClaim = Pick<DeviceFlow, "deviceCode" | "target" | "provider">;

/** `flows` must be stored in both cases, because expired ones are removed from them. They are the given object itself if nothing changed. */
export type FlowVerdict<T> =
  | { readonly flows: Flows; readonly reply: T }
  | { readonly flows: Flows; readonly refusal: HoldfastError };

/** Browser and device flows together. */
export const MOST_FLOWS = 1024;

const FLOW_REFUSALS = {
  Missing: ["not-found", "there is no such login flow: never begun, expired or consumed"],
  TargetMismatch: ["conflict", "the login flow is for another target"],
  ProviderMismatch: ["conflict", "the login flow is for another provider"],
  RedirectUriMismatch: ["conflict", "the login flow has another redirect URI"],
  StateGenerationFailed: ["internal", "no state token could be made"],
  CapacityExceeded: ["conflict", `there are ${MOST_FLOWS} login flows under way`],
  DevicePollInProgress: ["conflict", "the device code is being polled already"],
  DeviceCodeAlreadyAdmitted: ["conflict", "the device code was admitted already"],
  DeviceExpiryOutOfRange: ["invalid", "expiresInMs must be a whole number from 0 up that ends in a time that can be told"],
  LifecycleRejected: ["conflict", "the poll has ended"],
} as const satisfies Record<string, readonly [ErrorCode, string]>;

/** Messages and details hold nothing of a flow: most of it is secret. */
export function flowRefusal(
  reason: keyof typeof FLOW_REFUSALS,
  more: { details?: Record<string, JsonValue>; cause?: unknown } = {},
): HoldfastError {
  const [code, message] = FLOW_REFUSALS[reason];
  return new HoldfastError(code, message, { details: { reason, ...more.details }, cause: more.cause });
}

/** The flows that have not expired. A flow is expired when now >= expiresAtMs. */
function live(flows: Flows, nowMs: number): Flows {
  const isLive = ({ expiresAtMs }: { expiresAtMs: number }) => nowMs < expiresAtMs;
  if (flows.browser.every(isLive) && flows.device.every(isLive)) return flows;
  return { browser: flows.browser.filter(isLive), device: flows.device.filter(isLive) };
}

export function admitBrowser(stored: Flows, flow: BrowserFlow, nowMs: number): FlowVerdict<void> {
  const flows = live(stored, nowMs);
  if (flows.browser.some(({ state }) => state === flow.state)) return { flows, refusal: flowRefusal("StateGenerationFailed") };
  if (isFull(flows)) return { flows, refusal: full() };
  return { flows: { ...flows, browser: [...flows.browser, flow] }, reply: undefined };
}

export function verifyBrowser(stored: Flows, claim: BrowserClaim, nowMs: number): FlowVerdict<BrowserFlow> {
  const flows = live(stored, nowMs);
  const flow = flows.browser.find(({ state }) => state === claim.state);
  if (!flow) return { flows, refusal: flowRefusal("Missing") };
  const refusal =
    claimMismatch(flow, claim) ?? (flow.redirectUri === claim.redirectUri ? undefined : flowRefusal("RedirectUriMismatch"));
  return refusal ? { flows, refusal } : { flows, reply: flow };
}

export function consumeBrowser(stored: Flows, claim: BrowserClaim, nowMs: number): FlowVerdict<BrowserFlow> {
  const verdict = verifyBrowser(stored, claim, nowMs);
  if ("refusal" in verdict) return verdict;
  const { flows, reply } = verdict;
  return { flows: { ...flows, browser: flows.browser.filter((flow) => flow !== reply) }, reply };
}

export function admitDevice(stored: Flows, flow: DeviceFlow, nowMs: number): FlowVerdict<void> {
  const flows = live(stored, nowMs);
  if (flows.device.some(({ deviceCode }) => deviceCode === flow.deviceCode))
    return { flows, refusal: flowRefusal("DeviceCodeAlreadyAdmitted") };
  if (isFull(flows)) return { flows, refusal: full() };
  return { flows: { ...flows, device: [...flows.device, flow] }, reply: undefined };
}

export function verifyDevice(stored: Flows, claim: DeviceClaim, nowMs: number): FlowVerdict<DeviceFlow> {
  const flows = live(stored, nowMs);
  const flow = flows.device.find(({ deviceCode }) => deviceCode === claim.deviceCode);
  if (!flow) return { flows, refusal: flowRefusal("Missing") };
  const refusal = claimMismatch(flow, claim);
  return refusal ? { flows, refusal } : { flows, reply: flow };
}

export function consumeDevice(stored: Flows, claim: DeviceClaim, nowMs: number): FlowVerdict<DeviceFlow> {
  const verdict = verifyDevice(stored, claim, nowMs);
  if ("refusal" in verdict) return verdict;
  const { flows, reply } = verdict;
  return { flows: { ...flows, device: flows.device.filter((flow) => flow !== reply) }, reply };
}

/** The keys of a target's live flows. A release that is accepted at this moment removes these. */
export function keysOfTarget(stored: Flows, target: AuthTarget, nowMs: number): ReadonlySet<string> {
  const { browser, device } = live(stored, nowMs);
  return new Set([...browser, ...device].filter((flow) => sameTarget(flow.target, target)).map(flowKeyOf));
}

/** Replies with how many of them were still there. */
export function releaseFlows(stored: Flows, keys: ReadonlySet<string>, nowMs: number): FlowVerdict<number> {
  const flows = live(stored, nowMs);
  const stays = (flow: BrowserFlow | DeviceFlow) => !keys.has(flowKeyOf(flow));
  const left = { browser: flows.browser.filter(stays), device: flows.device.filter(stays) };
  const reply = countFlows(flows) - countFlows(left);
  return { flows: reply === 0 ? flows : left, reply };
}

/** Throws DeviceExpiryOutOfRange if the time is no safe integer. */
export function deviceExpiry(expiresInMs: unknown, nowMs: number): number {
  const ms = Number.isSafeInteger(expiresInMs) ? (expiresInMs as number) : -1;
  if (ms < 0 || !Number.isSafeInteger(nowMs + ms)) throw flowRefusal("DeviceExpiryOutOfRange");
  return nowMs + ms;
}

/** Equal sets give equal bytes: entries are in the order of their keys, members in the order of RFC 8785. */
export function encodeFlows({ browser, device }: Flows): Uint8Array {
  const sorted = (flows: readonly (BrowserFlow | DeviceFlow)[]) =>
    flows
      .map((flow) => ({ flow, parts: partsOf(flow) }))
      .sort((a, b) => compare(a.parts, b.parts))
      .map(({ flow }) => flow as unknown as JsonValue);
  return new TextEncoder().encode(canonicalText({ browser: sorted(browser), device: sorted(device) }));
}

/** `undefined` for bytes that are no set of flows. Either list may be absent. */
export function decodeFlows(bytes: Uint8Array | undefined): Flows | undefined {
  if (!bytes) return { browser: [], device: [] };
  try {
    const { browser = [], device = [] } = someMembersOf(
      "flows",
      JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)),
      ["browser", "device"],
    );
    return { browser: checkFlows(browser, BROWSER_TEXTS), device: checkFlows(device, DEVICE_TEXTS) };
  } catch {
    // The parser's message quotes a piece of the text, which is secret.
    return undefined;
  }
}

const BROWSER_TEXTS = ["state", "provider", "redirectUri", "pkceVerifier"] as const;
const DEVICE_TEXTS = ["deviceCode", "provider"] as const;

function checkFlows<T extends BrowserFlow | DeviceFlow>(list: unknown, texts: readonly (string & keyof T)[]): T[] {
  if (!Array.isArray(list)) throw invalid("flows must be lists");
  return list.map((item: unknown) => {
    const { target, createdAtMs, expiresAtMs, ...rest } = someMembersOf("flow", item, [
      ...texts,
      "target",
      "createdAtMs",
      "expiresAtMs",
    ]);
    for (const text of Object.values(rest)) if (typeof text !== "string") throw invalid("flow is not whole");
    for (const time of [createdAtMs, expiresAtMs]) if (!Number.isSafeInteger(time)) throw invalid("flow is not whole");
    return { ...rest, target: storedTarget(target), createdAtMs, expiresAtMs } as T;
  });
}

/** A newer holdfast may have stored more members. */
function storedTarget(value: unknown): AuthTarget {
  return checkTarget("target", someMembersOf("target", value, ["realm", "binding", "profile"]), Number.POSITIVE_INFINITY);
}

function claimMismatch(flow: BrowserFlow | DeviceFlow, claim: BrowserClaim | DeviceClaim): HoldfastError | undefined {
  if (!sameTarget(flow.target, claim.target)) return flowRefusal("TargetMismatch");
  if (flow.provider !== claim.provider) return flowRefusal("ProviderMismatch");
  return undefined;
}

function countFlows({ browser, device }: Flows): number {
  return browser.length + device.length;
}

function isFull(flows: Flows): boolean {
  return countFlows(flows) >= MOST_FLOWS;
}

function full(): HoldfastError {
  return flowRefusal("CapacityExceeded", { details: { max: MOST_FLOWS } });
}

/** A target without a profile comes before all that have one. */
function partsOf(flow: BrowserFlow | DeviceFlow): readonly string[] {
  const { realm, binding, profile } = flow.target;
  return [realm, binding, profile === undefined ? "" : `=${profile}`, ...("state" in flow ? [flow.state] : [flow.deviceCode])];
}

function flowKeyOf(flow: BrowserFlow | DeviceFlow): string {
  return JSON.stringify(["state" in flow ? "browser" : "device", ...partsOf(flow)]);
}

function compare(a: readonly string[], b: readonly string[]): number {
  for (const [at, part] of a.entries()) {
    const other = b[at] as string;
    if (part !== other) return part < other ? -1 : 1;
  }
  return 0;
}
