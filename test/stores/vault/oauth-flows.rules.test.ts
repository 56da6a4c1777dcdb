import { describe, expect, it } from "vitest";
import {
  admitBrowser,
  admitDevice,
  type BrowserFlow,
  consumeBrowser,
  consumeDevice,
  type DeviceFlow,
  decodeFlows,
  deviceExpiry,
  encodeFlows,
  type Flows,
  type FlowVerdict,
  flowRefusal,
  keysOfTarget,
  MOST_FLOWS,
  releaseFlows,
  verifyBrowser,
  verifyDevice,
} from "../../../src/stores/vault/oauth-flows.rules.js";

const T = 1_000_000;
const target = { realm: "r", binding: "b" };
const profiled = { ...target, profile: "p" };
const browser = (more: Partial<BrowserFlow> = {}): BrowserFlow => ({
  state: "st-1",
  target,
  provider: "google",
  redirectUri: "https://app/back",
  pkceVerifier: "verifier",
  createdAtMs: T - 1_000,
  expiresAtMs: T + 1_000,
  ...more,
});
const device = (more: Partial<DeviceFlow> = {}): DeviceFlow => ({
  target,
  provider: "google",
  deviceCode: "code",
  createdAtMs: T - 1_000,
  expiresAtMs: T + 1_000,
  ...more,
});
const flows = (...all: (BrowserFlow | DeviceFlow)[]): Flows => ({
  browser: all.filter((flow): flow is BrowserFlow => "state" in flow),
  device: all.filter((flow): flow is DeviceFlow => "deviceCode" in flow),
});
const reasonOf = (verdict: FlowVerdict<unknown>) =>
  "refusal" in verdict ? (verdict.refusal.details as { reason: string }).reason : "none";
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("a refusal", () => {
  it.each([
    ["Missing", "not-found"],
    ["TargetMismatch", "conflict"],
    ["ProviderMismatch", "conflict"],
    ["RedirectUriMismatch", "conflict"],
    ["StateGenerationFailed", "internal"],
    ["CapacityExceeded", "conflict"],
    ["DevicePollInProgress", "conflict"],
    ["DeviceCodeAlreadyAdmitted", "conflict"],
    ["DeviceExpiryOutOfRange", "invalid"],
    ["LifecycleRejected", "conflict"],
  ] as const)("%s is %s (R-169)", (reason, code) => {
    expect(flowRefusal(reason)).toMatchObject({ code, details: { reason } });
  });
});

describe("a flow counts", () => {
  it.each([
    ["before its expiry", T - 1, "none", 1],
    ["not at its expiry", T, "Missing", 0],
    ["not after it", T + 1, "Missing", 0],
  ])("%s, and is dropped when it does not (R-165, R-166)", (_, nowMs, reason, left) => {
    const stored = flows(browser({ expiresAtMs: T }), device({ expiresAtMs: T }));
    for (const verdict of [verifyBrowser(stored, browser(), nowMs), verifyDevice(stored, device(), nowMs)]) {
      expect(reasonOf(verdict)).toBe(reason);
      expect([verdict.flows.browser.length, verdict.flows.device.length]).toEqual([left, left]);
    }
  });

  it("by itself: of the other kind none goes with it", () => {
    const old = { expiresAtMs: T };
    expect(verifyBrowser(flows(browser(), device(old)), browser(), T).flows).toEqual(flows(browser()));
    expect(verifyBrowser(flows(browser(old), device()), browser(), T).flows).toEqual(flows(device()));
    const later = device({ deviceCode: "later" });
    expect(verifyDevice(flows(device(old), later), later, T)).toEqual({ flows: flows(later), reply: later });
  });

  it("and a set in which nothing changed is the given one itself", () => {
    const stored = flows(browser(), device());
    expect(verifyBrowser(stored, browser(), T).flows).toBe(stored);
    expect(verifyDevice(stored, device({ provider: "other" }), T).flows).toBe(stored);
    expect(releaseFlows(stored, new Set(), T).flows).toBe(stored);
  });
});

