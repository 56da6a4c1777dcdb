import { describe, expect, it } from "vitest";
import { largestBytes, takeIn } from "../../demo/intake.js";
import { samples } from "../../demo/samples.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const reason = (fileName: string, content: Uint8Array) => {
  const taken = takeIn(fileName, content);
  return taken.ok ? "" : taken.reason;
};

describe("what is taken", () => {
  it("takes every sample, 100 to 200 passages in all", () => {
    const taken = samples.map(({ fileName, text }) => takeIn(fileName, bytes(text)));
    expect(taken.filter((one) => !one.ok)).toEqual([]);
    const passages = taken.reduce((sum, one) => sum + (one.ok ? one.passages : 0), 0);
    expect(passages).toBeGreaterThan(100);
    expect(passages).toBeLessThan(200);
  });

  it("goes by the ending, whatever its case", () => {
    expect(takeIn("A.B.TSV", bytes("a\tb\n1\t2"))).toMatchObject({ ok: true, kind: "csv" });
  });
});

describe("what is refused, and why", () => {
  it.each([
    ["photo.png", bytes("x"), ".png files are not read here"],
    ["README", bytes("x"), "without an ending"],
    ["empty.txt", bytes(""), "empty"],
    ["blank.md", bytes(" \n\n# \n"), "no passage"],
    ["old.txt", new Uint8Array([0x67, 0xfc, 0x6e]), "not UTF-8"],
    ["binary.txt", bytes("a\0b"), "binary"],
    ["broken.json", bytes("{a:1}"), "not valid JSON"],
    ["big.txt", new Uint8Array(largestBytes + 1).fill(65), "up to 1 MB"],
    ["escaped.txt", bytes("\n".repeat(largestBytes - 1)), "larger than 1 MB"],
  ])("%s", (fileName, content, text) => {
    expect(reason(fileName, content)).toContain(text);
  });
});
