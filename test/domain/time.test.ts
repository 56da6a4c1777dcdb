import { describe, expect, it } from "vitest";
import { checkLimits, checkTimings, DEFAULT_LIMITS, DEFAULT_TIMINGS, type Timings } from "../../src/domain/time.js";

describe("timings", () => {
  it("have defaults that keep their own rules", () => {
    expect(checkTimings(undefined)).toEqual(DEFAULT_TIMINGS);
    expect(checkTimings({})).toEqual(DEFAULT_TIMINGS);
    expect(checkTimings({ ...DEFAULT_TIMINGS })).toEqual(DEFAULT_TIMINGS);
    expect(DEFAULT_TIMINGS).toEqual({
      leaseTtlMs: 30_000,
      leaseRenewMs: 10_000,
      heartbeatMs: 15_000,
      livenessTtlMs: 90_000,
      heartbeatFlushMs: 60_000,
      staleAfterMs: 150_000,
      sweepMs: 30_000,
      pollMs: 5_000,
      suspendAfterMs: 60_000,
    });
  });

  it("are filled up one by one", () => {
    expect(checkTimings({ pollMs: 1, sweepMs: undefined })).toEqual({ ...DEFAULT_TIMINGS, pollMs: 1 });
  });

  it.each<[rule: string, field: keyof Timings, holds: Partial<Timings>, breaks: Partial<Timings>]>([
    [
      "2 * heartbeatMs <= livenessTtlMs",
      "heartbeatMs",
      { heartbeatMs: 45_000, heartbeatFlushMs: 1 },
      { heartbeatMs: 45_001, heartbeatFlushMs: 1 },
    ],
    ["livenessTtlMs < staleAfterMs", "livenessTtlMs", { livenessTtlMs: 149_999 }, { livenessTtlMs: 150_000 }],
    [
      "heartbeatFlushMs + heartbeatMs + sweepMs < staleAfterMs",
      "heartbeatFlushMs",
      { heartbeatFlushMs: 104_999 },
      { heartbeatFlushMs: 105_000 },
    ],
    ["heartbeatFlushMs + heartbeatMs + sweepMs < staleAfterMs", "heartbeatFlushMs", { sweepMs: 74_999 }, { sweepMs: 75_000 }],
    ["3 * leaseRenewMs <= leaseTtlMs", "leaseRenewMs", { leaseRenewMs: 10_000 }, { leaseRenewMs: 10_001 }],
    ["3 * leaseRenewMs <= leaseTtlMs", "leaseRenewMs", { leaseTtlMs: 30_000 }, { leaseTtlMs: 29_999 }],
  ])("keep the rule %s, whose break names %s and the rule (V-40, V-41, V-42, V-45)", (rule, field, holds, breaks) => {
    expect(checkTimings(holds)).toMatchObject(holds);
    expect(() => checkTimings(breaks)).toThrow(
      expect.objectContaining({ code: "invalid", message: `timings.${field} breaks the rule ${rule}`, details: { rule } }),
    );
  });

  const wholes = Object.keys(DEFAULT_TIMINGS).filter((field) => field !== "suspendAfterMs");
  it.each(wholes)("%s is a whole number from 1 up", (field) => {
    for (const value of [0, -1, 1.5, Number.NaN, "1", null, Number.MAX_SAFE_INTEGER + 1]) {
      expect(() => checkTimings({ [field]: value })).toThrow(
        expect.objectContaining({ code: "invalid", message: expect.stringContaining(`timings.${field}`) }),
      );
    }
  });

  it("suspendAfterMs is a whole number from 0 up, or Infinity (F-18)", () => {
    for (const value of [0, 1, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY])
      expect(checkTimings({ suspendAfterMs: value })).toMatchObject({ suspendAfterMs: value });
    for (const value of [-1, 1.5, Number.NaN, Number.NEGATIVE_INFINITY, "1", null])
      expect(() => checkTimings({ suspendAfterMs: value })).toThrow(
        expect.objectContaining({ code: "invalid", message: expect.stringContaining("timings.suspendAfterMs") }),
      );
  });

  it("that are not known are refused by name", () => {
    expect(() => checkTimings({ leaseTtl: 1 })).toThrow(
      expect.objectContaining({ code: "invalid", message: expect.stringContaining("timings.leaseTtl is not known") }),
    );
    expect(() => checkTimings({ toString: 1 })).toThrow(expect.objectContaining({ code: "invalid" }));
    for (const wrong of [null, 1, [], "x"])
      expect(() => checkTimings(wrong)).toThrow(expect.objectContaining({ code: "invalid" }));
  });
});

describe("limits", () => {
  it("have their defaults", () => {
    expect(checkLimits(undefined)).toEqual(DEFAULT_LIMITS);
    expect(DEFAULT_LIMITS).toEqual({
      idLength: 512,
      payloadBytes: 1_048_576,
      snapshotBytes: 67_108_864,
      eventTypes: 64,
      schemaBytes: 65_536,
      depth: 64,
    });
    expect(checkLimits({ depth: 3 })).toEqual({ ...DEFAULT_LIMITS, depth: 3 });
  });

  it.each(Object.keys(DEFAULT_LIMITS))("%s is a whole number from 1 up", (field) => {
    for (const value of [0, 1.5, "1"]) {
      expect(() => checkLimits({ [field]: value })).toThrow(
        expect.objectContaining({ code: "invalid", message: expect.stringContaining(`limits.${field}`) }),
      );
    }
  });

  it("that are handed out are the caller's own", () => {
    checkLimits(undefined).depth = 1;
    checkTimings(undefined).pollMs = 1;
    expect(checkLimits(undefined).depth).toBe(64);
    expect(checkTimings(undefined).pollMs).toBe(5_000);
  });
});
