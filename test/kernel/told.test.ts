// What goes wrong in an app's own code: the fault that tells it, and what is logged of it.
import { afterEach, describe, expect, it, vi } from "vitest";
import { HoldfastError, type KernelOptions, type ProcessContext, type Turn } from "../../src/index.js";
import { buildTown, type Town } from "../loop/town.js";
import { bench, closeBenches, task } from "./hosts.js";
import { rounds, until } from "./rounds.js";
import { openTab, prompt } from "./session/tabs.js";

type Entry = Parameters<Exclude<KernelOptions["log"], false | undefined>>[0];

let town: Town | undefined;

afterEach(async () => {
  await closeBenches();
  await town?.close();
  town = undefined;
  vi.restoreAllMocks();
});

const boom = new Error("boom");
const throwing = () => {
  throw boom;
};

async function runs(job: (context: ProcessContext) => unknown, options: Partial<KernelOptions> = {}) {
  const entries: Entry[] = [];
  const bed = await bench({
    handlers: { job: async (context) => void (await job(context)) },
    log: (entry) => entries.push(entry),
    ...options,
  });
  const handle = await bed.kernel.start({ id: "p", ...task("job") });
  await handle.outcome();
  await rounds(20);
  return { ...bed, entries };
}

async function turns(handler: (turn: Turn) => Promise<void>) {
  town = buildTown();
  const entries: Entry[] = [];
  const tab = await openTab(town, "a", handler, { log: (entry) => entries.push(entry) });
  await tab.session.submit(prompt("i"));
  await until(() => tab.told.some(({ code }) => code === "run.completed" || code === "run.failed"), "the end of a turn");
  await rounds(20);
  return { ...tab, entries };
}

describe("a handler that throws", () => {
  it("is told with its process and the value that it threw, and is logged (A-22, A-23)", async () => {
    const { faults, entries } = await runs(throwing);
    expect(faults).toEqual([
      { area: "handler", code: "failed", message: 'handler "job" threw: boom', processId: "p", error: boom },
    ]);
    expect(entries).toEqual([{ level: "error", message: 'holdfast: process "p": handler "job" threw: boom', error: boom }]);
  });

  it("with an error of holdfast's keeps its code (A-22)", async () => {
    const { faults } = await runs(() => {
      throw new HoldfastError("conflict", "twice");
    });
    expect(faults).toMatchObject([{ area: "handler", code: "conflict" }]);
  });

  it("is told where its result cannot be stored, by its name and the path (A-22, A-3)", async () => {
    const { faults, kernel } = await runs(() => undefined, { handlers: { job: () => ({ when: new Date(0) }) as never } });
    const message = expect.stringMatching(/^the result of handler "job": \/when is a Date/);
    expect(faults).toMatchObject([{ area: "handler", code: "invalid", processId: "p", message }]);
    expect(await kernel.process("p").outcome()).toMatchObject({ type: "failure", code: "invalid", message });
  });

  it("is not told to have thrown where the stored input does not fit (A-22, A-8)", async () => {
    const validate = () => ({ issues: [{ message: "must be a number" }] });
    const job = { name: "job", input: { "~standard": { version: 1 as const, vendor: "test", validate } }, run: throwing };
    const { faults } = await runs(() => undefined, { handlers: {}, processes: [job as never] });
    const message = 'handler "job" was not called: the stored input does not fit its schema: must be a number';
    expect(faults).toMatchObject([{ area: "handler", code: "failed", message }]);
  });

  it("is not told where it was asked to cancel and obeys (A-22)", async () => {
    const bed = await bench({
      handlers: { job: ({ signal }) => new Promise((_, no) => signal.addEventListener("abort", () => no(signal.reason))) },
    });
    const handle = await bed.kernel.start(task("job"));
    await rounds();
    await handle.cancel();
    expect(await handle.outcome()).toMatchObject({ type: "cancelled" });
    expect(bed.faults).toEqual([]);
  });

  it("is not told where the storage threw in it: that is told as trouble of the run (A-22)", async () => {
    const bed = await bench({ handlers: { job: ({ step }) => step("a", () => 1) } });
    bed.probed.hooks.open = ({ tables, mode }) => {
      if (mode === "write" && tables.includes("events")) throw new HoldfastError("unavailable", "no storage today");
    };
    await bed.kernel.processes.registerProcess({ id: "p", ...task("job") });
    await until(() => bed.faults.length > 0, "a fault");
    expect(bed.faults.map(({ area }) => area)).toEqual(["runner"]);
  });
});