describe("a claim on a browser flow", () => {
  const stored = flows(browser());
  it.each([
    ["all as it was begun", {}, "none"],
    ["another state", { state: "st-2" }, "Missing"],
    ["another realm", { target: { ...target, realm: "x" } }, "TargetMismatch"],
    ["another binding", { target: { ...target, binding: "x" } }, "TargetMismatch"],
    ["a profile", { target: profiled }, "TargetMismatch"],
    ["another provider", { provider: "x" }, "ProviderMismatch"],
    ["another redirect URI", { redirectUri: "x" }, "RedirectUriMismatch"],
    ["target before provider", { target: profiled, provider: "x", redirectUri: "x" }, "TargetMismatch"],
    ["provider before redirect URI", { provider: "x", redirectUri: "x" }, "ProviderMismatch"],
  ])("with %s (R-162)", (_, more, reason) => {
    const claim = { ...browser(), ...more };
    const [verified, consumed] = [verifyBrowser(stored, claim, T), consumeBrowser(stored, claim, T)];
    expect([reasonOf(verified), reasonOf(consumed)]).toEqual([reason, reason]);
    expect(verified.flows).toEqual(stored);
    expect(consumed.flows.browser.length).toBe(reason === "none" ? 0 : 1);
  });

  it("consumes that one flow and hands it over, once (R-163)", () => {
    const other = browser({ state: "st-2" });
    const first = consumeBrowser(flows(browser(), other), browser(), T);
    expect(first).toEqual({ flows: flows(other), reply: browser() });
    expect(reasonOf(consumeBrowser(first.flows, browser(), T))).toBe("Missing");
  });
});

describe("a claim on a device flow", () => {
  const stored = flows(device());
  it.each([
    ["all as it was admitted", {}, "none"],
    ["another code", { deviceCode: "x" }, "Missing"],
    ["another target", { target: profiled, provider: "x" }, "TargetMismatch"],
    ["another provider", { provider: "x" }, "ProviderMismatch"],
  ])("with %s (R-168, R-169)", (_, more, reason) => {
    const claim = { ...device(), ...more };
    expect([reasonOf(verifyDevice(stored, claim, T)), reasonOf(consumeDevice(stored, claim, T))]).toEqual([reason, reason]);
    expect(consumeDevice(stored, claim, T).flows.device.length).toBe(reason === "none" ? 0 : 1);
  });

  it("consumes that one flow and hands it over, once (R-168)", () => {
    const other = device({ deviceCode: "other" });
    const first = consumeDevice(flows(device(), other, browser()), device(), T);
    expect(first).toEqual({ flows: flows(other, browser()), reply: device() });
    expect(reasonOf(consumeDevice(first.flows, device(), T))).toBe("Missing");
  });
});

