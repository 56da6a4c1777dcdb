import { describe, expect, it } from "vitest";
import { checkReceipt } from "../../src/domain/session/receipt.js";
import { admitSnapshot, parseSnapshot } from "../../src/domain/session/snapshot.js";
import { DEFAULT_LIMITS } from "../../src/domain/time.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const admit = (text: string) => admitSnapshot("delta", bytes(text), DEFAULT_LIMITS);

describe("a snapshot", () => {
  it("is copied, with its session's id and the number of its messages", () => {
    const given = bytes('{"id":"s","messages":[1,{},null]}');
    const admitted = admitSnapshot("delta", given, DEFAULT_LIMITS);
    given.fill(0);
    expect(admitted).toEqual({ bytes: bytes('{"id":"s","messages":[1,{},null]}'), id: "s", messageCount: 3 });
  });

  it.each([
    ['{"id":"s"}', 0],
    ['{"id":"s","messages":{"length":4}}', 0],
    ['{"id":"s","messages":"four"}', 0],
    ['{"messages":[],"id":" "}', 0],
    ['{"id":"a","id":"b","messages":[[]]}', 1],
  ])("%s has %d messages", (text, count) => {
    expect(admit(text).messageCount).toBe(count);
  });

  it("is one that another program wrote: a Buffer, a part of a buffer, shared memory", () => {
    const text = '{"id":"s"}';
    const shared = new Uint8Array(new SharedArrayBuffer(text.length));
    shared.set(bytes(text));
    for (const given of [Buffer.from(text), bytes(`xx${text}x`).subarray(2, -1), shared]) {
      const admitted = admitSnapshot("delta", given, DEFAULT_LIMITS);
      expect([admitted.id, Array.from(admitted.bytes)]).toEqual(["s", Array.from(bytes(text))]);
      expect(Object.getPrototypeOf(admitted.bytes)).toBe(Uint8Array.prototype);
      expect(admitted.bytes.buffer).toBeInstanceOf(ArrayBuffer);
    }
  });

  it("that lies about its length is as long as it is", () => {
    class Short extends Uint8Array {
      override get byteLength() {
        return 1;
      }
      override get length() {
        return 1;
      }
    }
    const limits = { ...DEFAULT_LIMITS, snapshotBytes: 5 };
    const given = new Short(bytes('{"id":"s"}'));
    expect(() => admitSnapshot("delta", given, limits)).toThrow(
      expect.objectContaining({ code: "invalid", message: "delta must be at most 5 bytes long" }),
    );
  });

  it("of nonsense is write-failed by its field, and parses to nothing", () => {
    for (const text of ["", "[]", '{"id":""}', '{"id":["s"]}', "\u0000"]) {
      expect(() => admit(text)).toThrow(expect.objectContaining({ code: "write-failed", details: { field: "delta" } }));
      expect(parseSnapshot(bytes(text))).toBeUndefined();
    }
    expect(parseSnapshot(new Uint8Array([0x7b, 0x80]))).toBeUndefined();
  });
});

describe("a receipt", () => {
  const receipt = { runId: "r", boundary: "immediate", contributingInputIds: ["b", "a"], messageCount: 1, sequence: 0 };
  const check = (more: object) => checkReceipt("receipt", { ...receipt, ...more }, DEFAULT_LIMITS);

  it("is copied, without what is absent", () => {
    const ids = ["b"];
    const checked = check({ contributingInputIds: ids, conversationDigest: undefined, extra: 1 });
    ids.push("c");
    expect(checked).toStrictEqual({ ...receipt, contributingInputIds: ["b"] });
  });

  it("has no -0 for a sequence", () => {
    expect(Object.is(check({ sequence: -0 }).sequence, 0)).toBe(true);
  });

  it("with a wrong sequence is write-failed, with anything else wrong invalid", () => {
    expect(() => check({ sequence: 2 ** 53 })).toThrow(expect.objectContaining({ code: "write-failed" }));
    expect(() => check({ sequence: 2 ** 53, runId: "" })).toThrow(expect.objectContaining({ code: "invalid" }));
    expect(() => check({ boundary: "never" })).toThrow(expect.objectContaining({ code: "invalid" }));
  });
});
