import { describe, expect, it } from "vitest";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { ABOUT, type Change, type ChannelFactory } from "../../src/ports/notices.js";

/** Two ends of one channel. */
function hub(): ChannelFactory {
  const ends = new Set<ReturnType<ChannelFactory>>();
  return () => {
    const end: ReturnType<ChannelFactory> = {
      onmessage: null,
      postMessage(data) {
        for (const other of ends) if (other !== end) other.onmessage?.({ data: structuredClone(data) });
      },
      close: () => void ends.delete(end),
    };
    ends.add(end);
    return end;
  };
}

describe("notices over a channel", () => {
  it.each(ABOUT)("about %s are heard in the other tab", (about) => {
    const open = hub();
    const [here, there] = [broadcastNotices("n", open), broadcastNotices("n", open)];
    const heard: Change[] = [];
    there.subscribe((changes) => heard.push(...changes));
    here.publish([{ about, id: "one", sequence: 3, member: "m" }]);
    expect(heard).toEqual([{ about, id: "one", sequence: 3, member: "m" }]);
    expect(there.dropped).toBe(0);
  });

  it("are heard without the topics of a newer version that stand beside them", () => {
    const open = hub();
    const newer = open("n");
    const notices = broadcastNotices("n", open);
    const heard: (readonly Change[])[] = [];
    notices.subscribe((changes) => heard.push(changes));
    const unknown = { about: "of a later version", id: "two" };
    newer.postMessage({ v: 1, changes: [unknown, { about: "record", id: "one" }] });
    newer.postMessage({ v: 1, changes: [unknown] });
    expect(heard).toEqual([[{ about: "record", id: "one" }]]);
    expect(notices.dropped).toBe(0);
    newer.postMessage({ v: 1, changes: [{ about: "record" }, { about: "record", id: "one" }] });
    expect(heard).toHaveLength(1);
    expect(notices.dropped).toBe(1);
  });

  it("reach every listener of a tab, also behind one that throws", async () => {
    const open = hub();
    const [here, there] = [broadcastNotices("n", open), broadcastNotices("n", open)];
    const uncaught: unknown[] = [];
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => uncaught.push(error));
    const broken = new Error("a listener's own");
    const heard: string[] = [];
    for (const [name, notices] of Object.entries({ here, there })) {
      notices.subscribe(() => {
        throw broken;
      });
      notices.subscribe(() => heard.push(name));
    }
    here.publish([{ about: "record", id: "p" }]);
    await new Promise((resolve) => setTimeout(resolve, 0));
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
    expect(heard.sort()).toEqual(["here", "there"]);
    expect(uncaught).toEqual([broken, broken]);
  });
});
