import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { admitJson, type JsonLimits } from "../../src/domain/admit.js";
import { canonicalText, isWellFormed, type JsonValue, jsonBytes, textOfJson } from "../../src/domain/json.js";

const LIMITS: JsonLimits = { maxBytes: 1_000, maxDepth: 4 };
const admit = (value: unknown, limits: Partial<JsonLimits> = {}) => admitJson(value, "payload", { ...LIMITS, ...limits });

describe("what is JSON", () => {
  it.each<[string, unknown]>([
    ["null", null],
    ["booleans", [true, false]],
    ["numbers", [0, -1.5, 1e308, Number.MIN_VALUE, Number.MAX_SAFE_INTEGER]],
    ["strings", ["", "ä", "😀", "\u0000", "\u2028", "\uffff"]],
    ["plain objects and arrays", { a: [{ b: {} }], "": 1, constructor: 2, toString: 3 }],
    ["an object without a prototype", Object.assign(Object.create(null), { a: 1 })],
  ])("%s", (_, value) => {
    expect(admit(value)).toEqual(value === null ? null : JSON.parse(JSON.stringify(value)));
  });

  it("objects and arrays of another realm", () => {
    expect(admit(runInNewContext("({ a: [1, { b: null }] })"))).toEqual({ a: [1, { b: null }] });
  });

  it("-0 as 0, also inside", () => {
    expect(Object.is(admit(-0), 0)).toBe(true);
    expect(Object.is((admit([-0]) as number[])[0], 0)).toBe(true);
  });

  it("members that are own and enumerable, and no others", () => {
    const value = Object.defineProperty({ a: 1 }, "hidden", { value: () => 1, enumerable: false });
    expect(admit(value)).toEqual({ a: 1 });
  });

  it("a copy that nothing outside can change", () => {
    const value = { a: [1] };
    const admitted = admit(value) as { a: number[] };
    value.a.push(2);
    expect(admitted).toEqual({ a: [1] });
  });

  it("what a getter said the one time it was asked", () => {
    let asked = 0;
    const value = {
      get a() {
        return ++asked === 1 ? "first" : () => "second";
      },
    };
    expect(admit(value)).toEqual({ a: "first" });
    expect(asked).toBe(1);
  });

  it("one object in several places, as a copy for each", () => {
    const shared = { x: 1 };
    const admitted = admit([shared, shared]) as object[];
    expect(admitted).toEqual([{ x: 1 }, { x: 1 }]);
    expect(admitted[0]).not.toBe(admitted[1]);
  });
});

