import { describe, expect, it } from "vitest";
import { isEqual, keepEqual } from "../../src/domain/kept.js";

describe("equal JSON", () => {
  it.each([
    [1, 1],
    ["a", "a"],
    [null, null],
    [
      { a: 1, b: [2, { c: 3 }] },
      { b: [2, { c: 3 }], a: 1 },
    ],
    [{ a: 1, b: undefined }, { a: 1 }],
    [[], []],
  ])("%j and %j", (a, b) => expect([isEqual(a, b), isEqual(b, a)]).toEqual([true, true]));

  it.each([
    [1, "1"],
    [null, {}],
    [undefined, null],
    [[], {}],
    [[1, 2], [1]],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: { b: 1 } }, { a: { b: 2 } }],
    [0, false],
  ])("is not %j and %j", (a, b) => expect([isEqual(a, b), isEqual(b, a)]).toEqual([false, false]));
});

describe("a list that is read again", () => {
  const keyOf = ({ id }: { id: string }) => id;
  const list = () => [
    { id: "a", n: 1 },
    { id: "b", n: 1 },
  ];

  it("is the same list where nothing changed", () => {
    const last = list();
    expect(keepEqual(last, list(), keyOf)).toBe(last);
  });

  it("keeps what is equal, wherever it stands now", () => {
    const last = list();
    const [first, ...rest] = keepEqual(
      last,
      [
        { id: "0", n: 1 },
        { id: "a", n: 2 },
        { id: "b", n: 1 },
      ],
      keyOf,
    );
    expect([first, rest[0]]).toEqual([
      { id: "0", n: 1 },
      { id: "a", n: 2 },
    ]);
    expect(rest[1]).toBe(last[1]);
  });

  it("is another list where something went, or the order changed", () => {
    const last = list();
    expect(keepEqual(last, list().slice(1), keyOf)).toEqual([{ id: "b", n: 1 }]);
    const turned = keepEqual(last, list().reverse(), keyOf);
    expect([turned[0] === last[1], turned[1] === last[0]]).toEqual([true, true]);
  });
});
