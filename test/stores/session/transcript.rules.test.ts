import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Message } from "../../../src/domain/session/session.js";
import { newRuntime } from "../../../src/stores/session/runtime-state.rules.js";
import { assembleSnapshot, chainDigest, headOf, liftSnapshot } from "../../../src/stores/session/transcript.rules.js";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const sha = (text: string) => createHash("sha256").update(text).digest("hex");
const one: Message = { role: "user", content: "one \u{1f600}" };
const two: Message = { role: "assistant", content: "two" };

describe("the head of a session", () => {
  const row = newRuntime("r", 1);

  it("is that of its row, or its id alone where the row has none", () => {
    expect(headOf({ ...row, state: "idle", sessionId: "s", head: { id: "h", title: "t" } })).toEqual({ id: "h", title: "t" });
    expect(headOf({ ...row, state: "idle", sessionId: "s" })).toEqual({ id: "s" });
  });

  it("is none where there is no session, or none that is left", () => {
    expect(headOf(undefined)).toBeUndefined();
    expect(headOf({ ...row, sessionId: "s", head: { id: "s" } })).toBeUndefined();
    expect(headOf({ ...row, state: "idle" })).toBeUndefined();
  });
});

describe("a digest", () => {
  it("is chained message by message over that before", () => {
    expect(chainDigest("", [])).toBe("");
    expect(chainDigest("before", [])).toBe("before");
    const first = sha(JSON.stringify(one));
    expect(chainDigest("", [one])).toBe(first);
    expect(chainDigest("", [one, two])).toBe(sha(first + JSON.stringify(two)));
    expect(chainDigest(first, [two])).toBe(chainDigest("", [one, two]));
  });
});

describe("a snapshot", () => {
  it("is put together of its head and its messages, and taken apart again", () => {
    const bytes = assembleSnapshot({ id: "s", title: "t" }, [one, two]);
    expect(new TextDecoder().decode(bytes)).toBe(JSON.stringify({ id: "s", title: "t", messages: [one, two] }));
    expect(liftSnapshot(bytes)).toEqual({
      head: { id: "s", title: "t" },
      messages: [one, two],
      digest: chainDigest("", [one, two]),
    });
  });

  it.each(['{"id":"s"}', '{"id":"s","messages":{"0":1}}', '{"id":"s","messages":null}'])(
    "without a list of messages has none: %s",
    (text) => {
      expect(liftSnapshot(bytesOf(text))).toEqual({ head: { id: "s" }, messages: [], digest: "" });
    },
  );

  it("that does not decode is read-failed", () => {
    expect(() => liftSnapshot(bytesOf("{"))).toThrow(
      expect.objectContaining({ code: "read-failed", details: { table: "snapshots" } }),
    );
  });
});
