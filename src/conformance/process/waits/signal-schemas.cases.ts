import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Kernel } from "../../../kernel/kernel.js";
import { defineProcess, typed } from "../../../kernel/process/definition/define.js";
import type { ProcessDefinition } from "../../../kernel/process/definition/definition.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch, refused, type Setup, success } from "../../kit/fixture.js";

interface Decision {
  by: string;
  day: string;
}

/** Makes a decision with a `Date` of it. */
function decision(isAsync: boolean): StandardSchemaV1<Decision, { by: string; day: Date }> {
  const verdict = (value: unknown): StandardSchemaV1.Result<{ by: string; day: Date }> => {
    const { by, day } = (value ?? {}) as Partial<Decision>;
    if (typeof by !== "string") return { issues: [{ message: "must be a name", path: ["by"] }] };
    return { value: { by, day: new Date(day ?? "") } };
  };
  const validate = (value: unknown) => (isAsync ? Promise.resolve().then(() => verdict(value)) : verdict(value));
  return { "~standard": { version: 1, vendor: "kit", validate } };
}

/** Signals that a definition declares, by schemas. */
export function signalSchemaCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const mine: Decision = { by: "me", day: "2030-01-02" };

  const running = (setup: Setup, ...processes: readonly ProcessDefinition[]) => setup.open({ loop: "inline", processes });
  const signalsOf = async ({ processes }: Kernel, id = "p") =>
    (await processes.eventsAfter(id, 0)).filter(({ eventType }) => eventType === "process.signal").map(({ payload }) => payload);
  const job = (isAsync: boolean, seen: unknown[] = []) =>
    defineProcess({
      name: "job",
      signals: { decided: decision(isAsync), ping: typed<undefined>() },
      async run({ waitForSignal }) {
        for (const key of ["one", "two"]) seen.push((await waitForSignal("decided", { key })).payload);
      },
    });

  for (const isAsync of [false, true]) {
    const how = isAsync ? "later" : "at once";

    promise(`a payload is checked by its schema where it is sent, and stored as it was given, ${how} (F-13)`, async (setup) => {
      const definition = job(isAsync);
      const sender = await setup.open({ processes: [definition] });
      const handles = {
        "the start's own handle, in a tab that does not run it": await setup.kernel.start(definition, { id: "p" }),
        "a handle by id": sender.process("p"),
        "the registry": { signal: (name: string, ...more: unknown[]) => sender.processes.signal("p", name, ...(more as [])) },
      };
      const wrong: unknown[] = [];
      for (const { signal } of Object.values(handles) as (typeof handles)["a handle by id"][]) {
        await changesNothing(setup.processes, async () => {
          const misfit = signal("decided", { by: 1 });
          wrong.push(await refusalMismatch(misfit, "invalid", 'signal "decided"', "/by must be a name"));
          wrong.push(await refusalMismatch(signal("unknown", mine), "invalid", '"unknown"', "decided, ping"));
          wrong.push(await refusalMismatch(signal("constructor"), "invalid", '"constructor"'));
        });
        await signal("decided", mine);
        await signal("ping");
      }
      expect(wrong.filter((one) => one !== undefined)).toEqual([]);
      const payloads = ((await signalsOf(setup.kernel)) as { payload: unknown }[]).map(({ payload }) => payload);
      expect(payloads).toEqual([mine, null, mine, null, mine, null]);
    });

    promise(`a wait gives what the schema makes of the stored payload, anew for each run, ${how} (F-13)`, async (setup) => {
      const seen: unknown[] = [];
      const made = { by: "me", day: new Date("2030-01-02") };
      const first = await running(setup, job(isAsync, seen));
      const handle = await first.start(job(isAsync), { id: "p" });
      await handle.signal("decided", mine);
      await setup.clock.advance(0);
      await first.close();
      const second = await running(setup, job(isAsync, seen));
      await second.processes.signal("p", "decided", mine);
      await setup.clock.advance(60_000);
      expect(await second.processes.awaitProcess("p")).toEqual(success(null));
      expect(seen).toEqual([made, made, made]);
      const steps = (await second.processes.eventsAfter("p", 0)).filter(({ eventType }) => eventType === "process.step");
      expect(steps.map(({ payload }) => (payload as { result: { payload: unknown } }).result.payload)).toEqual([mine, mine]);
    });

    promise(
      `one that does not fit where it is taken is skipped for good and told, and the next is taken, ${how} (F-13, F-14)`,
      async (setup) => {
        // This kernel knows no schema.
        await setup.kernel.start("job", { id: "p" });
        for (const payload of [1, mine, { by: 2 }, mine]) await setup.processes.signal("p", "decided", payload);
        const seen: unknown[] = [];
        const faults: unknown[] = [];
        const kernel = await running(setup, job(isAsync, seen));
        kernel.on("fault", ({ area, code, processId, message }) =>
          faults.push([area, code, processId, ["sequence 1", "sequence 3"].find((sequence) => message.includes(sequence))]),
        );
        await setup.clock.advance(60_000);
        expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
        expect(seen.length).toBe(2);
        expect(faults).toEqual([
          ["signals", "invalid", "p", "sequence 1"],
          ["signals", "invalid", "p", "sequence 3"],
        ]);
      },
    );

    promise(`two waits at once skip what does not fit once, and take two that do, ${how} (F-13, F-14)`, async (setup) => {
      let told = 0;
      const both = defineProcess({
        name: "job",
        signals: { decided: decision(isAsync) },
        run: async ({ waitForSignal }) =>
          (await Promise.all([waitForSignal("decided"), waitForSignal("decided")])).map(({ sequence }) => sequence).sort(),
      });
      const kernel = await running(setup, both);
      kernel.on("fault", () => told++);
      await kernel.start(both, { id: "p" });
      await setup.clock.advance(0);
      for (const payload of [1, mine, 2, mine]) await setup.processes.signal("p", "decided", payload);
      await setup.clock.advance(6_000);
      const output = await kernel.processes.awaitProcess("p");
      const first = (await kernel.processes.eventsAfter("p", 0)).filter(({ eventType }) => eventType === "process.signal");
      expect(output).toEqual(success([first[1]?.sequence as number, first[3]?.sequence as number]));
      expect(told).toBe(2);
    });
  }

  promise("a name that the definition does not declare is refused in its handler (F-13)", async (setup) => {
    const definition = defineProcess({
      name: "job",
      signals: { decided: decision(false) },
      run: async ({ waitForSignal }) => await refused(waitForSignal("other" as never), "invalid", '"other"', "decided"),
    });
    const kernel = await running(setup, definition);
    expect(await (await kernel.start(definition, { id: "p" })).outcome()).toEqual(success(null));
    expect((await kernel.processes.eventsAfter("p", 0)).length).toBe(1);
  });

  promise("a definition without signals takes any name and payload (F-13)", async (setup) => {
    const definition = defineProcess({
      name: "job",
      run: async ({ waitForSignal }) => (await (waitForSignal as (name: string) => Promise<{ payload: number }>)("any")).payload,
    });
    const kernel = await running(setup, definition);
    await kernel.start(definition, { id: "p" });
    await kernel.processes.signal("p", "any", 7);
    await setup.clock.advance(0);
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(7));
  });

  promise("a signal that is stored already is repeated, whatever its schema says by now (F-13)", async (setup) => {
    await setup.kernel.start("job", { id: "p" });
    await setup.processes.signal("p", "decided", 1, { signalId: "one" });
    const stricter = await setup.open({ processes: [job(false)] });
    await changesNothing(setup.processes, async () => {
      await stricter.processes.signal("p", "decided", 1, { signalId: "one" });
      await refused(stricter.processes.signal("p", "decided", 2, { signalId: "one" }), "conflict");
      await refused(stricter.processes.signal("p", "decided", 1, { signalId: "two" }), "invalid", "/by must be a name");
    });
  });

  promise(
    "what a wait took is never another one, also where its schema does not know it any more (F-13, F-15)",
    async (setup) => {
      const first = await setup.open({
        loop: "inline",
        handlers: {
          job: async ({ waitForSignal }) => {
            await waitForSignal("decided", { key: "one" });
            await waitForSignal("never");
          },
        },
      });
      await first.start("job", { id: "p" });
      await first.processes.signal("p", "decided", 1);
      await first.processes.signal("p", "decided", mine);
      await setup.clock.advance(0);
      await first.close();
      const second = await running(setup, job(false));
      await setup.clock.advance(60_000);
      const output = (await second.processes.awaitProcess("p")) as { type: string; code: string; message: string };
      expect([output.type, output.code, output.message.includes('signal "decided"')]).toEqual(["failure", "invalid", true]);
    },
  );

  promise("a schema that throws refuses where a signal is sent, and takes none where it is waited for (F-13)", async (setup) => {
    const validate = () => {
      throw new Error("out of order");
    };
    const definition = defineProcess({
      name: "job",
      signals: { go: { "~standard": { version: 1, vendor: "kit", validate } } as StandardSchemaV1 },
      run: async ({ waitForSignal }) => await refused(waitForSignal("go"), "invalid", "schema", "threw"),
    });
    await setup.kernel.start("job", { id: "p" });
    const kernel = await running(setup, definition);
    await refused(kernel.processes.signal("p", "go", 1), "invalid", "schema", "threw");
    await setup.processes.signal("p", "go", 1);
    await setup.clock.advance(60_000);
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
  });
}