describe("a turn that throws", () => {
  it("is told with its session and the value that it threw, and is logged (A-22, A-23)", async () => {
    const { faults, entries } = await turns(throwing);
    expect(faults[0]).toMatchObject({ area: "turn", code: "failed", sessionId: "s", error: boom });
    expect(entries[0]).toMatchObject({ level: "error", error: boom });
    expect(entries[0]?.message).toMatch(/^holdfast: session "s": the turn handler in run ".+" threw: boom$/);
  });
});

describe("a step that is called again after its result was stored", () => {
  const loop = async ({ step }: Pick<ProcessContext, "step">) => {
    for (let at = 0; at < 4; at++) await step("constant", () => at);
    await Promise.all([step("shared", () => 1), step("shared", () => 1)]);
    await step("once", () => 1);
  };
  const message = expect.stringContaining('step "constant" was called again after its result was stored');

  it("is told once for its key in a process (A-22)", async () => {
    const { faults, entries } = await runs(loop);
    expect(faults).toEqual([{ area: "steps", code: "invalid", message, processId: "p" }]);
    expect(entries).toMatchObject([{ level: "warn", message: expect.stringContaining('process "p": step "constant"') }]);
  });

  it("is told once for its key in a turn (A-22)", async () => {
    const { faults } = await turns(loop);
    expect(faults).toEqual([{ area: "steps", code: "invalid", message, sessionId: "s" }]);
  });

  it("is not told in a later attempt, which gets what was stored (A-22)", async () => {
    let attempts = 0;
    const { faults } = await turns(async (turn) => {
      await turn.step("a", () => 1);
      if (++attempts === 1) throw boom;
    });
    await until(() => attempts > 1, "the next attempt").catch(() => undefined);
    expect(faults.filter(({ area }) => area === "steps")).toEqual([]);
  });
});

describe("a step's own call", () => {
  it.each([
    ["process", runs],
    ["turn", turns],
  ] as const)("before its run has yielded is invalid at once, in a %s (A-25)", async (_, place) => {
    let refusal: unknown;
    await place(async ({ step }) => {
      await step("a", async () => {
        await step("a", () => 1).catch((error: unknown) => {
          refusal = error;
        });
        return 1;
      });
    });
    expect(refusal).toMatchObject({ code: "invalid", message: 'step "a" was called in its own run' });
  });

  it.each(["process", "turn"])("that waits for itself is told after leaseRenewMs, in a %s (A-25)", async (place) => {
    const stuck = async ({ step }: Pick<ProcessContext, "step">) => {
      await step("a", async () => {
        await Promise.resolve();
        return await step("a", () => 1);
      });
    };
    town = buildTown();
    const told = await town.host("a", { handlers: { job: async (context) => void (await stuck(context)) } });
    if (place === "process") await told.kernel.start(task("job"));
    else {
      const session = await told.kernel.session("s");
      session.onTurn(stuck);
      await session.submit(prompt("i"));
    }
    await rounds(20);
    await town.clock.advance(10_000);
    await rounds();
    expect(told.faults).toMatchObject([{ area: "steps", message: expect.stringContaining('step "a" has waited 10000 ms') }]);
  });
});

