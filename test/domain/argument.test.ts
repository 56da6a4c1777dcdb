import { describe, expect, it } from "vitest";
import { argumentOf } from "../../src/domain/argument.js";

describe("what a call keeps of an argument", () => {
  it("is a copy of plain data and bytes, however deep", () => {
    const given = {
      list: [{ n: 1 }, "two"],
      bytes: new Uint8Array([1, 2]),
      none: undefined,
      bare: Object.create(null) as object,
    };
    const kept = argumentOf(given) as typeof given;
    expect(kept).toEqual({ list: [{ n: 1 }, "two"], bytes: new Uint8Array([1, 2]), none: undefined, bare: {} });
    given.list.length = 0;
    given.bytes.fill(9);
    expect(kept.list).toEqual([{ n: 1 }, "two"]);
    expect(kept.bytes).toEqual(new Uint8Array([1, 2]));
  });

  it("has functions, signals, instances and primitives as they are", () => {
    class Flow {}
    const values = {
      run: () => 1,
      signal: new AbortController().signal,
      made: new Flow(),
      time: new Date(0),
      text: "a",
      big: 1n,
    };
    const kept = argumentOf(values) as typeof values;
    for (const name of Object.keys(values) as (keyof typeof values)[]) expect(kept[name]).toBe(values[name]);
  });

  it("reads each getter once", () => {
    let reads = 0;
    const given = {
      get n() {
        return ++reads;
      },
    };
    expect(argumentOf(given)).toEqual({ n: 1 });
    expect(reads).toBe(1);
  });

  it("is the argument itself where that cannot be read, or has members that a copy would lose", () => {
    const throwing = {
      get n() {
        throw new Error("no");
      },
    };
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const hidden = Object.defineProperty({}, "n", { value: 1 });
    for (const given of [throwing, proxy, hidden, { [Symbol.iterator]: 1 }, new Proxy(new Uint8Array(1), {})])
      expect(argumentOf(given) === given).toBe(true);
  });

  it("is not listed where it is long and of a class of its own", () => {
    let lists = 0;
    const ownKeys = (of: object) => {
      lists++;
      return Reflect.ownKeys(of);
    };
    for (const long of [new Float64Array(100_000), new Blob(["x"]), new (class {})()]) argumentOf(new Proxy(long, { ownKeys }));
    expect(lists).toBe(0);
  });

  it("keeps holes, circles, what is shared, and a name that means a prototype elsewhere", () => {
    const shared = { n: 1 };
    const given: unknown[] = [shared, shared];
    given[5] = given;
    const kept = argumentOf(given) as unknown[];
    expect(kept[0]).toBe(kept[1]);
    expect(kept[0]).not.toBe(shared);
    expect(kept[5]).toBe(kept);
    expect(Object.keys(kept)).toEqual(["0", "1", "5"]);
    const named = argumentOf(JSON.parse('{"__proto__":{"x":1}}')) as object;
    expect(Object.keys(named)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(named)).toBe(Object.prototype);
  });
});
