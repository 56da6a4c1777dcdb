import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../src/domain/error-codes.js";
import {
  asHoldfastError,
  type ErrorCode,
  HoldfastError,
  isHoldfastError,
  isNonRetryable,
  NonRetryableError,
} from "../../src/domain/errors.js";

const codes = Object.keys(ERROR_CODES).sort();

describe("the table of errors", () => {
  it("has every code of the contract", () => {
    expect(codes).toEqual(
      [
        "invalid",
        "not-found",
        "conflict",
        "terminal",
        "lease-held",
        "lease-lost",
        "write-failed",
        "read-failed",
        "session-key-mismatch",
        "unsupported",
        "internal",
        "quota-exceeded",
        "unavailable",
        "version",
        "not-ready",
        "aborted",
        "closed",
        "failed",
        "cancelled",
        "timeout",
        "suspended",
      ].sort(),
    );
  });

  it("has a heading per code in docs/errors.md, and no heading without a code", () => {
    const text = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
    const headings = [...text.matchAll(/^## `([^`]+)`\s*$/gm)].map(([, code]) => code as string);
    expect([...headings].sort()).toEqual(codes);
  });

  it.each(codes)("says of %s what it means and what to do", (code) => {
    const { meaning, todo, retriable } = ERROR_CODES[code as ErrorCode];
    expect(meaning).toMatch(/^\S.*\.$/s);
    expect(todo).toMatch(/^[A-Z].*\.$/s);
    expect(new HoldfastError(code as ErrorCode, "x").retriable).toBe(retriable);
  });
});

describe("a HoldfastError", () => {
  it("is an Error with a name, a code, a message, details and a cause", () => {
    const cause = new Error("why");
    const error = new HoldfastError("conflict", "two of them", { details: { id: "p" }, cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "HoldfastError", code: "conflict", message: "two of them", details: { id: "p" }, cause });
    expect(String(error)).toBe("HoldfastError: two of them");
    expect(error.stack).toContain("errors.test");
  });

  it("keeps the ends of a long message, no half of a character, and its details whole: they are for programs", () => {
    const long = `begin${"😀".repeat(100_000)}end`;
    const error = new HoldfastError("conflict", `process "${long}" is taken`, { details: { id: long } });
    expect(error.message.length).toBeLessThan(800);
    expect(error.message).toMatch(/begin.* \.\.\. .*end" is taken$/u);
    expect(error.message).not.toMatch(/\p{Surrogate}/u);
    expect(error.details).toEqual({ id: long });
    const whole = `process "${"x".repeat(512)}" is already terminal: completed`;
    expect(new HoldfastError("terminal", whole).message).toBe(whole);
  });

  it("has no details and no cause where there are none", () => {
    const error = new HoldfastError("closed", "m");
    expect(error.details).toBeUndefined();
    expect("cause" in error).toBe(false);
  });

  it("shows nothing of its brand", () => {
    expect(JSON.stringify(new HoldfastError("closed", "m"))).not.toContain("holdfast.error");
    expect(Object.getOwnPropertySymbols({ ...new HoldfastError("closed", "m") })).toEqual([]);
  });
});

describe("isHoldfastError", () => {
  it("knows one of its own", () => {
    expect(isHoldfastError(new HoldfastError("closed", "m"))).toBe(true);
    expect(isHoldfastError(new (class extends HoldfastError {})("closed", "m"))).toBe(true);
  });

  it("knows one of another realm", () => {
    const foreign = runInNewContext(`
      class HoldfastError extends Error {
        name = "HoldfastError";
        code = "closed";
        constructor(message) { super(message); Object.defineProperty(this, Symbol.for("holdfast.error"), { value: true }); }
      }
      new HoldfastError("from elsewhere");`);
    expect(foreign instanceof Error).toBe(false);
    expect(isHoldfastError(foreign)).toBe(true);
    expect(asHoldfastError(foreign, "internal", "m")).toBe(foreign);
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["a string", "HoldfastError"],
    ["a plain error", new Error("m")],
    ["a lookalike", { name: "HoldfastError", code: "closed", message: "m" }],
    ["a function", () => 1],
  ])("does not take %s for one", (_, value) => {
    expect(isHoldfastError(value)).toBe(false);
  });

  it("never throws, whatever it is asked about", () => {
    const trap = () => {
      throw new Error("trapped");
    };
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    expect(isHoldfastError(new Proxy({}, { get: trap, has: trap, getPrototypeOf: trap }))).toBe(false);
    expect(isHoldfastError(revoked.proxy)).toBe(false);
  });
});

describe("a NonRetryableError", () => {
  it("is an Error that is known by its brand, also under another name or from another realm", () => {
    class NoSuchModel extends NonRetryableError {
      override readonly name = "NoSuchModel";
    }
    const cause = new Error("why");
    expect(new NonRetryableError("no", { cause })).toMatchObject({ name: "NonRetryableError", message: "no", cause });
    expect(new NonRetryableError()).toBeInstanceOf(Error);
    expect(isNonRetryable(new NoSuchModel("no"))).toBe(true);
    expect(
      isNonRetryable(runInNewContext(`Object.assign(new Error("no"), { [Symbol.for("holdfast.non-retryable")]: true })`)),
    ).toBe(true);
    expect(isNonRetryable(new Error("no"))).toBe(false);
    expect(isNonRetryable(undefined)).toBe(false);
  });
});

describe("asHoldfastError", () => {
  it("lets one of its own pass unchanged", () => {
    const error = new HoldfastError("closed", "m");
    expect(asHoldfastError(error, "internal", "x")).toBe(error);
  });

  it.each<[string, unknown, string]>([
    ["an error", new TypeError("bad"), "it failed: bad"],
    ["a string", "bad", "it failed: bad"],
    ["undefined", undefined, "it failed: undefined"],
    ["a symbol", Symbol("s"), "it failed: Symbol(s)"],
    ["an object without a prototype", Object.create(null), "it failed: a value that has no text"],
  ])("takes in %s as its cause", (_, thrown, message) => {
    const error = asHoldfastError(thrown, "write-failed", "it failed");
    expect(error).toMatchObject({ code: "write-failed", message });
    expect(error.cause).toBe(thrown);
  });
});
