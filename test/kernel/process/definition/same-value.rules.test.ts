import { describe, expect, it } from "vitest";
import { isSameValue } from "../../../../src/kernel/process/definition/same-value.rules.js";

class Money {
  constructor(
    readonly amount: number,
    readonly unit = "EUR",
  ) {}
}

class Coded extends Money {
  toJSON(): unknown {
    return this.amount;
  }
}

/** A value that contains itself. */
function circle(): { self?: unknown } {
  const made: { self?: unknown } = {};
  made.self = made;
  return made;
}

/** Lists nested to that depth. */
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);

const shared = new Money(1);

describe("two values are the same", () => {
  it.each<[string, unknown, unknown]>([
    ["primitives", "a", "a"],
    ["NaN", Number.NaN, Number.NaN],
    ["zeros of either sign, which JSON does not tell apart", 0, -0],
    ["nothing", undefined, undefined],
    ["members in any order", { a: 1, b: [{ c: null }] }, { b: [{ c: null }], a: 1 }],
    ["an undefined member, and none", { a: 1, b: undefined }, { a: 1 }],
    ["an object without a prototype, and a plain one", Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ["lists", [1, [2]], [1, [2]]],
    ["dates of one time", new Date(5), new Date(5)],
    ["addresses", new URL("https://a.b/c"), new URL("https://a.b/c")],
    ["objects of a class with toJSON", new Coded(1, "EUR"), new Coded(1, "USD")],
    ["maps", new Map([["a", { b: 1 }]]), new Map([["a", { b: 1 }]])],
    ["sets", new Set([1, 2]), new Set([1, 2])],
    ["bytes", new Uint8Array([1, 2]), new Uint8Array([1, 2])],
    ["one object of a class", shared, shared],
    ["values as deep as is looked", nested(256), nested(256)],
  ])("%s", (_, one, other) => {
    expect([isSameValue(one, other), isSameValue(other, one)]).toEqual([true, true]);
  });
});

describe("two values are different", () => {
  it.each<[string, unknown, unknown]>([
    ["primitives", 1, "1"],
    ["null, and nothing", null, undefined],
    ["null, and an object", null, {}],
    ["another member", { a: 1 }, { a: 2 }],
    ["a member more", { a: 1 }, { a: 1, b: 1 }],
    ["a null member, and none", { a: null }, {}],
    ["lists in another order", [1, 2], [2, 1]],
    ["a longer list", [1], [1, 2]],
    ["a list, and an object with its members", [1], { 0: 1 }],
    ["dates", new Date(5), new Date(6)],
    ["a date, and its text", new Date(5), new Date(5).toJSON()],
    ["kinds of toJSON", new Date(5), { toJSON: () => new Date(5).toJSON() }],
    [
      "maps in another order",
      new Map([
        ["a", 1],
        ["b", 2],
      ]),
      new Map([
        ["b", 2],
        ["a", 1],
      ]),
    ],
    ["a set, and a list", new Set([1]), [1]],
    ["bytes", new Uint8Array([1]), new Uint8Array([2])],
    ["bytes of another kind", new Uint8Array([1]), new Int8Array([1])],
    ["two objects of a class, whatever they have", new Money(1), new Money(1)],
    ["functions", () => 1, () => 1],
    ["what is deeper than is looked", nested(258), nested(258)],
    ["two that contain themselves", circle(), circle()],
  ])("%s", (_, one, other) => {
    expect([isSameValue(one, other), isSameValue(other, one)]).toEqual([false, false]);
  });
});
