import { HoldfastError } from "../../domain/errors.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { RuntimeStore } from "../../kernel/runtime-store.js";
import {
  casesOn,
  count,
  type OpenFixture,
  outcomes,
  type Runner,
  readAll,
  refusal,
  refusalMismatch,
  refused,
  task,
} from "../kit/fixture.js";
import { noText, type Values } from "../kit/hostile.js";
import { claimOf, device, jsonBytes, login, pair, target } from "./logins.fixture.js";
import { isInPlace } from "./vault.fixture.js";

/** The stored record of login flows. */
export function flowRecordCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise(
    "a stored snapshot is replaced whole and comes back byte by byte, whatever it is (R-40)",
    async ({ kernel: { runtime } }) => {
      expect(await runtime.loadAuthOAuthFlowSnapshot()).toBe(undefined);
      for (const bytes of [
        jsonBytes({ browser: [], device: [] }),
        Uint8Array.of(0, 255, 254),
        new Uint8Array(0),
        new Uint8Array(70_000).fill(7),
      ]) {
        await runtime.persistAuthOAuthFlowSnapshot(bytes);
        expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(bytes);
      }
    },
  );

  promise("bytes are copied on the way in and out (R-4)", async ({ kernel: { runtime } }) => {
    const given = Uint8Array.of(1, 2);
    const storing = runtime.persistAuthOAuthFlowSnapshot(given);
    given[0] = 9;
    await storing;
    const read = (await runtime.loadAuthOAuthFlowSnapshot()) as Uint8Array;
    expect(read).toEqual(Uint8Array.of(1, 2));
    read[0] = 9;
    let made = new Uint8Array(0);
    await runtime.updateAuthOAuthFlowSnapshot((current) => {
      expect(current).toEqual(Uint8Array.of(1, 2));
      (current as Uint8Array)[0] = 9;
      made = Uint8Array.of(3);
      return made;
    });
    made[0] = 9;
    expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(3));
  });

  promise("the flows are one record for the whole database, apart from all others (R-5, R-173)", async ({ kernel }) => {
    const { runtime, processes, secrets } = kernel;
    const snapshot = jsonBytes({ id: "s" });
    await runtime.commitSessionSnapshot("rt:session:s", { sessionSnapshot: snapshot });
    await processes.registerProcess(task("p"));
    await secrets.put("a", "kept");
    const before = await readAll(processes);
    const { state } = await kernel.auth.beginBrowser(login);
    await kernel.auth.admitDevice(device);
    await kernel.auth.consumeBrowser(claimOf(state));
    await kernel.auth.release(target);
    expect(await readAll(processes)).toEqual(before);
    expect(await runtime.loadSessionSnapshot("rt:session:s")).toEqual(snapshot);
    expect(await runtime.loadOpsLifecycle("rt:session:s")).toBe(undefined);
    expect(await runtime.loadInputStates("rt:session:s")).toEqual([]);
    expect(await secrets.get("a")).toBe("kept");
  });

  promise("the authority key is one per durable database, and memory has none (R-7)", async ({ kernel, name, open, restart }) => {
    const keyOf = ({ runtime }: Kernel) => runtime.authAuthorityKey();
    const key = keyOf(kernel);
    if (kernel.processes.durabilityTier() === "inline") return expect(key).toBe(undefined);
    expect(key?.split(":").includes(name)).toBe(true);
    expect(keyOf(await open())).toBe(key);
    expect(keyOf(await open({ name: `${name}-other` })) === key).toBe(false);
    await restart();
    expect(keyOf(await open())).toBe(key);
  });

  promise("an update sees what is stored, and what it returns is stored (R-41)", async ({ kernel }) => {
    const seen: unknown[] = [];
    for (const next of [1, 2]) {
      await kernel.runtime.updateAuthOAuthFlowSnapshot((current) => {
        seen.push(current?.[0]);
        return Uint8Array.of(next);
      });
    }
    expect(seen).toEqual([undefined, 1]);
    expect(await kernel.runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(2));
  });

  promise("updates of one kernel queue up in the order of their calls (R-41, R-43)", async ({ kernel }) => {
    await Promise.all(count(20).map((item) => append(kernel, item)));
    expect(listIn(await kernel.runtime.loadAuthOAuthFlowSnapshot())).toEqual(count(20));
  });

  promise("two kernels that update at once both get what they append (R-41, R-43)", async ({ kernel, open }) => {
    const [one, two] = await pair(kernel, open);
    await Promise.all([append(one, "one"), append(two, "two")]);
    expect(listIn(await kernel.runtime.loadAuthOAuthFlowSnapshot()).sort()).toEqual(["one", "two"]);
  });

  promise("nothing is lost however often two kernels meet (R-43)", async ({ kernel, open }) => {
    const real = { clock: undefined };
    const [one, two] = (await isInPlace(kernel)) ? [await open(real), await open(real)] : [kernel, kernel];
    await Promise.all(count(5).flatMap((item) => [append(one, item), append(two, item + 5)]));
    expect((listIn(await kernel.runtime.loadAuthOAuthFlowSnapshot()) as number[]).sort((a, b) => a - b)).toEqual(count(10));
  });

  promise("what an update throws is thrown as it is, and nothing is stored (R-42)", async ({ kernel: { runtime } }) => {
    await runtime.persistAuthOAuthFlowSnapshot(Uint8Array.of(1));
    for (const thrown of [new HoldfastError("not-found", "gone"), new RangeError("mine"), "a text", undefined]) {
      const update = runtime.updateAuthOAuthFlowSnapshot(() => {
        throw thrown;
      });
      expect((await refusal(update)) === thrown).toBe(true);
    }
    expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(1));
    await runtime.updateAuthOAuthFlowSnapshot(() => Uint8Array.of(2));
    expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(2));
  });

  promise(
    "an update that returns a promise or no bytes is refused, and nothing is stored (R-43)",
    async ({ kernel: { runtime } }) => {
      await runtime.persistAuthOAuthFlowSnapshot(Uint8Array.of(1));
      const results: Values = {
        "a promise": Promise.resolve(Uint8Array.of(2)),
        ...noText(),
        "a text": "x",
        "a buffer": new ArrayBuffer(2),
        "another view": new Uint16Array(2),
      };
      const failing = async () => {
        throw new Error("late");
      };
      await refused(runtime.updateAuthOAuthFlowSnapshot(failing as never), "invalid", "update");
      const wrong: string[] = [];
      for (const [what, result] of Object.entries(results)) {
        const problem = await refusalMismatch(
          runtime.updateAuthOAuthFlowSnapshot(() => result as never),
          "invalid",
          "update",
        );
        if (problem !== undefined) wrong.push(`${what}: ${problem}`);
      }
      for (const [what, value] of Object.entries({ ...noText(), "a promise": Promise.resolve() })) {
        const problems = [
          what === "a function"
            ? undefined
            : await refusalMismatch(runtime.updateAuthOAuthFlowSnapshot(value as never), "invalid", "update"),
          await refusalMismatch(runtime.persistAuthOAuthFlowSnapshot(value as never), "invalid", "snapshot"),
        ];
        for (const problem of problems) if (problem !== undefined) wrong.push(`${what}: ${problem}`);
      }
      expect(wrong).toEqual([]);
      expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(1));
    },
  );

  promise("a snapshot may be as large as its limit and no larger", async ({ open }) => {
    const { runtime } = await open({ limits: { snapshotBytes: 4 } });
    await runtime.persistAuthOAuthFlowSnapshot(new Uint8Array(4));
    await refused(runtime.persistAuthOAuthFlowSnapshot(new Uint8Array(5)), "invalid", "snapshot");
    await refused(
      runtime.updateAuthOAuthFlowSnapshot(() => new Uint8Array(5)),
      "invalid",
      "update",
    );
    expect((await runtime.loadAuthOAuthFlowSnapshot())?.length).toBe(4);
  });

  promise(
    "of two kernels that claim one removal exactly one wins, and the other finds it done (R-44)",
    async ({ kernel, open }) => {
      const [one, two] = await pair(kernel, open);
      await append(kernel, "flow");
      const remove = ({ runtime }: Kernel) =>
        runtime.updateAuthOAuthFlowSnapshot((current) => {
          if (!listIn(current).includes("flow")) throw new HoldfastError("not-found", "already consumed");
          return jsonBytes([]);
        });
      const { values, codes } = await outcomes([remove(one), remove(two)]);
      expect([values.length, codes]).toEqual([1, ["not-found"]]);
    },
  );
}

const listIn = (bytes: Uint8Array | undefined) => (bytes ? (JSON.parse(new TextDecoder().decode(bytes)) as unknown[]) : []);

const append = ({ runtime }: { runtime: RuntimeStore }, item: unknown) =>
  runtime.updateAuthOAuthFlowSnapshot((current) => jsonBytes([...listIn(current), item]));
