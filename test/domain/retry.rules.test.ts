import { describe, expect, it } from "vitest";
import { NonRetryableError } from "../../src/domain/errors.js";
import { checkRetry, isRetried, pauseAfter } from "../../src/domain/retry.rules.js";

const BACKOFF = { attempts: 9, backoffMs: 1_000, factor: 4, maxBackoffMs: 60_000, jitter: 0 };

describe("the pause before the next try (A-18)", () => {
  const pauses = (more: object, roll = 0.5) => [1, 2, 3, 4, 5].map((n) => pauseAfter({ ...BACKOFF, ...more }, n, roll));

  it("grows by the factor, up to the longest", () => {
    expect(pauses({})).toEqual([1_000, 4_000, 16_000, 60_000, 60_000]);
    expect(pauses({ factor: 1 })).toEqual([1_000, 1_000, 1_000, 1_000, 1_000]);
    expect(pauses({ maxBackoffMs: 500 })).toEqual([500, 500, 500, 500, 500]);
  });

  it("is longer or shorter by up to the jitter", () => {
    expect(pauses({ jitter: 0.2 }, 0)[0]).toBe(800);
    expect(pauses({ jitter: 0.2 }, 1)[0]).toBe(1_200);
    expect(pauses({ jitter: 1 }, 0)[0]).toBe(0);
    expect(pauses({ jitter: 0.2 })[0]).toBe(1_000);
  });

  it("is a whole number whatever the policy, and whatever the number of failures", () => {
    expect(pauseAfter({ ...BACKOFF, backoffMs: 0, factor: Number.MAX_VALUE }, 1_000, 0.3)).toBe(0);
    expect(pauseAfter({ ...BACKOFF, factor: Number.MAX_VALUE }, 1_000, 0.3)).toBe(60_000);
    expect(pauseAfter(BACKOFF, 0, 0.5)).toBe(1_000);
    expect(Number.isSafeInteger(pauseAfter({ ...BACKOFF, factor: 1.3, jitter: 0.7 }, 7, 0.123))).toBe(true);
  });
});

describe("a policy (A-18)", () => {
  it("has defaults for all but the attempts", () => {
    const { retryIf, ...numbers } = checkRetry("retry", { attempts: 5 });
    expect(numbers).toEqual({ attempts: 5, backoffMs: 1_000, factor: 2, maxBackoffMs: 60_000, jitter: 0.2 });
    expect(retryIf).toBeUndefined();
    expect(checkRetry("retry", { attempts: 1_000, backoffMs: 0, maxBackoffMs: 0, jitter: 0 })).toMatchObject({ backoffMs: 0 });
  });

  it.each([
    [{}, "retry.attempts"],
    [{ attempts: 0 }, "retry.attempts"],
    [{ attempts: 1_001 }, "retry.attempts"],
    [{ attempts: 1, backoffMs: -1 }, "retry.backoffMs"],
    [{ attempts: 1, backoffMs: 365 * 86_400_000 + 1 }, "retry.backoffMs"],
    [{ attempts: 1, maxBackoffMs: Number.MAX_SAFE_INTEGER }, "retry.maxBackoffMs"],
    [{ attempts: 1, factor: 0.9 }, "retry.factor"],
    [{ attempts: 1, factor: Number.POSITIVE_INFINITY }, "retry.factor"],
    [{ attempts: 1, maxBackoffMs: 0.5 }, "retry.maxBackoffMs"],
    [{ attempts: 1, jitter: Number.NaN }, "retry.jitter"],
    [{ attempts: 1, jitter: 2 }, "retry.jitter"],
    [{ attempts: 1, retryIf: "yes" }, "retry.retryIf"],
    [undefined, "retry"],
  ])("%j is invalid and names the member", (given, field) => {
    expect(() => checkRetry("retry", given)).toThrow(expect.objectContaining({ code: "invalid" }));
    expect(() => checkRetry("retry", given)).toThrow(field);
  });

  it("says which errors are tried again", () => {
    const error = new Error("no");
    expect(isRetried({ retryIf: undefined }, error)).toBe(true);
    expect(isRetried({ retryIf: (given) => given === error }, error)).toBe(true);
    expect(isRetried({ retryIf: () => false }, error)).toBe(false);
    expect(isRetried({ retryIf: () => true }, new NonRetryableError("never"))).toBe(false);
    const broken = () => {
      throw new Error("its own");
    };
    expect(isRetried({ retryIf: broken }, error)).toBe(false);
  });
});
