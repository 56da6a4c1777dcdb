import type { StandardSchemaV1 } from "@standard-schema/spec";
import { isHoldfastError } from "../../domain/errors.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { KernelOptions } from "../../kernel/options.js";
import { defineProcess, typed } from "../../kernel/process/definition/define.js";
import type { ProcessDefinition } from "../../kernel/process/definition/definition.js";
import type { ProcessHandle } from "../../kernel/process/handle.js";
import {
  casesOn,
  type OpenFixture,
  type Runner,
  refusal,
  refusalMismatch,
  refused,
  type Setup,
  success,
} from "../kit/fixture.js";

interface Trip {
  to: string;
  /** A date, as "2030-01-02". */
  day: string;
}

/** A schema as a library would make it: `make` gives the value, or the text of its one issue. */
function schema<In, Out>(path: string, make: (value: In) => { made: Out } | string, isAsync = false): StandardSchemaV1<In, Out> {
  const verdict = (value: unknown): StandardSchemaV1.Result<Out> => {
    const made = make(value as In);
    return typeof made === "string" ? { issues: [{ message: made, path: [path] }] } : { value: made.made };
  };
  const validate = (value: unknown) => (isAsync ? Promise.resolve().then(() => verdict(value)) : verdict(value));
  return { "~standard": { version: 1, vendor: "kit", validate } };
}

/** Makes a trip with a `Date` of it. A trip has a place, and spaces around its name do not count. */
const trip = (isAsync = false) =>
  schema<Trip, { to: string; day: Date }>(
    "to",
    (value) =>
      typeof value?.to === "string" && value.to.trim() !== ""
        ? { made: { to: value.to.trim(), day: new Date(value.day) } }
        : "must be a place",
    isAsync,
  );
const amount = (isAsync = false) =>
  schema<number, number>("", (value) => (typeof value === "number" ? { made: value * 100 } : "must be a number"), isAsync);