describe("what is no JSON is invalid, and its path is named", () => {
  class Point {
    x = 1;
  }
  class List extends Array {}
  const circle: { a: unknown } = { a: null };
  circle.a = [circle];
  const proto = JSON.parse('{"a":{"__proto__":1}}');
  const throwing = {
    get b() {
      throw new Error("no");
    },
  };
  const trap = () => {
    throw new Error("trapped");
  };
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const named = Object.assign([1], { extra: 1 });
  const holed = [1];
  holed[2] = 3;
  const shifting = Object.assign([1, 2], { extra: 1 });
  delete shifting[0];

  it.each<[string, unknown, string]>([
    ["undefined", undefined, "payload is undefined"],
    ["undefined in an array", { a: [{ b: [undefined] }] }, "payload/a/0/b/0 is undefined"],
    ["NaN", { a: Number.NaN }, "payload/a is NaN"],
    ["infinity", [Number.POSITIVE_INFINITY], "payload/0 is Infinity"],
    ["minus infinity", Number.NEGATIVE_INFINITY, "payload is -Infinity"],
    ["a function", { f() {} }, "payload/f is a function"],
    ["a symbol", { s: Symbol("s") }, "payload/s is a symbol"],
    ["a bigint", [0, 1n], "payload/1 is a bigint"],
    ["a high surrogate alone", { a: "x\ud800" }, "payload/a has a lone surrogate"],
    ["a low surrogate alone", ["\udc00x"], "payload/0 has a lone surrogate"],
    ["surrogates the wrong way round", "\udc00\ud800", "payload has a lone surrogate"],
    ["a key with a lone surrogate", { a: { "\ud800": 1 } }, "payload/a has a key with a lone surrogate"],
    ["a symbol as a key", { a: { [Symbol("s")]: 1 } }, "payload/a has a symbol as a key"],
    ["an instance of a class", { p: new Point() }, "payload/p is a Point"],
    ["a Date", new Date(0), "payload is a Date; a JSON value is expected"],
    ["a Map", new Map(), "payload is a Map"],
    ["a boxed string", Object("text"), "payload is a String"],
    ["bytes", new Uint8Array(2), "payload is a Uint8Array"],
    ["an error", new Error("e"), "payload is an Error"],
    ["a promise", Promise.resolve(1), "payload is a Promise: is an await missing?"],
    ["a regular expression", /a/, "payload is a RegExp"],
    ["an array of a class", List.from([1]), "payload is a List"],
    ["an object behind another", Object.create({ a: 1 }), "payload is an instance of a class"],
    ["a sparse array", { a: holed }, "payload/a is a sparse array"],
    ["an array of holes", new Array(3), "payload is a sparse array"],
    ["an array with named members", named, "payload is a sparse array or has named members"],
    ["an array with as many named members as holes", shifting, "payload/0 is undefined"],
    ["a circle", circle, "payload/a/0 closes a cycle"],
    ["an own __proto__", proto, "payload/a/__proto__ is not allowed as a key"],
    ["a getter that throws", { a: throwing }, "payload could not be read"],
    ["a Proxy whose traps throw", new Proxy({}, { ownKeys: trap, getPrototypeOf: trap, get: trap }), "payload could not be read"],
    ["a revoked Proxy", revoked.proxy, "payload could not be read"],
  ])("%s", (_, value, message) => {
    expect(() => admit(value)).toThrow(expect.objectContaining({ code: "invalid", message: expect.stringContaining(message) }));
  });

  it("also when what a getter throws cannot be looked at", () => {
    const bomb = new Proxy({}, { get: trap, has: trap, getPrototypeOf: trap });
    const value = {
      get a() {
        throw bomb;
      },
    };
    expect(() => admit(value)).toThrow(expect.objectContaining({ code: "invalid", message: "payload could not be read" }));
  });

  it("does not change Object.prototype on the way", () => {
    expect(() => admit(proto)).toThrow();
    expect(({} as { x?: unknown }).x).toBeUndefined();
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });
});

describe("members that are undefined", () => {
  it("are left out, at any depth, and cost nothing (A-1)", () => {
    const admitted = admit({ a: 1, b: undefined, list: [{ c: undefined }], [`${"x".repeat(2_000)}`]: undefined });
    expect(admitted).toStrictEqual({ a: 1, list: [{}] });
    expect(canonicalText(admitted)).toBe('{"a":1,"list":[{}]}');
  });

  it("are left out as what they were at the one look (A-1)", () => {
    let asked = 0;
    const value = {
      get a() {
        return ++asked === 1 ? undefined : 1n;
      },
    };
    expect(admit(value)).toStrictEqual({});
  });
});

describe("lone surrogates of values that are mended", () => {
  it("become U+FFFD, as a UTF-8 encoder makes them (A-2)", () => {
    const text = "a\ud800b\udc00\ud83d\ude00\ude00\ud83d";
    const encoded = new TextDecoder().decode(new TextEncoder().encode(text));
    expect(admit({ text, list: [text] }, { mends: true })).toEqual({ text: encoded, list: [encoded] });
    expect(encoded).toBe("a\ufffdb\ufffd\ud83d\ude00\ufffd\ufffd");
  });

  it("stay refused in the names of members (A-2)", () => {
    expect(() => admit({ a: { "\ud800": 1 } }, { mends: true })).toThrow("payload/a has a key with a lone surrogate");
  });
});

