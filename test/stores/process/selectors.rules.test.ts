import { describe, expect, it } from "vitest";
import type { JsonValue } from "../../../src/domain/json.js";
import type { ValueSelector } from "../../../src/domain/process/event-type.js";
import { isTruthy, select } from "../../../src/stores/process/selectors.rules.js";

const payload: JsonValue = {
  text: "hello",
  n: 0,
  none: null,
  list: ["a", { b: true }],
  "": "empty name",
  "a/b": "slash",
  "m~n": "tilde",
  "~1": "tilde one",
  "01": "not an index",
  nested: { list: [[1, 2]] },
  long: Array.from({ length: 11 }, (_, at) => at),
};

describe("a pointer", () => {
  it.each<[string, JsonValue]>([
    ["", payload],
    ["/text", "hello"],
    ["/n", 0],
    ["/none", null],
    ["/", "empty name"],
    ["/a~1b", "slash"],
    ["/m~0n", "tilde"],
    ["/~01", "tilde one"],
    ["/01", "not an index"],
    ["/list/0", "a"],
    ["/list/1/b", true],
    ["/nested/list/0/1", 2],
    ["/long/10", 10],
  ])("%j leads to %j", (pointer, expected) => {
    expect(select({ pointer }, payload)).toEqual(expected);
    expect(select({ present: pointer }, payload)).toBe(true);
  });

  it.each([
    "text",
    "xtext",
    "#/text",
    "/missing",
    "/text/0",
    "/text/length",
    "/list/2",
    "/list/-",
    "/list/-1",
    "/list/00",
    "/list/01",
    "/list/1.0",
    "/list/length",
    "/list/ 0",
    "/none/x",
    "/n/toFixed",
    "/toString",
    "/constructor",
    "/__proto__",
    "/list/map",
    "//text",
    "/text/",
  ])("%j leads nowhere", (pointer) => {
    expect(() => select({ pointer }, payload)).toThrow(
      expect.objectContaining({ code: "invalid", message: expect.stringContaining("did not match"), details: { pointer } }),
    );
    expect(select({ present: pointer }, payload)).toBe(false);
  });
});

describe("other selectors", () => {
  it.each<[ValueSelector, JsonValue]>([
    ["payload", payload],
    [{ const: null }, null],
    [{ const: { a: [1] } }, { a: [1] }],
    [{ template: "{t}, {n}!", fields: { t: { pointer: "/text" }, n: { pointer: "/n" } } }, "hello, 0!"],
    [
      { template: "{l} {x} {null}", fields: { l: { pointer: "/list" }, x: { const: { y: 1 } }, null: { pointer: "/none" } } },
      '["a",{"b":true}] {"y":1} null',
    ],
    [{ template: "{unknown} {} { t } {{t}}", fields: { t: { const: "T" } } }, "{unknown} {} { t } {T}"],
    [{ template: "{t}{t}", fields: { t: { const: "T" } } }, "TT"],
    [{ template: "none", fields: {} }, "none"],
    [{ template: "{has}", fields: { has: { present: "/text" } } }, "true"],
    [{ template: "{inner}", fields: { inner: { template: "<{t}>", fields: { t: { pointer: "/text" } } } } }, "<hello>"],
  ])("%j", (selector, expected) => {
    expect(select(selector, payload)).toEqual(expected);
  });

  it("put in by a template are not looked at again", () => {
    const selector: ValueSelector = { template: "{a}{b}", fields: { a: { pointer: "/a" }, b: { pointer: "/b" } } };
    expect(select(selector, { a: "{b}", b: "$& $1 {a}" })).toBe("{b}$& $1 {a}");
  });

  it("put in by a template know own fields only", () => {
    expect(select({ template: "{toString} {constructor}", fields: {} }, {})).toBe("{toString} {constructor}");
  });

  it("fail as a whole when one field of a template leads nowhere, used or not", () => {
    expect(() => select({ template: "{a}", fields: { a: { const: 1 }, b: { pointer: "/no" } } }, {})).toThrow("did not match");
  });
});

describe("a wake's condition", () => {
  it.each<[JsonValue, boolean]>([
    [null, false],
    [false, false],
    ["", false],
    [[], false],
    [{}, false],
    [true, true],
    [0, true],
    [-1, true],
    [" ", true],
    ["false", true],
    [[null], true],
    [{ a: null }, true],
  ])("%j: %s", (value, expected) => {
    expect(isTruthy(value)).toBe(expected);
  });
});