/** Definitions of processes, starts by them and by name, and the handles that such starts give. */
export function definitionCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const paris: Trip = { to: "Paris", day: "2030-01-02" };

  const running = (setup: Setup, ...processes: readonly ProcessDefinition[]) => setup.open({ loop: "inline", processes });
  const settled = async (setup: Setup, handle: ProcessHandle<unknown, unknown, unknown>) => {
    await setup.clock.advance(1_000);
    return await handle.outcome();
  };
  const appEvents = async (kernel: Kernel, id: string) =>
    (await kernel.processes.eventsAfter(id, 0)).filter(({ eventType }) => !eventType.startsWith("process."));

  promise("a start by definition or name registers a task with the input as it was given (A-7)", async ({ kernel }) => {
    const travel = defineProcess({ name: "travel", input: trip(), events: { booked: typed<number>() }, run: () => {} });
    const none = defineProcess({ name: "none", run: () => {} });
    const given = { to: "  Paris ", day: "2030-01-02" };
    const records = await Promise.all(
      [
        kernel.start(travel, { id: "a", input: given }),
        kernel.start(none),
        kernel.start("travel", { input: given }),
        kernel.start("none", {}),
      ].map(async (started) => (await started).record()),
    );
    expect(records.map((record) => record?.input)).toEqual([
      { type: "task", name: "travel", args: given },
      { type: "task", name: "none" },
      { type: "task", name: "travel", args: given },
      { type: "task", name: "none" },
    ]);
    const declared = records.map((record) => record?.eventTypes.filter(({ name }) => !name.startsWith("process.")));
    // This kernel has no definition of the name.
    expect(declared).toEqual([[{ name: "booked" }], [], [], []]);
  });

  promise("a start by name has the schemas of this kernel's definition of it (A-7)", async (setup) => {
    const travel = defineProcess({ name: "travel", input: trip(), events: { booked: typed<number>() }, run: () => {} });
    const kernel = await setup.open({ processes: [travel] });
    await refused(kernel.start("travel", { input: { to: "" } }), "invalid", "options.input", "/to must be a place");
    const record = await (await kernel.start("travel", { input: paris })).record();
    expect(record?.eventTypes[0]).toEqual({ name: "booked" });
  });

  for (const isAsync of [false, true]) {
    promise(
      `a second start is the same if the schema makes the same of both inputs, ${isAsync ? "later" : "at once"} (A-7)`,
      async ({ kernel, processes, open: openMore }) => {
        const travel = defineProcess({ name: "travel", input: trip(isAsync), run: () => {} });
        const other = defineProcess({ name: "other", input: trip(isAsync), run: () => {} });
        const more = defineProcess({ name: "travel", input: trip(isAsync), events: { booked: typed() }, run: () => {} });
        const first = await (await kernel.start(travel, { id: "p", input: paris })).record();
        const again = { id: "p", input: { ...paris, to: " Paris" }, grant: { scope: { sessionId: "one" } } };
        for (const definition of [travel, more]) {
          expect(await (await kernel.start(definition, again)).record()).toEqual(first);
        }
        expect((await processes.handleGrantsForProcess("p")).length).toBe(1);
        const second = await openMore({ processes: [travel] });
        expect(await (await second.start("travel", { id: "p", input: again.input })).record()).toEqual(first);
        await changesNothing(processes, async () => {
          for (const input of [
            { ...paris, to: "Rome" },
            { ...paris, day: "2030-01-03" },
          ])
            await refused(kernel.start(travel, { id: "p", input }), "conflict", "registration hash conflict");
          await refused(kernel.start(other, { id: "p", input: paris }), "conflict", "registration hash conflict");
          // Without a definition, an input is what it is.
          await refused(kernel.start("travel", again), "conflict", "registration hash conflict");
        });
      },
    );

    promise(
      `an input that does not fit is refused before anything is written, ${isAsync ? "later" : "at once"} (A-7)`,
      async ({ kernel, processes }) => {
        const travel = defineProcess({ name: "travel", input: trip(isAsync), run: () => {} });
        const broken = defineProcess({
          name: "broken",
          input: schema<unknown, unknown>("", () => JSON.parse("{"), isAsync),
          run: () => {},
        });
        await changesNothing(processes, async () => {
          await refused(kernel.start(travel, { input: { to: "", day: "" } }), "invalid", "options.input", "/to must be a place");
          await refused(kernel.start(travel, {} as never), "invalid", "options.input", "/to must be a place");
          await refused(kernel.start(travel, { input: new Date(0) as never }), "invalid", "options.input");
          await refused(kernel.start(travel, { input: paris, inptu: 1 } as never), "invalid", "inptu");
          await refused(kernel.start(travel, { input: paris, zz: 1 } as never), "invalid", "zz");
          await refused(kernel.start(broken, { input: 1 }), "invalid", "the schema of options.input threw");
          await refused(kernel.start(""), "invalid", "name");
        });
      },
    );

    promise(
      `a handler gets what the schema makes of the stored input, anew for each run, ${isAsync ? "later" : "at once"} (A-8)`,
      async (setup) => {
        const seen: unknown[] = [];
        const travel = defineProcess({
          name: "travel",
          input: trip(isAsync),
          run({ args, input }) {
            seen.push(args, input);
            args.day.setTime(0);
          },
        });
        const kernel = await running(setup, travel);
        for (const id of ["a", "b"]) await settled(setup, await kernel.start(travel, { id, input: paris }));
        const made = { to: "Paris", day: new Date(0) };
        const stored = { type: "task", name: "travel", args: paris };
        expect(seen).toEqual([made, stored, made, stored]);
        expect((await kernel.processes.getProcess("a"))?.input as never).toEqual(stored);
      },
    );

    promise(
      `a stored input that does not fit ends the process as failed, and no handler sees it, ${isAsync ? "later" : "at once"} (A-8)`,
      async (setup) => {
        let ran = 0;
        const travel = defineProcess({ name: "travel", input: trip(isAsync), run: () => ++ran });
        const kernel = await running(setup, travel);
        const handle = await kernel.start({ input: { type: "task", name: "travel", args: { day: "2030-01-02" } } });
        const { type, class: of, code, message } = (await settled(setup, handle)) as never as Record<string, string>;
        expect([type, of, code, message?.includes("/to must be a place"), ran]).toEqual([
          "failure",
          "execution",
          "invalid-input",
          true,
          0,
        ]);
      },
    );

    promise(
      `an event's payload is checked by its schema and stored as it was given, ${isAsync ? "later" : "at once"} (A-7)`,
      async (setup) => {
        const found: unknown[] = [];
        const pay = defineProcess({
          name: "pay",
          events: { paid: amount(isAsync), noted: typed<{ text: string }>() },
          async run({ emit }) {
            await emit("paid", 3);
            await emit("noted", { text: "so" });
            found.push(await refusalMismatch(emit("paid", "much" as never), "invalid", "paid", "must be a number"));
            found.push(await refusalMismatch(emit("unknown" as never, 1 as never), "invalid", "undeclared event type"));
            found.push(await refusalMismatch(emit("paid", Number.NaN), "invalid", "payload"));
          },
        });
        const kernel = await running(setup, pay);
        await settled(setup, await kernel.start(pay, { id: "p" }));
        expect(found).toEqual([undefined, undefined, undefined]);
        const events = await appEvents(kernel, "p");
        expect(events.map(({ eventType, payload }) => [eventType, payload])).toEqual([
          ["paid", 3],
          ["noted", { text: "so" }],
        ]);
      },
    );
  }

  promise("a definition that runs may emit what it declares, also where an older registration lacks it (A-7)", async (setup) => {
    const pay = defineProcess({ name: "pay", events: { paid: amount() }, run: async ({ emit }) => void (await emit("paid", 1)) });
    await setup.kernel.start("pay", { id: "old" });
    // Only the definition itself may, under its lease.
    const byHand = setup.processes.appendEvent("old", { eventType: "paid", payload: 1 });
    await refused(byHand, "invalid", "undeclared event type");
    const kernel = await running(setup, pay);
    expect(await settled(setup, kernel.process("old"))).toEqual(success(null));
    expect((await appEvents(kernel, "old")).map(({ payload }) => payload)).toEqual([1]);
  });

  promise("a stored event is replayed, although its schema would refuse it now (A-7)", async (setup) => {
    const emitted = (events: { paid: StandardSchemaV1<unknown> }) =>
      defineProcess({
        name: "pay",
        events,
        async run({ emit, step, attempt }) {
          await emit("paid", "much", { replayKey: "one" });
          if (attempt === 1) await step("stuck", () => new Promise(() => {}));
          return await refusalMismatch(emit("paid", "much", { replayKey: "two" }), "invalid", "paid", "must be a number");
        },
      });
    const before = await running(setup, emitted({ paid: typed<unknown>() }));
    await before.start("pay", { id: "p" });
    await setup.clock.advance(1_000);
    await before.close();
    const after = await running(setup, emitted({ paid: amount() as StandardSchemaV1<unknown> }));
    expect(await settled(setup, after.process("p"))).toEqual(success(null));
    expect((await appEvents(after, "p")).map(({ payload }) => payload)).toEqual(["much"]);
  });

  promise(
    "a schema that throws on the stored input is `conflict`, and one that throws in emit is `invalid` (A-7)",
    async (setup) => {
      const strict = schema<{ v: number }, number>("", (value) => {
        if (value.v === 1) throw new Error("too old");
        return { made: value.v };
      });
      const job = (input: StandardSchemaV1<{ v: number }, unknown>) =>
        defineProcess({
          name: "job",
          input,
          events: { noted: strict },
          run: async ({ emit }) =>
            (await refusalMismatch(emit("noted", { v: 1 }), "invalid", "the schema of payload threw")) ?? "refused",
        });
      const angry = schema<{ v: number }, unknown>("", (value) => ({
        made: {
          v: value.v,
          toJSON: () => {
            throw new Error("no");
          },
        },
      }));
      await setup.kernel.start(job(typed<{ v: number }>()), { id: "p", input: { v: 1 } });
      await changesNothing(setup.processes, async () => {
        for (const input of [strict, angry])
          await refused(setup.kernel.start(job(input), { id: "p", input: { v: 2 } }), "conflict", "registration hash conflict");
      });
      const kernel = await running(setup, job(typed<{ v: number }>()));
      expect(await settled(setup, kernel.process("p"))).toEqual(success("refused"));
    },
  );

  promise("`run` is called as a method of its definition or handler (A-8)", async (setup) => {
    class Counter {
      readonly #from = 7;
      constructor(readonly name: string) {}
      run() {
        return this.#from;
      }
    }
    const object = {
      run() {
        return this === object;
      },
    };
    const handlers = {
      object,
      own(): unknown {
        return this === handlers;
      },
    };
    const processes = [new Counter("given"), defineProcess(new Counter("defined"))];
    const kernel = await setup.open({ loop: "inline", processes, handlers });
    const started = await Promise.all(["given", "defined", "object", "own"].map((name) => kernel.start(name)));
    const ended = await Promise.all(started.map((handle) => settled(setup, handle)));
    expect(ended).toEqual([success(7), success(7), success(true), success(true)]);
  });

  promise("arguments that mean nothing are `invalid` (A-1)", async (setup) => {
    const external = { input: { type: "external" as const, metadata: null } };
    await changesNothing(setup.processes, async () => {
      await refused(
        (setup.kernel.start as (request: object, more: object) => Promise<unknown>)(external, { id: "x" }),
        "invalid",
        "id is no option of a start of a request",
      );
      const list = setup.kernel.sessions.list as (options: unknown) => Promise<unknown>;
      await refused(list({ zz: 1 }), "invalid", "zz is no option of sessions.list");
      const agent = setup.kernel.agent as (id: string, options: unknown) => Promise<unknown>;
      await refused(agent("a", { zz: 1 }), "invalid", "zz is no option of agent");
    });
    const keys = { load: async () => undefined, store: async () => {}, zz: 1 };
    await refused(setup.open({ keys }), "invalid", "keys.zz");
    const kernel = await setup.open({
      loop: "inline",
      handlers: {
        job: async ({ step }) => {
          const withOptions = step as (key: string, run: () => number, options: unknown) => Promise<number>;
          return (
            (await refusalMismatch(
              withOptions("k", () => 1, { zz: 1 }),
              "invalid",
              "zz is no option of step",
            )) ?? "refused"
          );
        },
      },
    });
    expect(await settled(setup, await kernel.start("job"))).toEqual(success("refused"));
  });

  promise("broken definitions and handlers are refused by name and rule (A-7)", async ({ open: openMore }) => {
    const run = () => {};
    const fine = { name: "job", run };
    const refusedOptions: readonly [Partial<Record<keyof KernelOptions, unknown>>, ...string[]][] = [
      [{ processes: fine }, "processes"],
      [{ processes: [fine, { ...fine }] }, "processes/1", '"job" is defined twice'],
      [{ processes: [fine], handlers: { job: run } }, "handlers.job", "processes"],
      [{ processes: [{ run }] }, "processes/0.name"],
      [{ processes: [{ name: "job" }] }, "processes/0.run"],
      [{ processes: [{ ...fine, input: {} }] }, "processes/0.input", "Standard Schema"],
      [{ processes: [{ ...fine, events: { a: 1 } }] }, "processes/0.events/a", "Standard Schema"],
      [{ processes: [{ ...fine, events: { "process.done": typed() } }] }, "processes/0.events/process.done", "holdfast's own"],
      [{ processes: [{ ...fine, events: { " ": typed() } }] }, "processes/0.events", "non-empty"],
      [{ processes: [{ ...fine, signals: { "\ud800": typed() } }] }, "processes/0.signals", "lone surrogate"],
      [{ processes: [{ ...fine, retry: { attempts: 0 } }] }, "processes/0", "retry"],
      [{ handlers: { job: 5 } }, "handlers.job"],
      [{ handlers: { job: { run: 5 } } }, "handlers.job.run"],
      [{ handlers: { job: { run, timeoutMs: 0 } } }, "handlers.job", "timeoutMs"],
    ];
    for (const [options, ...fragments] of refusedOptions) {
      await refused(openMore(options as Partial<KernelOptions>), "invalid", ...fragments);
    }
    const thrown = await refusal((async () => defineProcess({ ...fine, events: { "process.done": typed() } }))());
    expect([isHoldfastError(thrown) && thrown.code]).toEqual(["invalid"]);
  });

  promise(
    "a handler is a function, or an object that has it as `run`; without a definition it gets the stored args (A-8)",
    async (setup) => {
      const kernel = await setup.open({
        loop: "inline",
        handlers: {
          one: ({ args }) => args,
          two: { run: ({ args }) => ({ args: args ?? "none" }) },
          "tool:look": ({ args }) => args,
        },
      });
      const call = { callId: "c", toolName: "look", args: [7] };
      const handles = [
        await kernel.start("one", { input: [1] }),
        await kernel.start("two"),
        await kernel.start({ input: { type: "tool_call", call } }),
      ];
      await setup.clock.advance(1_000);
      expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual([[1], { args: "none" }, [7]]);
    },
  );

  promise("a handler starts children by definition and by name; a later owner finds the same ones (A-9)", async (setup) => {
    const child = defineProcess({ name: "child", input: trip(), run: ({ args }) => args.day.getTime() });
    const parent = defineProcess({
      name: "parent",
      async run({ start, record, step, attempt }) {
        const handles = [
          await start("defined", child, { input: { ...paris, to: attempt === 1 ? " Paris" : "Paris" } }),
          await start("named", "child", { input: paris }),
          await start("free", child, { id: "own", input: paris }),
        ];
        const wrong = await refusalMismatch(
          start("wrong", child, { input: { to: "", day: "" } }),
          "invalid",
          "/to must be a place",
        );
        if (attempt === 1) await step("stuck", () => new Promise(() => {}));
        const results = await Promise.all(handles.map((handle) => handle.result()));
        const causes = await Promise.all(handles.map(async (handle) => (await handle.record())?.provenance.causedBy));
        return {
          results,
          wrong: wrong ?? "refused",
          ids: handles.map(({ id }) => id),
          by: causes.map((by) => by?.processId === record.id),
        };
      },
    });
    const first = await running(setup, parent);
    await first.start(parent, { id: "p" });
    await setup.clock.advance(1_000);
    await first.close();
    const kernel = await running(setup, parent, child);
    const handle = kernel.process("p");
    await setup.clock.advance(5_000);
    const dayMs = Date.parse(paris.day);
    expect(await handle.result()).toEqual({
      results: [dayMs, dayMs, dayMs],
      wrong: "refused",
      ids: ["p/defined", "p/named", "own"],
      by: [true, true, true],
    });
    expect((await kernel.processes.list()).length).toBe(4);
  });

  promise(
    "result() gives the output, or rejects with how the process ended; outcome() gives either (A-10)",
    async ({ kernel, processes }) => {
      for (const id of ["good", "bad", "off"]) await kernel.start("job", { id });
      const message = "m".repeat(2_000);
      const ends = [
        success({ n: 1 }),
        { type: "failure", class: "execution", code: "broken", message },
        { type: "cancelled", message: "enough" },
      ] as const;
      const [good, bad, off] = [kernel.process("good"), kernel.process("bad"), kernel.process("off")];
      for (const [at, { id }] of [good, bad, off].entries())
        await processes.completeProcess(id, ends[at] as (typeof ends)[number]);
      expect(await good.result()).toEqual({ n: 1 });
      expect(await Promise.all([good, bad, off].map((handle) => handle.outcome()))).toEqual([...ends]);
      const failed = (await refusal(bad.result())) as { code: string; message: string; details: unknown };
      expect([failed.code, failed.message.slice(0, 3), failed.details]).toEqual([
        "failed",
        "mmm",
        { class: "execution", code: "broken", message },
      ]);
      const cancelled = (await refusal(off.result())) as { code: string; message: string };
      expect([isHoldfastError(cancelled), cancelled.code, cancelled.message]).toEqual([true, "cancelled", "enough"]);
      for (const wait of ["result", "outcome"] as const) {
        await refused(kernel.process("unknown")[wait](), "not-found");
        await refused(good[wait]({ signal: AbortSignal.abort() }), "aborted");
        await refused(good[wait]({ sginal: 1 } as never), "invalid", "sginal", wait);
      }
    },
  );

  promise(
    "in a handler, a child that failed or was cancelled is the handler's own failure if it does not catch it (A-10)",
    async (setup) => {
      const fails = defineProcess({
        name: "fails",
        run() {
          throw Object.assign(new Error("no luck"), { code: "luck" });
        },
      });
      const waits = (name: string, of: string) => defineProcess({ name, run: async ({ process }) => await process(of).result() });
      const caught = defineProcess({
        name: "caught",
        run: async ({ process }) =>
          await process("bad")
            .result()
            .catch((error: { code: string }) => error.code),
      });
      const kernel = await running(setup, fails, waits("one", "bad"), waits("two", "off"), caught);
      await kernel.start(fails, { id: "bad" });
      await kernel.start("outside", { id: "off" });
      await kernel.processes.completeProcess("off", { type: "cancelled", message: "enough" });
      const handles = [await kernel.start("one"), await kernel.start("two"), await kernel.start("caught")];
      await setup.clock.advance(5_000);
      const failure = { type: "failure", class: "execution" } as const;
      expect(await Promise.all(handles.map((handle) => handle.outcome()))).toEqual([
        { ...failure, code: "failed", message: "no luck" },
        { ...failure, code: "cancelled", message: "enough" },
        success("failed"),
      ]);
    },
  );

  promise(
    "an iteration ends with `aborted` before the next item once its signal is aborted, also within a page (A-11)",
    async (setup) => {
      const { kernel, processes } = setup;
      await kernel.start({ id: "p", input: { type: "external", metadata: null }, eventTypes: [{ name: "tick" }] });
      for (const n of [1, 2, 3]) await processes.appendEvent("p", { eventType: "tick", payload: n });
      await processes.completeProcess("p", success(null));
      await (await kernel.session("s")).submit({ inputType: "prompt", text: "hello" });
      const iterations: ((options: { signal: AbortSignal }) => AsyncIterable<unknown>)[] = [
        (options) => kernel.process("p").events(options),
        (options) => kernel.sessions.export("s", options),
      ];
      for (const iterate of iterations) {
        let found = 0;
        const abort = new AbortController();
        const follow = async () => {
          for await (const _ of iterate({ signal: abort.signal })) if (++found === 1) abort.abort("enough");
        };
        const error = (await refusal(follow())) as { code: string; cause: unknown };
        expect([error.code, error.cause, found]).toEqual(["aborted", "enough", 1]);
        const late = iterate({ signal: AbortSignal.abort("before") })
          [Symbol.asyncIterator]()
          .next();
        await refused(late, "aborted");
      }
    },
  );
}
