import { describe, expect, it } from "vitest";
import {
  checkBytes,
  checkFlag,
  checkFunction,
  checkId,
  checkList,
  checkOneOf,
  checkSignal,
  checkText,
  checkWhole,
  membersOf,
  optionsOf,
  someMembersOf,
  type Whole,
} from "../../src/domain/check.js";
import { checkLease } from "../../src/domain/lease.js";
import { checkScope, scopeId } from "../../src/domain/scope.js";

const refused = (message: string) => expect.objectContaining({ code: "invalid", message: expect.stringContaining(message) });
const trap = () => {
  throw new Error("trapped");
};
const hostile = new Proxy({}, { get: trap, ownKeys: trap, getPrototypeOf: trap, has: trap });

it("bytes that are too many are not copied first, whatever length they say to have", () => {
  const bytes = Object.defineProperty(new Uint8Array(9), "byteLength", { value: 1 });
  expect(() => checkBytes("b", bytes, 8)).toThrow(refused("b must be at most 8 bytes long"));
});

describe("an id", () => {
  it.each(["a", "x".repeat(8), " a ", "ä/😀"])("may be %j", (value) => {
    expect(checkId("id", value, 8)).toBe(value);
  });

  it.each<[unknown, string]>([
    ["", "id must be a non-empty string"],
    [" \t\n", "id must be a non-empty string"],
    [undefined, "id must be a non-empty string"],
    [7, "id must be a non-empty string"],
    [Object("boxed"), "id must be a non-empty string"],
    ["x".repeat(9), "id must be at most 8 characters long"],
    [`${"😀".repeat(4)}x`, "id must be at most 8 characters long"],
    ["a\ud800", "id must not contain a lone surrogate"],
  ])("%j is refused", (value, message) => {
    expect(() => checkId("id", value, 8)).toThrow(refused(message));
  });
});

describe("a flag", () => {
  it("is true or false and nothing else", () => {
    expect([checkFlag("on", true), checkFlag("on", false)]).toEqual([true, false]);
    for (const value of [undefined, null, 0, "true", new Boolean(true), hostile])
      expect(() => checkFlag("on", value)).toThrow(refused("on must be a boolean"));
  });
});

describe("bytes", () => {
  it("are copied, as many as there may be", () => {
    const given = new Uint8Array([1, 2, 3]);
    const bytes = checkBytes("data", given, 3);
    given.fill(0);
    expect(bytes).toEqual(new Uint8Array([1, 2, 3]));
    expect(() => checkBytes("data", given, 2)).toThrow(refused("data must be at most 2 bytes long"));
    expect(checkBytes("data", new Uint8Array(), 0)).toEqual(new Uint8Array());
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a list", [1]],
    ["a view of other numbers", new Uint8ClampedArray(1)],
    ["a view under another name", Object.defineProperty(new Int8Array(1), Symbol.toStringTag, { value: "Uint8Array" })],
    ["a Proxy of bytes", new Proxy(new Uint8Array(1), {})],
    ["a Proxy that throws", hostile],
  ])("are not %s", (_, value) => {
    expect(() => checkBytes("data", value, 9)).toThrow(refused("data must be a Uint8Array"));
  });

  it("whose memory is elsewhere by now are refused", () => {
    const moved = new Uint8Array(2);
    structuredClone(moved, { transfer: [moved.buffer] });
    expect(() => checkBytes("data", moved, 9)).toThrow(refused("data could not be read"));
  });
});

describe("a text", () => {
  it.each(["", "  ", "a", "x".repeat(8)])("may be %j", (value) => {
    expect(checkText("note", value, 8)).toBe(value);
  });

  it.each<[unknown, string]>([
    [undefined, "note must be a string"],
    [null, "note must be a string"],
    ["x".repeat(9), "note must be at most 8 characters long"],
    [" ".repeat(9), "note must be at most 8 characters long"],
    ["\ud800", "note must not contain a lone surrogate"],
  ])("%j is refused", (value, message) => {
    expect(() => checkText("note", value, 8)).toThrow(refused(message));
  });
});

