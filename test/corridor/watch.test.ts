import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { createWatch } from "../../src/corridor/watch.js";
import type { Change, Notices } from "../../src/ports/notices.js";
import { gate, rounds } from "../kernel/rounds.js";

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
  const watch = createWatch(notices, clock, 5_000, () => () => {});
  const change = (id = "p"): Change => ({ about: "event", id });
  const read = async () => {
    state.reads++;
    await Promise.resolve();
    return state.value;
  };
  return { clock, notices, state, watch, read, change, listening: () => listening };
}

describe("a wait", () => {
  it("reads first, and ends at once with what is there", async () => {
    const { watch, state, read } = setUp();
    state.value = "there";
    expect(await watch.until("p", read)).toBe("there");
    expect(state.reads).toBe(1);
  });

  it("reads again when a notice concerns it, and not for another", async () => {
    const { watch, state, read, notices, change } = setUp();
    const wait = watch.until("p", read);
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
    const { watch, listening } = setUp();
    const seen: number[] = [];
    await watch.until("p", async () => {
      seen.push(listening());
      return "x";
    });
    expect(seen).toEqual([1]);
  });

  it("misses nothing that is told while it reads", async () => {
    const { watch, notices, change, state } = setUp();
    const reading = gate();
    const wait = watch.until("p", async () => {
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
    const { watch, state, read, notices, change } = setUp();
    const wait = watch.until("p", read);
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
    const { watch, clock, state, read } = setUp();
    let ended = false;
    const wait = watch.until("p", read).then((value) => {
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
    const { watch, listening } = setUp();
    const broken = new Error("broken");
    await expect(watch.until("p", () => Promise.reject(broken))).rejects.toBe(broken);
    expect(listening()).toBe(0);
  });
});

describe("an abort", () => {
  it("before the wait rejects without a read, with the reason as cause", async () => {
    const { watch, state, read, listening } = setUp();
    const reason = new Error("why");
    await expect(watch.until("p", read, AbortSignal.abort(reason))).rejects.toMatchObject({
      name: "HoldfastError",
      code: "aborted",
      cause: reason,
    });
    expect(state.reads).toBe(0);
    expect(listening()).toBe(0);
  });

  it("while it waits rejects at once", async () => {
    const { watch, read, listening } = setUp();
    const abort = new AbortController();
    const wait = watch.until("p", read, abort.signal);
    await rounds();
    abort.abort("text as reason");
    await expect(wait).rejects.toMatchObject({ code: "aborted", cause: "text as reason" });
    expect(listening()).toBe(0);
    expect(getEventListeners(abort.signal, "abort")).toEqual([]);
  });

  it("while it reads rejects, unless the read found something", async () => {
    for (const found of [undefined, "found"]) {
      const { watch } = setUp();
      const abort = new AbortController();
      const reading = gate<string | undefined>();
      const wait = watch.until("p", () => reading.promise, abort.signal);
      await rounds();
      abort.abort();
      reading.open(found);
      if (found) expect(await wait).toBe(found);
      else await expect(wait).rejects.toMatchObject({ code: "aborted" });
    }
  });

  it("ends every wait that has the signal and is not over, also when one of them was", async () => {
    const { watch, notices, change, read, listening } = setUp();
    const abort = new AbortController();
    let found: string | undefined;
    const first = watch.until("q", async () => found, abort.signal);
    const others = ["p", "q"].map((id) => watch.until(id, read, abort.signal));
    await rounds();
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(1);
    found = "there";
    notices.publish([change("q")]);
    expect(await first).toBe("there");
    abort.abort("why");
    const ends = await Promise.allSettled(others);
    expect(ends.map((end) => end.status === "rejected" && end.reason.cause)).toEqual(["why", "why"]);
    expect(listening()).toBe(0);
  });

  it("is no abort where looking at the signal throws: that names the option", async () => {
    const { watch, read, listening } = setUp();
    const { proxy, revoke } = Proxy.revocable(new AbortController().signal, {});
    revoke();
    await expect(watch.until("p", read, proxy)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining("options.signal"),
    });
    expect(listening()).toBe(0);
  });

  it("after the end changes nothing, and nothing listens for it", async () => {
    const { watch, state, read } = setUp();
    state.value = "done";
    const abort = new AbortController();
    expect(await watch.until("p", read, abort.signal)).toBe("done");
    expect(getEventListeners(abort.signal, "abort")).toEqual([]);
  });
});

describe("close", () => {
  it("ends every wait with closed, and every later one", async () => {
    const { watch, read, listening } = setUp();
    const waits = Array.from({ length: 5 }, () => watch.until("p", read));
    await rounds();
    watch.close();
    const outcomes = await Promise.allSettled(waits);
    expect(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.code)).toEqual(Array(5).fill("closed"));
    await expect(watch.until("p", read)).rejects.toMatchObject({ code: "closed" });
    expect(listening()).toBe(0);
  });

  it("and an abort at once: the caller's own signal is told", async () => {
    const { watch, read } = setUp();
    const abort = new AbortController();
    const wait = watch.until("p", read, abort.signal);
    await rounds();
    abort.abort("mine");
    watch.close();
    await expect(wait).rejects.toMatchObject({ code: "aborted", cause: "mine" });
  });
});

describe("the waits of one id", () => {
  /** Waits that share a read. `answers` holds what each of them found. */
  function sharing() {
    const set = setUp();
    const answers: string[] = [];
    const wait = (id = "p", name = "value") =>
      set.watch
        .until(id, (shared) => shared(name, set.read))
        .then((found) => {
          answers.push(found);
          return found;
        });
    return { ...set, wait, answers };
  }

  it("that begin together share one read, and so do those that one notice wakes", async () => {
    const { wait, state, notices, change, answers } = sharing();
    const waits = Array.from({ length: 1_000 }, () => wait());
    await rounds();
    expect(state.reads).toBe(1);
    state.value = "came";
    notices.publish([change()]);
    await Promise.all(waits);
    expect(state.reads).toBe(2);
    expect(answers).toHaveLength(1_000);
  });

  it("share one poll and its read, whenever they began", async () => {
    const { wait, state, clock } = sharing();
    const waits: Promise<unknown>[] = [];
    for (let n = 0; n < 50; n++) {
      waits.push(wait());
      await clock.advance(10);
    }
    expect(state.reads).toBe(50);
    await clock.advance(20_000);
    expect(state.reads).toBe(54);
    state.value = "found";
    await clock.advance(5_000);
    expect(new Set(await Promise.all(waits))).toEqual(new Set(["found"]));
    expect(state.reads).toBe(55);
  });

  it("are polled as long after the last of them was woken as after they began", async () => {
    const { watch, state, read, notices, change, clock } = sharing();
    void watch.until("p", read);
    await clock.advance(1_000);
    notices.publish([change()]);
    await clock.advance(4_999);
    expect(state.reads).toBe(2);
    await clock.advance(1);
    expect(state.reads).toBe(3);
  });

  it("are polled in time where a notice woke only others", async () => {
    const { watch, state, read, notices, change, clock } = sharing();
    let wakings = 0;
    void watch.until("p", async () => void wakings++);
    void watch.until("p", read, undefined, () => false);
    await clock.advance(1_000);
    notices.publish([change()]);
    await clock.advance(3_999);
    expect([wakings, state.reads]).toEqual([2, 1]);
    await clock.advance(1);
    expect(state.reads).toBe(2);
  });

  it("are not polled while they read", async () => {
    const { watch, state, read, clock } = sharing();
    const slow = gate<undefined>();
    let reads = 0;
    void watch.until("p", read);
    void watch.until("p", () => {
      reads++;
      return slow.promise;
    });
    await clock.advance(5_000);
    expect(state.reads).toBe(2);
    slow.open(undefined);
    await rounds();
    expect(reads).toBe(1);
  });

  it("poll no more when they have ended", async () => {
    const { wait, state, clock, notices, change } = sharing();
    const ended = wait();
    await rounds();
    state.value = "done";
    notices.publish([change()]);
    await ended;
    const { reads } = state;
    await clock.advance(50_000);
    expect(state.reads).toBe(reads);
  });

  it("are woken by a notice of their id, and those of other ids read nothing", async () => {
    const { wait, state, notices, change } = sharing();
    void wait("p");
    for (let n = 0; n < 100; n++) void wait(`q${n}`);
    await rounds();
    expect(state.reads).toBe(101);
    notices.publish([change("p")]);
    await rounds();
    expect(state.reads).toBe(102);
    notices.publish([change("r"), change("q7")]);
    await rounds();
    expect(state.reads).toBe(103);
  });

  it("are woken by no notice that one says it is not concerned by", async () => {
    const { watch, state, read, notices } = sharing();
    const wait = watch.until("p", read, undefined, ({ about }) => about === "ops");
    await rounds();
    notices.publish([{ about: "input", id: "p" }]);
    await rounds();
    expect(state.reads).toBe(1);
    state.value = "ended";
    notices.publish([{ about: "ops", id: "p" }]);
    expect(await wait).toBe("ended");
  });

  it("share what they name alike, and nothing else", async () => {
    const { wait, state } = sharing();
    void wait("p", "row");
    void wait("p", "events 1");
    void wait("p", "events 1");
    void wait("p", "events 2");
    void wait("q", "row");
    await rounds();
    expect(state.reads).toBe(4);
  });

  it("take no answer that was asked for before they began", async () => {
    const { watch, state } = sharing();
    const gates = [gate<string>(), gate<string>()];
    const wait = () => watch.until("p", (shared) => shared("value", () => (gates[state.reads++] ?? gate<string>()).promise));
    const early = wait();
    await rounds();
    const late = wait();
    const later = wait();
    await rounds();
    expect(state.reads).toBe(2);
    gates[0]?.open("old");
    expect(await early).toBe("old");
    gates[1]?.open("new");
    expect(await Promise.all([late, later])).toEqual(["new", "new"]);
  });

  it("take the answer of a read that was sent after they began, however late they ask for it", async () => {
    const { watch, state } = sharing();
    const early = gate<string>();
    const late = gate<string>();
    const other = gate();
    const answers = [early, late];
    const value = () => (answers[state.reads++] as typeof early).promise;
    const before = watch.until("p", (shared) => shared("value", value));
    await rounds();
    const waits = [
      watch.until("p", (shared) => shared("value", value)),
      watch.until("p", async (shared) => {
        await other.promise;
        return shared("value", value);
      }),
    ];
    await rounds();
    early.open("old");
    expect(await before).toBe("old");
    other.open();
    await rounds();
    late.open("new");
    expect(await Promise.all(waits)).toEqual(["new", "new"]);
    expect(state.reads).toBe(2);
  });

  it("take no answer that was asked for before the notice that woke them", async () => {
    const { watch, state, notices, change } = sharing();
    const slow = gate<string | undefined>();
    const answers = [Promise.resolve(undefined), slow.promise];
    const wait = () => watch.until("p", (shared) => shared("value", () => answers[state.reads++] ?? Promise.resolve("new")));
    const sleeping = wait();
    await rounds();
    const reading = wait();
    await rounds();
    expect(state.reads).toBe(2);
    notices.publish([change()]);
    expect(await sleeping).toBe("new");
    expect(state.reads).toBe(3);
    slow.open(undefined);
    expect(await reading).toBe("new");
    expect(state.reads).toBe(4);
  });

  it("all reject with what a shared read throws, and each is told its own abort", async () => {
    const { watch, listening } = sharing();
    const broken = new Error("broken");
    const reading = gate<string>();
    const abort = new AbortController();
    const waits = [undefined, abort.signal, undefined].map((signal) =>
      watch.until("p", (shared) => shared("value", () => reading.promise), signal),
    );
    await rounds();
    reading.fail(broken);
    expect((await Promise.allSettled(waits)).map((end) => end.status === "rejected" && end.reason)).toEqual(
      Array(3).fill(broken),
    );
    const alone = watch.until("p", async () => undefined, abort.signal);
    const stays = watch.until("p", async () => undefined);
    await rounds();
    abort.abort("why");
    await expect(alone).rejects.toMatchObject({ code: "aborted", cause: "why" });
    expect(listening()).toBe(1);
    watch.close();
    await expect(stays).rejects.toMatchObject({ code: "closed" });
    expect(listening()).toBe(0);
  });
});

describe("many waits", () => {
  it("make the platform warn of nothing", async () => {
    const { watch, state, read, notices, change } = setUp();
    const warnings: unknown[] = [];
    const hear = (warning: unknown) => warnings.push(warning);
    process.on("warning", hear);
    const abort = new AbortController();
    const waits = Array.from({ length: 100 }, () => watch.until("p", read));
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