describe("the name of a class", () => {
  const heir = (made: PropertyDescriptor) => Object.create(Object.create({}, { constructor: made }));
  const trap = () => {
    throw new Error("trapped");
  };
  const nameless = (name: PropertyDescriptor) => Object.defineProperty(() => {}, "name", name);

  it.each<[string, unknown]>([
    ["a constructor behind a getter", heir({ get: trap })],
    ["a constructor that is no function", heir({ value: 7 })],
    ["a constructor that is a Proxy whose traps throw", heir({ value: new Proxy(class {}, { getOwnPropertyDescriptor: trap }) })],
    ["a name behind a getter", heir({ value: nameless({ get: trap }) })],
    ["a name that is no text", heir({ value: nameless({ value: { toString: trap } }) })],
    ["a name of a thousand letters", heir({ value: nameless({ value: "x".repeat(1_000) }) })],
    ["a name that is a sentence", heir({ value: nameless({ value: "Date; all is well" }) })],
    ["a prototype whose traps throw", Object.create(new Proxy({}, { getOwnPropertyDescriptor: trap, has: trap }))],
  ])("is not asked of code: %s (A-3)", (_, value) => {
    const message = "payload/a is an instance of a class; a JSON value is expected";
    expect(() => admit({ a: value })).toThrow(expect.objectContaining({ code: "invalid", message }));
  });

  it("follows a field in words behind a colon (A-3)", () => {
    const admitResult = (value: unknown) => admitJson(value, 'the result of step "load"', LIMITS);
    expect(() => admitResult({ when: new Date(0) })).toThrow(
      expect.objectContaining({
        message: 'the result of step "load": /when is a Date; a JSON value is expected',
        details: { path: 'the result of step "load"/when' },
      }),
    );
    expect(() => admitResult(Promise.resolve(1))).toThrow('the result of step "load" is a Promise: is an await missing?');
  });
});

describe("the depth", () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);

  it("may reach the limit and not pass it", () => {
    expect(admit(nested(4))).toEqual([[[[1]]]]);
    expect(() => admit(nested(5))).toThrow("payload/0/0/0/0 is nested deeper than 4 levels");
    expect(() => admit({ a: { b: { c: { d: {} } } } })).toThrow("payload/a/b/c/d is nested deeper");
  });

  it("may be so large that a program has no room for it", () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    expect(() => admit(deep, { maxDepth: 1_000_000, maxBytes: 10_000_000 })).toThrow(
      expect.objectContaining({ code: "invalid" }),
    );
  });
});

describe("the size", () => {
  it.each<[string, JsonValue, number]>([
    ["ASCII", "x".repeat(98), 100],
    ["two bytes a character", "ä".repeat(49), 100],
    ["three bytes a character", "€".repeat(33) + "x".repeat(1), 102],
    ["four bytes a pair", `${"😀".repeat(24)}xx`, 100],
    ["escapes", '"\\\n'.repeat(10), 62],
    ["control characters", "\u0001".repeat(10), 62],
    ["members", { a: 1, b: [true, null] }, 23],
    ["keys of many bytes", { "€€": 1 }, 12],
    ["numbers in their shortest form", [1e21, 0.1, -1], 14],
  ])("counts UTF-8 of the canonical text at the edge: %s", (_, value, bytes) => {
    expect(new TextEncoder().encode(canonicalText(value)).byteLength).toBe(bytes);
    expect(jsonBytes(value)).toBe(bytes);
    expect(admit(value, { maxBytes: bytes })).toEqual(value);
    expect(() => admit(value, { maxBytes: bytes - 1 })).toThrow(
      expect.objectContaining({ code: "invalid", message: `payload is larger than ${bytes - 1} bytes of JSON` }),
    );
  });

  it("of what refers to itself many times over is found out before it is unfolded", () => {
    let blown: unknown = "x";
    for (let level = 0; level < 60; level++) blown = [blown, blown];
    expect(() => admit(blown, { maxBytes: 1_048_576, maxDepth: 64 })).toThrow("larger than 1048576 bytes");
  });

  it("of empty things many times over is found out too", () => {
    let blown: unknown = [];
    for (let level = 0; level < 60; level++) blown = [blown, blown];
    expect(() => admit(blown, { maxBytes: 1_048_576, maxDepth: 64 })).toThrow("larger than 1048576 bytes");
  });

  it("of a huge array is found out before it is walked", () => {
    expect(() => admit(new Array(4_000_000_000), {})).toThrow(expect.objectContaining({ code: "invalid" }));
  });

  it("of numbers is not overestimated", () => {
    const numbers = Array.from({ length: 499 }, () => 1);
    expect(admit(numbers, { maxBytes: 999 })).toEqual(numbers);
  });
});