describe("an admission", () => {
  const many = (count: number, expiresAtMs: number) =>
    Array.from({ length: count }, (_, at) =>
      at % 2 ? browser({ state: `s${at}`, expiresAtMs }) : device({ deviceCode: `d${at}`, expiresAtMs }),
    );

  it.each([
    ["one below the limit", MOST_FLOWS - 1, 0, "none"],
    ["the limit, browser and device together", MOST_FLOWS, 0, "CapacityExceeded"],
    ["more than the limit, but for expired ones", MOST_FLOWS - 1, 500, "none"],
  ])("with %s of flows (R-161, R-165, R-170)", (_, count, expired, reason) => {
    const stored = flows(...many(count, T + 1), ...many(expired, T));
    const made = browser({ state: "new" });
    expect(reasonOf(admitBrowser(stored, made, T))).toBe(reason);
    const verdict = admitDevice(stored, device({ deviceCode: "new" }), T);
    expect(reasonOf(verdict)).toBe(reason);
    expect(verdict.flows.browser.length + verdict.flows.device.length).toBe(reason === "none" ? count + 1 : count);
    if ("refusal" in verdict) expect(verdict.refusal.details).toEqual({ reason, max: 1024 });
  });

  it("stores the flow behind those that are there (R-161)", () => {
    const [first, second] = [browser({ state: "new" }), device({ deviceCode: "new" })];
    const stored = flows(browser(), device());
    expect(admitBrowser(stored, first, T)).toEqual({ flows: flows(browser(), first, device()), reply: undefined });
    expect(admitDevice(stored, second, T)).toEqual({ flows: flows(browser(), device(), second), reply: undefined });
  });

  it("of a state that is in use is refused and leaves the flow alone (R-161)", () => {
    const stored = flows(browser({ state: "st-2" }), browser());
    const verdict = admitBrowser(stored, browser({ pkceVerifier: "other" }), T);
    expect([reasonOf(verdict), verdict.flows]).toEqual(["StateGenerationFailed", stored]);
  });

  it("of a device code that is under way is refused and leaves the flow alone, but not when it has expired (R-167)", () => {
    const verdict = admitDevice(flows(device()), device({ target: profiled }), T);
    expect([reasonOf(verdict), verdict.flows]).toEqual(["DeviceCodeAlreadyAdmitted", flows(device())]);
    const later = device({ expiresAtMs: T + 9_000 });
    expect(admitDevice(flows(device()), later, T + 1_000)).toEqual({ flows: flows(later), reply: undefined });
  });

  it.each([0, 1, 600_000, Number.MAX_SAFE_INTEGER - T])("may expire in %s ms (R-167)", (ms) => {
    expect(deviceExpiry(ms, T)).toBe(T + ms);
  });

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER - T + 1, 2 ** 53, "60", undefined, null, 1n])(
    "may not expire in %s ms (R-167)",
    (ms) => {
      expect(() => deviceExpiry(ms, T)).toThrow(
        expect.objectContaining({ code: "invalid", details: { reason: "DeviceExpiryOutOfRange" } }),
      );
    },
  );
});

describe("a release", () => {
  const mine = [browser(), browser({ state: "st-2" }), device()];
  const others = [
    browser({ state: "st-3", target: profiled }),
    browser({ state: "st-4", target: { realm: "r", binding: "c" } }),
    device({ deviceCode: "c-2", target: { realm: "q", binding: "b" } }),
  ];

  it("removes exactly the target's flows and counts them (R-172)", () => {
    const stored = flows(...mine, ...others, browser({ state: "old", expiresAtMs: T }));
    const keys = keysOfTarget(stored, target, T);
    expect(releaseFlows(stored, keys, T)).toEqual({ flows: flows(...others), reply: 3 });
    expect(releaseFlows(flows(...others), keys, T)).toMatchObject({ reply: 0 });
  });

  it("spares what was admitted after it, and counts not what went before (R-172)", () => {
    const keys = keysOfTarget(flows(...mine), target, T);
    const late = browser({ state: "late" });
    expect(releaseFlows(flows(browser(), late), keys, T)).toEqual({ flows: flows(late), reply: 1 });
  });

  it("does not take a device code for a state of the same text (R-172)", () => {
    const keys = keysOfTarget(flows(browser({ state: "same" })), target, T);
    expect(releaseFlows(flows(device({ deviceCode: "same" })), keys, T)).toMatchObject({ reply: 0 });
  });
});

