import type { JsonValue } from "../../../domain/json.js";
import type { Kernel } from "../../../kernel/kernel.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch, refused } from "../../kit/fixture.js";
import { noCount } from "../../kit/hostile.js";
import { bytesOf, fullInput, input, PROMPT, RUNTIME, readRuntimes, receipt, snapshot, textOf } from "../runtime.fixture.js";
import { RUNTIME_FIELDS, type RuntimeField } from "./arguments.fields.js";

/** Bad input of the runtime store is refused by the name of its member, and nothing is stored. */
export function runtimeArgumentCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  async function fill({ runtime }: Kernel): Promise<void> {
    await runtime.atomicApply(RUNTIME, snapshot({ id: "s", messages: [] }), receipt({ sequence: 7 }), [
      fullInput("a"),
      input("b"),
    ]);
  }

  async function changesNothing({ runtime }: Kernel, work: () => Promise<void>): Promise<void> {
    const before = await readRuntimes(runtime);
    await work();
    expect(await readRuntimes(runtime)).toEqual(before);
  }

  for (const [method, fields] of Object.entries<RuntimeField[]>(RUNTIME_FIELDS)) {
    for (const [field, values, call] of fields) {
      promise(`${method} refuses what cannot be its ${field}, by that name, and stores nothing`, async ({ kernel }) => {
        await fill(kernel);
        await changesNothing(kernel, async () => {
          const wrong: string[] = [];
          for (const [name, value] of Object.entries(values())) {
            const problem = await refusalMismatch(call(kernel.runtime, value as never), "invalid", field);
            if (problem !== undefined) wrong.push(`${name}: ${problem}`);
          }
          expect(wrong).toEqual([]);
        });
      });
    }
  }

  promise(
    "a sequence that is no whole number from 0 up is write-failed before anything is written (R-20)",
    async ({ kernel }) => {
      await fill(kernel);
      await changesNothing(kernel, async () => {
        const wrong: string[] = [];
        for (const [name, value] of Object.entries(noCount())) {
          const bad = receipt({ sequence: value as number });
          const call = kernel.runtime.atomicApply(RUNTIME, snapshot({ id: "s" }), bad, [input("new")]);
          const problem = await refusalMismatch(call, "write-failed", "receipt.sequence");
          if (problem !== undefined) wrong.push(`${name}: ${problem}`);
        }
        expect(wrong).toEqual([]);
      });
      for (const sequence of [0, Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER]) {
        await kernel.runtime.atomicApply(RUNTIME, undefined, receipt({ sequence }), []);
        expect(await kernel.runtime.loadBoundaryReceipt(RUNTIME, "run", sequence)).toEqual(receipt({ sequence }));
      }
    },
  );

  promise(
    "bytes that are no session are write-failed, with a key and without, and nothing is stored (R-8, R-15)",
    async (setup) => {
      const { kernel } = setup;
      await fill(kernel);
      const texts = ["", " ", "{", "null", "1", '"s"', "[]", '[{"id":"s"}]', "{}", '{"id":""}', '{"id":1}', '{"id":null}'];
      const bad = [
        ...[...texts, '{"messages":[]}', '{"__proto__":{"id":"s"}}', '{"id":"s"} {"id":"s"}'].map(bytesOf),
        new Uint8Array([...bytesOf('{"id":"s'), 0xff, ...bytesOf('"}')]),
        new Uint8Array([...bytesOf('{"id":"s'), 0xed, 0xa0, 0x80, ...bytesOf('"}')]),
      ];
      await changesNothing(kernel, async () => {
        for (const sessionSnapshot of bad) {
          const delta = { sessionSnapshot };
          await refused(kernel.runtime.commitSessionSnapshot(RUNTIME, delta), "write-failed", "delta.sessionSnapshot");
          for (const key of [undefined, "s"]) {
            const call = kernel.runtime.atomicApply(RUNTIME, delta, receipt(), [input("new")], key);
            await refused(call, "write-failed", "delta.sessionSnapshot");
          }
        }
      });
    },
  );

  promise("a snapshot may be as large as its limit, in bytes, and no larger", async ({ open }) => {
    const kernel = await open({ limits: { snapshotBytes: 13 } });
    const fits = { sessionSnapshot: bytesOf('{"id":"é.."}') };
    const larger = { sessionSnapshot: bytesOf('{"id":"éé."}') };
    await refused(kernel.runtime.commitSessionSnapshot(RUNTIME, larger), "invalid", "delta.sessionSnapshot", "13");
    await refused(kernel.runtime.atomicApply(RUNTIME, larger, receipt(), []), "invalid", "delta.sessionSnapshot");
    await kernel.runtime.commitSessionSnapshot(RUNTIME, fits);
    expect(textOf(await kernel.runtime.loadSessionSnapshot(RUNTIME))).toBe('{"id":"é.."}');
  });

  promise("any JSON is a member of a persisted input, and comes back as it was", async ({ kernel }) => {
    const values: JsonValue[] = [null, true, 0, -1.5, 2 ** 53, "", "\u0000\u2028\ud83d\ude00", [], {}, [[], { "": [null] }]];
    const persistedInput = { ...PROMPT, values, constructor: 1, toString: null, length: 3 };
    await kernel.runtime.persistInputState(RUNTIME, input("a", { persistedInput }));
    expect((await kernel.runtime.loadInputState(RUNTIME, "a"))?.persistedInput).toEqual(persistedInput);
  });

  promise("members that nobody knows are not stored", async ({ kernel }) => {
    await kernel.runtime.persistInputState(RUNTIME, { ...input("a"), extra: 1 } as never);
    await kernel.runtime.atomicApply(RUNTIME, undefined, { ...receipt(), extra: 1 } as never, []);
    expect(await kernel.runtime.loadInputState(RUNTIME, "a")).toEqual(input("a"));
    expect(await kernel.runtime.loadBoundaryReceipt(RUNTIME, "run", 0)).toEqual(receipt());
  });

  promise("ids may be as long as their limit, a session's runtime id longer by what makes it one", async ({ kernel }) => {
    const { runtime } = kernel;
    const long = "x".repeat(512);
    for (const runtimeId of [long, `rt:session:${long}`]) {
      await runtime.persistInputState(runtimeId, input(long, { idempotencyKey: long }));
      await runtime.atomicApply(runtimeId, undefined, receipt({ runId: long }), []);
      expect((await runtime.loadInputState(runtimeId, long))?.inputId).toBe(long);
      expect((await runtime.loadBoundaryReceipt(runtimeId, long, 0))?.runId).toBe(long);
    }
    await refused(runtime.loadInputStates(`rt:session:${long}x`), "invalid", "runtimeId");
  });
}