describe("what is refused is read no further than to the limit", () => {
  /** Counts how often the members were listed, described and read. */
  const counted = <T extends object>(target: T) => {
    const reads = { lists: 0, described: 0, read: 0 };
    const value = new Proxy(target, {
      ownKeys(of) {
        reads.lists++;
        return Reflect.ownKeys(of);
      },
      getOwnPropertyDescriptor(of, name) {
        reads.described++;
        return Reflect.getOwnPropertyDescriptor(of, name);
      },
      get(of, name, receiver) {
        if (name !== "length") reads.read++;
        return Reflect.get(of, name, receiver);
      },
    });
    return { value, reads };
  };
  const none = { lists: 0, described: 0, read: 0 };

  it.each<[string, object]>([
    ["bytes", new Uint8Array(100_000)],
    ["a Buffer", Buffer.alloc(100_000)],
    ["numbers of the machine", new Float64Array(100_000)],
    ["memory", new ArrayBuffer(100_000)],
    ["a Blob", new Blob(["x".repeat(100_000)])],
    ["an array of a class", Object.setPrototypeOf(new Array(100_000).fill(1), Uint8Array.prototype)],
    ["an instance with many members", Object.setPrototypeOf(Object.fromEntries(new Array(10_000).entries()), new (class {})())],
  ])("%s: not at all", (_, target) => {
    const { value, reads } = counted(target);
    for (const whole of [value, { a: [value] }])
      expect(() => admit(whole)).toThrow(/^payload(\/a\/0)? is an? .*; a JSON value is expected$/);
    expect(reads).toEqual(none);
  });

  it("an array with more items than fit: not at all", () => {
    const { value, reads } = counted(new Array(100_000).fill(0));
    expect(() => admit(value)).toThrow("payload is larger than 1000 bytes");
    expect(() => admit({ a: [[value]] })).toThrow("payload is larger than 1000 bytes");
    expect(reads).toEqual(none);
  });

  it("an array of texts: as many as fit", () => {
    const { value, reads } = counted(new Array(400).fill("x".repeat(98)));
    expect(() => admit(value)).toThrow("payload is larger than 1000 bytes");
    expect(reads.read).toBeLessThan(12);
  });

  it("an object: as many members as fit", () => {
    const { value, reads } = counted(Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`member${n}`, "text"])));
    expect(() => admit(value)).toThrow("payload is larger than 1000 bytes");
    expect(reads.lists).toBe(1);
    expect(reads.read).toBeLessThan(100);
    expect(reads.described).toBeLessThan(300);
  });

  it("a text: not at all", () => {
    // The lone surrogate at the very end is not read.
    expect(() => admit(`${"x".repeat(2_000)}\ud800`)).toThrow("payload is larger than 1000 bytes");
    expect(() => admit({ [`${"x".repeat(2_000)}\ud800`]: 1 })).toThrow("payload is larger than 1000 bytes");
  });

  it("and is told in a few hundred characters, however long the path to it is", () => {
    const name = "n".repeat(100_000);
    const refusal = (() => {
      try {
        admit({ a: { [name]: { b: 1n } } }, { maxBytes: 1_000_000 });
      } catch (error) {
        return error as { message: string; details: { path: string } };
      }
    })();
    expect(refusal?.message).toMatch(/^payload\/a\/n+ \.\.\. n+\/b is a bigint; a JSON value is expected$/);
    expect(refusal?.message.length).toBeLessThan(800);
    expect(refusal?.details.path.length).toBeLessThan(800);
  });
});

describe("texts of values", () => {
  it("are canonical: sorted by UTF-16 code unit, no spaces", () => {
    expect(canonicalText({ b: 1, a: 2, "\ud83d\ude00": 3, "\uffff": 4, A: { z: [1, "x"] } })).toBe(
      '{"A":{"z":[1,"x"]},"a":2,"b":1,"😀":3,"\uffff":4}',
    );
  });

  it("are strings verbatim and all else compact JSON", () => {
    expect(["a b", 1, null, true, { a: [1, "x"] }].map((value) => textOfJson(value as JsonValue))).toEqual([
      "a b",
      "1",
      "null",
      "true",
      '{"a":[1,"x"]}',
    ]);
  });

  it.each([
    ["", true],
    ["a😀b", true],
    ["\ud83d", false],
    ["\ude00", false],
    ["\ude00\ud83d", false],
    ["a\ud83d\ude00\ud83d", false],
  ])("%j is well formed: %s", (text, expected) => {
    expect(isWellFormed(text)).toBe(expected);
  });
});