describe("a whole number", () => {
  it.each([1, 5, 10])("may be %d", (value) => {
    expect(checkWhole("n", value, 1, 10)).toBe(value);
  });

  it("is 0 and never -0", () => {
    expect(Object.is(checkWhole("n", -0, 0), 0)).toBe(true);
  });

  it.each([0, 11, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "1", null, undefined, 1n, Object(1)])(
    "%s is refused with the range",
    (value) => {
      expect(() => checkWhole("n", value, 1, 10)).toThrow(refused("n must be a whole number from 1 to 10"));
    },
  );

  it("is a safe one", () => {
    expect(checkWhole("n", Number.MAX_SAFE_INTEGER, 0)).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => checkWhole("n", Number.MAX_SAFE_INTEGER + 1, 0)).toThrow(refused("n must be a whole number from 0 up"));
  });
});

describe("other arguments", () => {
  it("one of a few is exactly one of them", () => {
    expect(checkOneOf("state", "b", ["a", "b"])).toBe("b");
    for (const value of ["c", "A", undefined, ["a"], 0])
      expect(() => checkOneOf("state", value, ["a", "b"])).toThrow(refused("state must be one of a, b"));
  });

  it("a function is one", () => {
    expect(() => checkFunction("run", {} as never)).toThrow(refused("run must be a function"));
  });

  it("a signal is one, or there is none", () => {
    const { signal } = new AbortController();
    expect(checkSignal("signal", signal)).toBe(signal);
    expect(checkSignal("signal", undefined)).toBeUndefined();
    for (const value of [null, {}, "abort", true, new AbortController()])
      expect(() => checkSignal("signal", value)).toThrow(refused("signal must be an AbortSignal"));
    expect(() => checkSignal("signal", hostile)).toThrow(refused("signal could not be read"));
  });

  it("members are read once each, and the object must be one", () => {
    let asked = 0;
    const value = {
      get a() {
        return ++asked;
      },
    };
    expect(membersOf("options", value, ["a", "b"])).toEqual({ a: 1, b: undefined });
    for (const wrong of [null, undefined, 1, "text", [], () => 1])
      expect(() => membersOf("options", wrong, ["a"])).toThrow(refused("options must be an object"));
    expect(() => membersOf("options", hostile, ["a"])).toThrow(refused("options could not be read"));
  });

  it("members that are not known are refused, with the nearest known one (A-5)", () => {
    const names = ["handlers", "signal", "timings", "name", "after"] as const;
    const options = (value: object) => () => optionsOf("open", value, names);
    const nearest: [wrong: string, right: string | undefined][] = [
      ["handler", "handlers"],
      ["sginal", "signal"],
      ["timing", "timings"],
      ["nam", "name"],
      ["afters", "after"],
      ["nope", undefined],
      ["extra", undefined],
      ["x", undefined],
      ["__proto__", undefined],
      ["toString", undefined],
      ["s".repeat(1_000_000), undefined],
    ];
    for (const [wrong, right] of nearest) {
      const value = Object.defineProperty({}, wrong, { value: 1, enumerable: true });
      const end = right === undefined ? `; known are ${names.join(", ")}` : `; did you mean ${right}?`;
      expect(options(value)).toThrow(expect.objectContaining({ code: "invalid", message: expect.stringContaining(end) }));
    }
    expect(options({ handler: {} })).toThrow(refused("handler is no option of open; did you mean handlers?"));
    expect(() => membersOf("request.grant", { scop: 1 }, ["scope"])).toThrow(refused("request.grant.scop is not known; did"));
  });

  it("members that are undefined, inherited, hidden or symbols are no unknown ones (A-5)", () => {
    const value = Object.assign(Object.create({ inherited: 1 }), { a: 1, more: undefined, [Symbol("s")]: 1 });
    Object.defineProperty(value, "hidden", { value: 1, enumerable: false });
    expect(membersOf("options", value, ["a"])).toEqual({ a: 1 });
    expect(someMembersOf("options", { a: 1, more: 2 }, ["a"])).toEqual({ a: 1 });
  });

  it("bytes are no object of members: their names are not listed", () => {
    expect(() => membersOf("options", new Uint8Array(50_000_000), ["a"])).toThrow(refused("options must be an object"));
  });

  it("a list is an array of at most so many", () => {
    expect(checkList("ids", [1, 2], 2)).toEqual([1, 2]);
    expect(checkList("ids", new Array(2), 2)).toEqual([undefined, undefined]);
    for (const wrong of [undefined, "ab", { length: 1 }, new Set(), [1, 2, 3]])
      expect(() => checkList("ids", wrong, 2)).toThrow(refused("ids must be an array of at most 2 items"));
    expect(() => checkList("ids", new Proxy([], { get: trap }), 2)).toThrow(refused("ids could not be read"));
  });
});

