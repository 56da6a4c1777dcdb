import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { broadcastNotices } from "../../src/adapters/notices-broadcast.js";
import { createWatch } from "../../src/kernel/watch.js";
import type { Change, Notices } from "../../src/ports/notices.js";
import { gate, rounds } from "./rounds.js";

function setUp() {
  const clock = manualClock();
  const inner = broadcastNotices("watch", undefined);
  let listening = 0;
  const notices: Notices = {
    ...inner,
    subscribe(listener) {
      listening++;
      const end = inner.subscribe(listener);
      return () => {
        listening--;
        end();
      };
    },
  };
  const state = { value: undefined as string | undefined, reads: 0 };
  const watch = createWatch(notices, clock, 5_000);
  const change = (id = "p"): Change => ({ about: "event", id });
  const read = async () => {
    state.reads++;
    await Promise.resolve();
    return state.value;
  };
  const concerns = ({ id }: Change) => id === "p";
  return { clock, notices, state, watch, read, concerns, change, listening: () => listening };
}

describe("a wait", () => {
  it("reads first, and ends at once with what is there", async () => {
    const { watch, state, read, concerns } = setUp();
    state.value = "there";
    expect(await watch.until(concerns, read)).toBe("there");
    expect(state.reads).toBe(1);
  });

  it("reads again when a notice concerns it, and not for another", async () => {
    const { watch, state, read, concerns, notices, change } = setUp();
    const wait = watch.until(concerns, read);
    await rounds();
    notices.publish([change("q"), change("r")]);
    await rounds();
    expect(state.reads).toBe(1);
    state.value = "came";
    notices.publish([change("q"), change("p")]);
    expect(await wait).toBe("came");
    expect(state.reads).toBe(2);
  });

  it("listens before it reads", async () => {
    const { watch, concerns, listening } = setUp();
    const seen: number[] = [];
    await watch.until(concerns, async () => {
      seen.push(listening());
      return "x";
    });
    expect(seen).toEqual([1]);
  });

  it("misses nothing that is told while it reads", async () => {
    const { watch, concerns, notices, change, state } = setUp();
    const reading = gate();
    const wait = watch.until(concerns, async () => {
      const { value } = state;
      if (++state.reads === 1) await reading.promise;
      return value;
    });
    await rounds();
    state.value = "in between";
    notices.publish([change()]);
    reading.open();
    expect(await wait).toBe("in between");
  });

  it("goes on waiting when a notice was about nothing that it waits for", async () => {
    const { watch, state, read, concerns, notices, change } = setUp();
    const wait = watch.until(concerns, read);
    for (let n = 0; n < 5; n++) {
      await rounds();
      notices.publish([change()]);
    }
    await rounds();
    expect(state.reads).toBe(6);
    state.value = "now";
    notices.publish([change()]);
    expect(await wait).toBe("now");
  });

  it("finds by the poll what no notice told of, and not before", async () => {
    const { watch, clock, state, read, concerns } = setUp();
    let ended = false;
    const wait = watch.until(concerns, read).then((value) => {
      ended = true;
      return value;
    });
    await rounds();
    state.value = "quiet";
    await clock.advance(4_999);
    expect(ended).toBe(false);
    await clock.advance(1);
    expect(await wait).toBe("quiet");
  });

  it("rejects with what reading throws, and listens no more", async () => {
    const { watch, concerns, listening } = setUp();
    const broken = new Error("broken");
    await expect(watch.until(concerns, () => Promise.reject(broken))).rejects.toBe(broken);
    expect(listening()).toBe(0);
  });
});

describe("an abort", () => {
  it("before the wait rejects without a read, with the reason as cause", async () => {
    const { watch, state, read, concerns, listening } = setUp();
    const reason = new Error("why");
    await expect(watch.until(concerns, read, AbortSignal.abort(reason))).rejects.toMatchObject({
      name: "HoldfastError",
      code: "aborted",
      cause: reason,
    });
    expect(state.reads).toBe(0);
    expect(listening()).toBe(0);
  });

  it("while it waits rejects at once", async () => {
    const { watch, read, concerns, listening } = setUp();
    const abort = new AbortController();
    const wait = watch.until(concerns, read, abort.signal);
    await rounds();
    abort.abort("text as reason");
    await expect(wait).rejects.toMatchObject({ code: "aborted", cause: "text as reason" });
    expect(listening()).toBe(0);
    expect(getEventListeners(abort.signal, "abort")).toEqual([]);
  });

  it("while it reads rejects, unless the read found something", async () => {
    for (const found of [undefined, "found"]) {
      const { watch, concerns } = setUp();
      const abort = new AbortController();
      const reading = gate<string | undefined>();
      const wait = watch.until(concerns, () => reading.promise, abort.signal);
      await rounds();
      abort.abort();
      reading.open(found);
      if (found) expect(await wait).toBe(found);
      else await expect(wait).rejects.toMatchObject({ code: "aborted" });
    }
  });

  it("after the end changes nothing, and nothing listens for it", async () => {
    const { watch, state, read, concerns } = setUp();
    state.value = "done";
    const abort = new AbortController();
    expect(await watch.until(concerns, read, abort.signal)).toBe("done");
    expect(getEventListeners(abort.signal, "abort")).toEqual([]);
  });
});

describe("close", () => {
  it("ends every wait with closed, and every later one", async () => {
    const { watch, read, concerns, listening } = setUp();
    const waits = Array.from({ length: 5 }, () => watch.until(concerns, read));
    await rounds();
    watch.close();
    const outcomes = await Promise.allSettled(waits);
    expect(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.code)).toEqual(Array(5).fill("closed"));
    await expect(watch.until(concerns, read)).rejects.toMatchObject({ code: "closed" });
    expect(listening()).toBe(0);
  });

  it("and an abort at once: the caller's own signal is told", async () => {
    const { watch, read, concerns } = setUp();
    const abort = new AbortController();
    const wait = watch.until(concerns, read, abort.signal);
    await rounds();
    abort.abort("mine");
    watch.close();
    await expect(wait).rejects.toMatchObject({ code: "aborted", cause: "mine" });
  });
});

describe("many waits", () => {
  it("make the platform warn of nothing", async () => {
    const { watch, state, read, concerns, notices, change } = setUp();
    const warnings: unknown[] = [];
    const hear = (warning: unknown) => warnings.push(warning);
    process.on("warning", hear);
    const abort = new AbortController();
    const waits = Array.from({ length: 100 }, () => watch.until(concerns, read));
    await rounds();
    state.value = "all";
    notices.publish([change()]);
    expect(new Set(await Promise.all(waits))).toEqual(new Set(["all"]));
    await rounds();
    process.off("warning", hear);
    abort.abort();
    expect(warnings).toEqual([]);
  });
});
