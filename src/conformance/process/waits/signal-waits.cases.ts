import type { Kernel } from "../../../kernel/kernel.js";
import type { ProcessContext, ProcessHandler } from "../../../kernel/process/context/context.js";
import { casesOn, count, type OpenFixture, type Runner, refused, type Setup, success } from "../../kit/fixture.js";

/** Waits of handlers for signals. */
export function signalWaitCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const host = (setup: Setup, job: ProcessHandler) => setup.open({ loop: "inline", handlers: { job } });
  const eventsOf = async ({ processes }: Kernel) =>
    (await processes.eventsAfter("p", 0)).map(({ eventType, payload }) => [eventType, payload]);
  const waitingOf = async ({ processes }: Kernel) => (await processes.getProcess("p"))?.waiting ?? [];
  const settled = async (kernel: Kernel, { clock }: Setup, ms = 0) => {
    await clock.advance(ms);
    const status = (await kernel.processes.getProcess("p"))?.status;
    return status?.state === "running" ? undefined : status?.awaitOutput;
  };

  promise(
    "a wait stores that it waits, takes the signal that comes, and stores both in one write (F-14, F-15, F-17)",
    async (setup) => {
      const { clock } = setup;
      const kernel = await host(setup, async ({ waitForSignal }) => ({ ...(await waitForSignal("go", { key: "approval" })) }));
      const handle = await kernel.start("job", { id: "p" });
      expect(await settled(kernel, setup)).toBe(undefined);
      const begun = ["process.waiting", { key: "approval", kind: "signal", name: "go" }];
      expect(await eventsOf(kernel)).toEqual([begun]);
      expect(await waitingOf(kernel)).toEqual([{ key: "approval", kind: "signal", name: "go", sinceMs: clock.now() }]);
      await handle.signal("stop", 0, { signalId: "zero" });
      await handle.signal("go", { by: "me" }, { signalId: "one" });
      const received = { payload: { by: "me" }, signalId: "one", sequence: 3 };
      expect(await settled(kernel, setup)).toEqual(success(received));
      expect(await eventsOf(kernel)).toEqual([
        begun,
        ["process.signal", { name: "stop", signalId: "zero", payload: 0 }],
        ["process.signal", { name: "go", signalId: "one", payload: { by: "me" } }],
        ["process.step", { key: "approval", result: received }],
        ["process.completed", { awaitOutput: success(received) }],
      ]);
      expect(await waitingOf(kernel)).toEqual([]);
    },
  );

  promise("a signal that was sent before the wait is taken at once, and the oldest first (F-14)", async (setup) => {
    await setup.processes.registerProcess({ id: "p", input: { type: "task", name: "job" } });
    for (const n of count(3)) await setup.processes.signal("p", "go", n);
    await setup.processes.signal("p", "other", 0);
    const kernel = await host(setup, async ({ waitForSignal }) => {
      const taken: unknown[] = [];
      for (const _ of count(3)) taken.push((await waitForSignal("go")).payload);
      return taken as number[];
    });
    expect(await settled(kernel, setup, 60_000)).toEqual(success([1, 2, 3]));
    const types = (await eventsOf(kernel)).map(([type]) => type);
    expect(types.includes("process.waiting")).toBe(false);
  });

  promise("two waits at once take two signals, and two of one key share one (F-14)", async (setup) => {
    const kernel = await host(setup, async ({ waitForSignal }) => {
      const waits = [
        waitForSignal("go"),
        waitForSignal("go", { key: "k" }),
        waitForSignal("go", { key: "k" }),
        waitForSignal("go"),
      ];
      return (await Promise.all(waits)).map(({ signalId }) => signalId);
    });
    const handle = await kernel.start("job", { id: "p" });
    for (const id of ["a", "b", "c"]) {
      await setup.clock.advance(0);
      await handle.signal("go", null, { signalId: id });
    }
    const output = await handle.outcome();
    const taken = output.type === "success" ? (output.value as string[]) : [];
    expect(taken[1]).toBe(taken[2]);
    expect([...new Set(taken)].sort()).toEqual(["a", "b", "c"]);
  });

  promise(
    "the same key answers the same for ever, and waits without a key are counted for each name (F-14, F-15)",
    async (setup) => {
      const kernel = await host(setup, async ({ waitForSignal, sleep, step }) => {
        const taken: unknown[] = [];
        const take = async (name: string, key?: string) =>
          void taken.push((await waitForSignal(name, key === undefined ? {} : { key })).payload);
        await take("a");
        await take("b");
        await take("a");
        await take("a", ":1:a");
        await take("a", "::1:a");
        await take("b", "k");
        await take("b", "k");
        await step("k", () => 0);
        await sleep("k", 0);
        return taken as number[];
      });
      const handle = await kernel.start("job", { id: "p" });
      for (const n of count(4)) await handle.signal("a", n);
      for (const n of count(3)) await handle.signal("b", 10 + n);
      expect(await settled(kernel, setup, 1_000)).toEqual(success([1, 11, 2, 3, 4, 12, 12]));
    },
  );

  promise(
    "a later owner gets what each wait took before, and goes on with those that took nothing (F-14, F-17)",
    async (setup) => {
      const job: ProcessHandler = async ({ waitForSignal }) => {
        const first = await waitForSignal("go");
        const second = await waitForSignal("go");
        return [first.payload, second.payload];
      };
      const first = await host(setup, job);
      await first.start("job", { id: "p" });
      await first.processes.signal("p", "go", 1);
      await setup.clock.advance(0);
      const waiting = await waitingOf(first);
      expect(waiting.map(({ kind, name }) => [kind, name])).toEqual([["signal", "go"]]);
      await first.close();
      // No host has it, and it is listed all the same.
      expect(await waitingOf(setup.kernel)).toEqual(waiting);
      await setup.processes.signal("p", "go", 2);
      const second = await host(setup, job);
      expect(await settled(second, setup, 60_000)).toEqual(success([1, 2]));
      expect((await eventsOf(second)).map(([type]) => type)).toEqual([
        "process.signal",
        "process.step",
        "process.waiting",
        "process.signal",
        "process.step",
        "process.completed",
      ]);
    },
  );

  promise("a later owner that asks for another name under the key of a wait waits for that one (F-14, F-17)", async (setup) => {
    let name = "first";
    const job: ProcessHandler = async ({ waitForSignal }) => (await waitForSignal(name, { key: "k" })).payload;
    const first = await host(setup, job);
    await first.start("job", { id: "p" });
    await setup.clock.advance(0);
    await first.close();
    name = "second";
    const second = await host(setup, job);
    await setup.clock.advance(1_000);
    expect((await waitingOf(second)).map((wait) => [wait.key, wait.name])).toEqual([["k", "second"]]);
    await second.processes.signal("p", "first", 1);
    await second.processes.signal("p", "second", 2);
    expect(await settled(second, setup)).toEqual(success(2));
  });

  promise("without a signal a wait ends with undefined at its timeout, for ever under its key (F-15)", async (setup) => {
    const { clock } = setup;
    let more = false;
    const job: ProcessHandler = async ({ waitForSignal, emit }) => {
      const answers = [await waitForSignal("go", { key: "k", timeoutMs: 5_000 })];
      if (more) {
        answers.push(await waitForSignal("go", { key: "k" }));
        return answers.map((answer) => answer === undefined);
      }
      await emit("note", null);
      return await new Promise<never>(() => {});
    };
    const first = await setup.open({ loop: "inline", handlers: { job } });
    const begunAt = clock.now();
    await first.start({ id: "p", input: { type: "task", name: "job" }, eventTypes: [{ name: "note" }] });
    await clock.advance(4_999);
    const dueAtMs = begunAt + 5_000;
    expect(await waitingOf(first)).toEqual([{ key: "k", kind: "signal", name: "go", sinceMs: begunAt, dueAtMs }]);
    await clock.advance(1_001);
    expect(await waitingOf(first)).toEqual([]);
    expect((await eventsOf(first)).slice(0, 2)).toEqual([
      ["process.waiting", { key: "k", kind: "signal", name: "go", dueAtMs }],
      ["process.step", { key: "k", result: null }],
    ]);
    await first.close();
    more = true;
    await setup.processes.signal("p", "go", 1);
    const second = await host(setup, job);
    expect(await settled(second, setup, 60_000)).toEqual(success([true, true]));
  });

  promise("a timeout of 0 takes what is there, and waits for nothing (F-15)", async (setup) => {
    await setup.processes.registerProcess({ id: "p", input: { type: "task", name: "job" } });
    await setup.processes.signal("p", "go", 1);
    const kernel = await host(setup, async ({ waitForSignal }) => {
      const first = await waitForSignal("go", { timeoutMs: 0 });
      const second = await waitForSignal("go", { timeoutMs: 0 });
      return [first?.payload ?? null, second === undefined];
    });
    expect(await settled(kernel, setup, 60_000)).toEqual(success([1, true]));
    expect((await eventsOf(kernel)).map(([type]) => type).includes("process.waiting")).toBe(false);
  });

  promise("a signal that is stored before the timeout is decided wins, whatever the clock says (F-15)", async (setup) => {
    const { clock } = setup;
    const job: ProcessHandler = async ({ waitForSignal }) =>
      (await waitForSignal("go", { timeoutMs: 5_000 }))?.payload ?? "timeout";
    const first = await host(setup, job);
    await first.start("job", { id: "p" });
    await clock.advance(1_000);
    await first.close();
    // Its time is long over, but no host was there to say so.
    await clock.advance(60_000);
    await setup.processes.signal("p", "go", "late");
    const second = await host(setup, job);
    expect(await settled(second, setup, 60_000)).toEqual(success("late"));
  });

  promise("the deadline is that of the first beginning, whatever a later owner asks for (F-15)", async (setup) => {
    const { clock } = setup;
    let timeoutMs = 60_000;
    const job: ProcessHandler = async ({ waitForSignal }) =>
      (await waitForSignal("go", { timeoutMs })) === undefined && clock.now();
    const first = await host(setup, job);
    const dueAtMs = clock.now() + timeoutMs;
    await first.start("job", { id: "p" });
    await clock.advance(1_000);
    await first.close();
    timeoutMs = 1;
    const second = await host(setup, job);
    await clock.advance(40_000);
    expect((await waitingOf(second)).map((wait) => wait.dueAtMs)).toEqual([dueAtMs]);
    const output = await settled(second, setup, 20_000);
    expect(output?.type === "success" && (output.value as number) >= dueAtMs).toBe(true);
  });

  promise("what is no name, key or timeout is refused by its name, and nothing is stored (F-14, F-15)", async (setup) => {
    const calls: [field: string, call: (context: ProcessContext) => Promise<unknown>][] = [
      ["name", ({ waitForSignal }) => waitForSignal("")],
      ["name", ({ waitForSignal }) => waitForSignal(7 as never)],
      ["options.key", ({ waitForSignal }) => waitForSignal("go", { key: "" })],
      ["options.key", ({ waitForSignal }) => waitForSignal("go", { key: "\ud800" })],
      ...[-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "1", 11 * 365 * 24 * 3_600_000].map(
        (timeoutMs): [string, (context: ProcessContext) => Promise<unknown>] => [
          "options.timeoutMs",
          ({ waitForSignal }) => waitForSignal("go", { timeoutMs: timeoutMs as number }),
        ],
      ),
      ["did you mean timeoutMs?", ({ waitForSignal }) => waitForSignal("go", { timeout: 1 } as never)],
    ];
    const told: unknown[] = [];
    const kernel = await host(setup, async (context) => {
      for (const [field, call] of calls) await refused(call(context), "invalid", field).catch((wrong) => told.push(wrong));
    });
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    expect([told, (await eventsOf(kernel)).length]).toEqual([[], 1]);
  });

  promise("what a run waits for is listed as it was named, whatever the text (F-17)", async (setup) => {
    const names = ["__proto__", "a:b%", ":x", "::y", "🙂"];
    const kernel = await host(setup, async ({ waitForSignal }) => {
      await Promise.all(names.map((name) => waitForSignal(name, { key: name })));
    });
    const handle = await kernel.start("job", { id: "p" });
    await setup.clock.advance(0);
    const listed = async () => (await waitingOf(kernel)).map(({ key, name }) => [key, name]);
    expect(await listed()).toEqual([...names].sort().map((name) => [name, name]));
    for (const name of names) await handle.signal(name);
    expect(await settled(kernel, setup)).toEqual(success(null));
    expect(await listed()).toEqual([]);
  });

  promise("a cancel request ends a wait and a sleep with the reason of the handler's signal (F-8, F-14)", async (setup) => {
    for (const wait of ["waitForSignal", "sleep"] as const) {
      const kernel = await host(setup, ({ waitForSignal, sleep }) =>
        wait === "sleep" ? sleep("k", 60_000) : waitForSignal("go"),
      );
      const handle = await kernel.start("job", { id: wait });
      await setup.clock.advance(0);
      await handle.cancel("enough");
      await setup.clock.advance(0);
      expect((await handle.record())?.status).toEqual({
        state: "cancelled",
        awaitOutput: { type: "cancelled", message: "enough" },
      });
      await kernel.close();
    }
  });

  promise("a handler may catch the cancel request that ended its wait, and end otherwise (F-8, F-14)", async (setup) => {
    const kernel = await host(setup, async ({ waitForSignal, sleep, step, signal }) => {
      const ended = await waitForSignal("go").catch((error: unknown) => error === signal.reason);
      const again = await sleep("k", 60_000).catch((error: unknown) => error === signal.reason);
      return [ended, again, await step("clean up", () => "done")];
    });
    const handle = await kernel.start("job", { id: "p" });
    await setup.clock.advance(0);
    await handle.cancel("enough");
    expect(await settled(kernel, setup)).toEqual(success([true, true, "done"]));
    expect(await waitingOf(kernel)).toEqual([]);
  });
}
