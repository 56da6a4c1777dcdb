import fc from "fast-check";
import { expect, it } from "vitest";
import { copyOf } from "../../src/domain/copy.js";

const data = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
  withNullPrototype: true,
});

it("a copy is what structuredClone makes of it, and holds nothing of the original", () => {
  const shared = (one: unknown, other: unknown): boolean =>
    typeof one === "object" &&
    one !== null &&
    (one === other ||
      Object.keys(one).some((name) => shared((one as Record<string, unknown>)[name], (other as Record<string, unknown>)[name])));
  fc.assert(
    fc.property(data, (value) => {
      const copy = copyOf(value);
      expect(copy).toStrictEqual(structuredClone(value));
      expect(shared(value, copy)).toBe(false);
    }),
  );
});

it("a key __proto__ stays a member", () => {
  const copy = copyOf({ a: JSON.parse('{"__proto__":{"b":1}}') });
  expect(Object.getPrototypeOf(copy.a)).toBe(Object.prototype);
  expect(Object.entries(copy.a)).toEqual([["__proto__", { b: 1 }]]);
});

it.each([[() => 1], [Symbol("s")]])("refuses %o as structuredClone does", (value) => {
  expect(() => copyOf({ value: [value] })).toThrow(expect.objectContaining({ name: "DataCloneError" }));
});
