import { afterEach, describe, expect, it } from "vitest";
import { createKernel, defineProcess, type ProcessHandler, type ProcessHandlerWithTerms } from "../../../src/index.js";
import { memoryStorage } from "../../../src/memory.js";
import { bench, closeBenches } from "../hosts.js";
import { rounds } from "../rounds.js";

afterEach(closeBenches);

/** A kernel whose one handler has run as far as it comes without the clock. */
async function running(job: ProcessHandler) {
  const host = await bench({ handlers: { job } });
  const handle = await host.kernel.start("job", { id: "p" });
  await rounds();
  return { ...host, handle, processes: host.kernel.processes };
}

describe("A policy of which only attempts are given", () => {
  it("pauses for a second, then for two, at most for a minute, a fifth more or less (F-1)", async () => {
    const { clock, processes } = await running(async ({ step }) => {
      const no = () => Promise.reject(new Error("no"));
      const short = step("short", no, { retry: { attempts: 3 } });
      await Promise.all([short, step("long", no, { retry: { attempts: 3, backoffMs: 3_600_000 } })]);
    });
    const pauses = async () =>
      (await processes.eventsAfter("p", 0)).map(({ payload, occurredAtMs }) => {
        const { key, attempt, retryAtMs } = payload as { key: string; attempt: number; retryAtMs: number };
        return { key, attempt, pauseMs: retryAtMs - occurredAtMs };
      });
    const [short, long] = await pauses();
    await clock.advance(short?.pauseMs ?? 0);
    await rounds();
    const [, , second, ...others] = await pauses();
    expect(others).toEqual([]);
    expect([short, long, second]).toMatchObject([
      { key: "short", attempt: 1 },
      { key: "long", attempt: 1 },
      { key: "short", attempt: 2 },
    ]);
    const shares = [1_000, 60_000, 2_000].map((ms, n) => ([short, long, second][n]?.pauseMs ?? 0) / ms);
    expect(shares.filter((share) => !(share >= 0.8 && share <= 1.2))).toEqual([]);
  });
});

describe("What a handler and a definition declare", () => {
  const opening = (terms: Omit<ProcessHandlerWithTerms, "run">) => {
    const kept = { storage: memoryStorage(), loop: "off", channel: false, locks: false, log: false } as const;
    return createKernel({ name: "terms", ...kept, handlers: { job: { run() {}, ...terms } } });
  };

  it.each([-1, 1.5, Number.NaN])("is refused with a suspendAfterMs of %d, by name (F-18)", async (suspendAfterMs) => {
    const refusal = (field: string) => ({ code: "invalid", message: `${field}.suspendAfterMs must be a whole number from 0 up` });
    await expect(opening({ suspendAfterMs })).rejects.toMatchObject(refusal("handlers.job"));
    expect(() => defineProcess({ name: "job", run() {}, suspendAfterMs })).toThrow(
      expect.objectContaining(refusal("definition")),
    );
  });

  it("may be the least and the most that its rules name (F-6, F-7, F-18)", async () => {
    for (const terms of [
      { suspendAfterMs: 0, timeoutMs: 1, retry: { attempts: 1, backoffMs: 0, factor: 1, maxBackoffMs: 0, jitter: 0 } },
      { suspendAfterMs: Number.POSITIVE_INFINITY, timeoutMs: 2 ** 31 + 1, retry: { attempts: 1_000, jitter: 1 } },
    ]) {
      await (await opening(terms)).close();
    }
  });
});

describe("An event of holdfast's own", () => {
  it("that is stored is the answer to an app that repeats it, and with another payload a conflict (F-13, P-46)", async () => {
    const { processes, handle } = await running(async ({ step, sleep }) => {
      await step("load", () => 1);
      await sleep("rest", 1_000_000);
    });
    await handle.signal("go", 1, { signalId: "s" });
    const stored = await processes.eventsAfter("p", 0);
    expect(stored.map(({ eventType }) => eventType)).toEqual(["process.step", "process.waiting", "process.signal"]);
    for (const event of stored) {
      const { eventType, payload, invocation } = event;
      const again = { eventType, payload, replayKey: invocation.replayKey ?? "" };
      expect((await processes.appendEvent("p", again)).event).toEqual(event);
      await expect(processes.appendEvent("p", { ...again, payload: null })).rejects.toMatchObject({ code: "conflict" });
    }
    expect(await processes.eventsAfter("p", 0)).toEqual(stored);
  });
});