describe("a scope", () => {
  it.each([
    [{ sessionId: "s" }, "session:s"],
    [{ sessionId: "s", agentFrameId: undefined }, "session:s"],
    [{ sessionId: "s", agentFrameId: "" }, "session:s"],
    [{ sessionId: "s", agentFrameId: "f" }, "session:s/frame:f"],
    [{ sessionId: "s", agentFrameId: "a/frame:b" }, "session:s/frame:a/frame:b"],
  ])("%j has the id %s", (scope, id) => {
    expect(scopeId(checkScope("scope", scope, 16))).toBe(id);
  });

  it.each([
    [{ sessionId: "" }, "must include a session id"],
    [{ sessionId: "s/frame:f" }, 'scope.sessionId must not contain "/frame:"'],
    [{ sessionId: "s", agentFrameId: " " }, "scope.agentFrameId must be a non-empty string"],
    [{ sessionId: "s", agentFrameId: 1 }, "scope.agentFrameId must be a non-empty string"],
    [{ sessionId: "s".repeat(17) }, "scope.sessionId must be at most 16"],
    [null, "scope must be an object"],
  ])("%j is refused", (scope, message) => {
    expect(() => checkScope("scope", scope, 16)).toThrow(refused(message));
  });
});

describe("a presented lease", () => {
  const lease = {
    schemaVersion: 1,
    processId: "p",
    ownerId: "o",
    leaseToken: "t",
    fencingToken: 1,
    claimedAtMs: -1,
    expiresAtMs: 2,
  };

  it("is copied with its known members", () => {
    expect(checkLease("lease", { ...lease, more: 1 }, 16)).toEqual(lease);
  });

  it.each<[string, unknown]>([
    ["schemaVersion", 2],
    ["processId", ""],
    ["ownerId", undefined],
    ["leaseToken", "x".repeat(65)],
    ["fencingToken", 0],
    ["fencingToken", "1"],
    ["claimedAtMs", Number.NaN],
    ["expiresAtMs", 0.5],
  ])("with another %s is refused by that name", (field, value) => {
    expect(() => checkLease("lease", { ...lease, [field]: value }, 16)).toThrow(refused(`lease.${field}`));
  });
});

describe("a list of all members of a union", () => {
  it("compiles as long as it names each of them, and no others", () => {
    const whole = ["b", "a"] as const;
    const short = ["a"] as const;
    const long = ["a", "b", "c"] as const;
    expect([
      whole satisfies Whole<"a" | "b", typeof whole>,
      // @ts-expect-error one is left out
      short satisfies Whole<"a" | "b", typeof short>,
      // @ts-expect-error one is too many
      long satisfies Whole<"a" | "b", typeof long>,
    ]).toEqual([whole, short, long]);
  });
});