describe("the stored bytes", () => {
  const all = [
    browser({ target: { ...profiled } }),
    browser({ state: "st-0", target: profiled }),
    browser({ state: "st-9" }),
    browser({ state: "st-2", target: { realm: "a", binding: "z" } }),
    device({ deviceCode: "2" }),
    device({ deviceCode: "10" }),
    device({ deviceCode: "1", target: { realm: "\u{1f600}", binding: "b" } }),
    device({ deviceCode: "1", target: { realm: "\uffff", binding: "b" } }),
  ];

  it("are equal for equal sets, whatever their order (R-170)", () => {
    const shuffled = [...all].reverse().map((flow) => Object.fromEntries(Object.entries(flow).reverse()) as never);
    expect(text(encodeFlows(flows(...shuffled)))).toBe(text(encodeFlows(flows(...all))));
  });

  it("are sorted by realm, binding, profile and state or code, by code unit; no profile comes first (R-170)", () => {
    const { browser: browsers, device: devices } = JSON.parse(text(encodeFlows(flows(...all)))) as Flows;
    expect(browsers.map(({ state }) => state)).toEqual(["st-2", "st-9", "st-0", "st-1"]);
    expect(devices.map(({ deviceCode, target: { realm } }) => [realm, deviceCode])).toEqual([
      ["r", "10"],
      ["r", "2"],
      ["\u{1f600}", "1"],
      ["\uffff", "1"],
    ]);
  });

  it("are sorted by profile before state (R-170)", () => {
    const profiles = ["q", "p", undefined].map((profile, at) =>
      browser({ state: `${at}`, target: { ...target, ...(profile !== undefined && { profile }) } }),
    );
    const { browser: browsers } = JSON.parse(text(encodeFlows(flows(...profiles)))) as Flows;
    expect(browsers.map(({ state }) => state)).toEqual(["2", "1", "0"]);
  });

  it("are read also where a newer holdfast has added members (A-5)", () => {
    const stored = { browser: [{ ...browser({ target: { ...target, newer: 1 } as never }), newer: 1 }], device: [], newer: [] };
    expect(decodeFlows(new TextEncoder().encode(JSON.stringify(stored)))).toEqual(flows(browser()));
  });

  it("decode to what they were made of", () => {
    const again = decodeFlows(encodeFlows(flows(...all))) as Flows;
    expect(text(encodeFlows(again))).toBe(text(encodeFlows(flows(...all))));
    expect(again.browser.find(({ state }) => state === "st-9")).toEqual(browser({ state: "st-9" }));
  });

  it.each([
    ["nothing", undefined],
    ["an empty object", "{}"],
    ["one list", '{"browser":[]}'],
    ["members of another program", '{"device":[],"more":1}'],
  ])("may be %s: no flows", (_, json) => {
    expect(decodeFlows(json === undefined ? undefined : new TextEncoder().encode(json))).toEqual(flows());
  });

  const broken = (flow: object) => JSON.stringify({ browser: [flow] });
  it.each([
    ["no text", Uint8Array.of(0xff, 0xfe)],
    ["no UTF-8 within a text", Uint8Array.of(...new TextEncoder().encode('{"more":"'), 0xff, 0x22, 0x7d)],
    ["empty", ""],
    ["no JSON", "{browser"],
    ["a list", "[]"],
    ["null", "null"],
    ["a list that is none", '{"browser":{}}'],
    ["a flow that is none", '{"browser":[null]}'],
    ["a state that is no text", broken(browser({ state: 1 as never }))],
    ["no verifier", broken(browser({ pkceVerifier: undefined as never }))],
    ["no target", broken(browser({ target: undefined as never }))],
    ["a target without a realm", broken(browser({ target: { binding: "b" } as never }))],
    ["an expiry that is no number", broken(browser({ expiresAtMs: "soon" as never }))],
    ["a beginning that is no number", broken(browser({ createdAtMs: "then" as never }))],
    ["an expiry within a millisecond", broken(browser({ expiresAtMs: 1.5 }))],
    ["a list of device flows that is none", '{"device":{}}'],
    ["a device flow without a provider", JSON.stringify({ device: [device({ provider: undefined as never })] })],
    ["a device flow without a code", JSON.stringify({ device: [{ ...device(), deviceCode: null }] })],
  ])("that are broken are found out: %s (R-171)", (_, bytes) => {
    expect(decodeFlows(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes)).toBeUndefined();
  });
});