describe("a listener that throws", () => {
  const others = () => {
    const heard: string[] = [];
    return { heard, hear: () => heard.push("heard") };
  };

  it("is told as a fault and logged, and the others are told all the same (A-24)", async () => {
    const { heard, hear } = others();
    const entries: Entry[] = [];
    const { kernel, faults } = await bench({ handlers: { job: () => 1 }, log: (entry) => entries.push(entry) });
    kernel.on("leaseClaimed", throwing);
    kernel.on("leaseClaimed", hear);
    await (await kernel.start(task("job"))).result();
    expect(heard).toEqual(["heard"]);
    const message = 'a listener of "leaseClaimed" threw: boom';
    expect(faults).toEqual([{ area: "listener", code: "failed", message, error: boom }]);
    expect(entries).toEqual([{ level: "error", message: `holdfast: ${message}`, error: boom }]);
  });

  it("is told where its promise rejects (A-24)", async () => {
    const { kernel, faults } = await bench({ handlers: { job: () => 1 } });
    kernel.on("leaseClaimed", async () => throwing());
    await (await kernel.start(task("job"))).result();
    await rounds();
    expect(faults).toMatchObject([{ area: "listener", error: boom }]);
  });

  it("and hears faults is only logged (A-24)", async () => {
    const { heard, hear } = others();
    const entries: Entry[] = [];
    const { kernel, faults } = await bench({ handlers: { job: throwing }, log: (entry) => entries.push(entry) });
    kernel.on("fault", throwing);
    kernel.on("fault", hear);
    await (await kernel.start(task("job"))).outcome();
    expect(faults.map(({ area }) => area)).toEqual(["handler"]);
    expect(heard).toEqual(["heard"]);
    expect(entries.map(({ message }) => message)).toEqual([
      expect.stringContaining('handler "job" threw: boom'),
      'holdfast: a listener of "fault" threw: boom',
    ]);
  });

  it("of a session is told with the session, and the others are told all the same (A-24)", async () => {
    const { heard, hear } = others();
    town = buildTown();
    const tab = await openTab(town, "a");
    tab.session.subscribe(throwing);
    tab.session.subscribe(hear);
    await tab.session.submit(prompt("i"));
    await until(() => heard.length > 0, "the other listener");
    expect(tab.faults[0]).toEqual({
      area: "listener",
      code: "failed",
      message: "a listener of the session threw: boom",
      sessionId: "s",
      error: boom,
    });
  });
});

describe("what is logged", () => {
  it("goes to the console by default (A-23)", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    await runs(
      async ({ step }) => {
        await step("a", () => 1);
        await step("a", () => 1);
        throw boom;
      },
      { log: undefined as never },
    );
    expect(error.mock.calls).toEqual([['holdfast: process "p": handler "job" threw: boom', boom]]);
    expect(warn.mock.calls).toEqual([[expect.stringContaining('process "p": step "a" was called again')]]);
  });

  it("is nothing where that is asked for (A-23)", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const { faults } = await runs(throwing, { log: false });
    expect(faults).toHaveLength(1);
    expect(error).not.toHaveBeenCalled();
  });

  it("does not wait for a listener, and a log that throws or rejects disturbs nothing (A-23)", async () => {
    const logs = [throwing, async () => throwing()];
    for (const log of logs) expect((await runs(throwing, { log })).faults).toMatchObject([{ area: "handler" }]);
  });

  it("has a worker that was given up (A-23)", async () => {
    const entries: Entry[] = [];
    const { faults } = await bench({ loop: "worker", log: (entry) => entries.push(entry) });
    await rounds();
    expect(faults).toMatchObject([{ area: "worker" }]);
    expect(entries).toMatchObject([{ level: "warn", message: expect.stringContaining("the loop runs inline") }]);
  });

  it("is no trouble of the storage (A-23)", async () => {
    const entries: Entry[] = [];
    const bed = await bench({ log: (entry) => entries.push(entry) });
    await rounds();
    bed.probed.hooks.open = () => {
      throw new HoldfastError("unavailable", "no storage today");
    };
    await bed.clock.advance(30_000);
    bed.probed.hooks = {};
    expect(bed.faults.length).toBeGreaterThan(0);
    expect(entries).toEqual([]);
  });

  it.each([true, "console", {}])("is refused as %s (A-23)", async (log) => {
    await expect(bench({ log: log as never })).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining("log"),
    });
  });
});
