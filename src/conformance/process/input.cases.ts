import type { JsonValue } from "../../domain/json.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch, refused, SCOPES, success, task } from "../kit/fixture.js";
import { FIELDS, type Field } from "./input.fields.js";

/** Bad input is refused by the name of its field, and nothing is stored. */
export function inputCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);

  async function fill(processes: ProcessRegistry): Promise<void> {
    for (const id of ["p", "q"]) await processes.registerProcess(task(id, { eventTypes: [{ name: "note" }] }));
    await processes.grantHandle(SCOPES.one, "p", {});
    await processes.appendEvent("p", { eventType: "note", payload: 1 });
  }

  for (const [method, fields] of Object.entries<Field[]>(FIELDS)) {
    for (const [field, values, call] of fields) {
      promise(`${method} refuses what cannot be its ${field}, by that name, and stores nothing`, async ({ processes }) => {
        await fill(processes);
        const wrong: string[] = [];
        await changesNothing(processes, async () => {
          for (const [name, value] of Object.entries(values())) {
            const problem = await refusalMismatch(call(processes, value as never), "invalid", field);
            if (problem !== undefined) wrong.push(`${name}: ${problem}`);
          }
          expect(wrong).toEqual([]);
        });
      });
    }
  }

  const payloads = async (processes: ProcessRegistry) => (await processes.eventsAfter("p", 1)).map(({ payload }) => payload);
  const note = (processes: ProcessRegistry, payload: unknown) =>
    processes.appendEvent("p", { eventType: "note", payload: payload as JsonValue });

  promise("any JSON value is a payload and comes back as it was", async ({ processes }) => {
    await fill(processes);
    const values: JsonValue[] = [
      null,
      true,
      0,
      -1.5,
      5e-324,
      1.7976931348623157e308,
      2 ** 53,
      "",
      "\u0000\u2028\ud83d\ude00",
      [],
      {},
      [[], {}],
      { "": { " ": [null] } },
    ];
    const names: JsonValue[] = [
      { constructor: 1, toString: null, hasOwnProperty: [], length: 3, valueOf: "x", "10": 1, "9": 2 },
      ["__proto__"],
    ];
    for (const value of [...values, ...names]) await note(processes, value);
    expect(await payloads(processes)).toEqual([...values, ...names]);
  });

  promise("-0 is stored as 0, an object without a prototype as a plain one", async ({ processes }) => {
    await fill(processes);
    await note(processes, [-0, { deep: -0 }]);
    await note(processes, Object.assign(Object.create(null), { a: 1 }));
    const [zeros, plain] = (await payloads(processes)) as [[number, { deep: number }], object];
    expect([Object.is(zeros[0], 0), Object.is(zeros[1].deep, 0)]).toEqual([true, true]);
    expect([plain, Object.getPrototypeOf(plain) === Object.prototype]).toEqual([{ a: 1 }, true]);
  });

  promise("a refused __proto__ has not touched any object", async ({ processes }) => {
    await fill(processes);
    await refused(note(processes, JSON.parse('{"__proto__":{"polluted":true}}')), "invalid", "__proto__");
    expect(({} as { polluted?: unknown }).polluted).toBe(undefined);
  });

  promise("the path of a bad value is told", async ({ processes }) => {
    await fill(processes);
    await refused(note(processes, { list: [1, { deep: Number.NaN }] }), "invalid", "request.payload/list/1/deep");
    await refused(note(processes, { a: [undefined] }), "invalid", "request.payload/a/0");
  });

  promise("every member is read once: what was checked is what is stored", async ({ processes }) => {
    await fill(processes);
    const changing = (first: unknown, later: unknown) => {
      let reads = 0;
      return { enumerable: true, get: () => (reads++ === 0 ? first : later) };
    };
    await note(processes, Object.defineProperty({}, "a", changing(1, Number.NaN)));
    expect(await payloads(processes)).toEqual([{ a: 1 }]);
    const request = Object.defineProperties(
      {},
      { eventType: changing("note", "undeclared"), payload: changing("first", undefined) },
    );
    expect((await processes.appendEvent("p", request as never)).event.payload).toBe("first");
    const registration = Object.defineProperties(
      {},
      { id: changing("once", ""), input: changing({ type: "external", metadata: 1 }, null) },
    );
    expect((await processes.registerProcess(registration as never)).id).toBe("once");
    expect((await processes.getProcess("once"))?.input).toEqual({ type: "external", metadata: 1 });
  });

  promise("an id may be as long as its limit, in UTF-16 units, and no longer", async ({ processes }) => {
    for (const id of ["x".repeat(512), "\u{1f600}".repeat(256)]) {
      await processes.registerProcess(task(id));
      await processes.claimProcessLease(id, id, 1000);
      await processes.grantHandle({ sessionId: id, agentFrameId: id }, id, { kind: id, label: id });
      await processes.appendEvent(id, { eventType: "process.cancel_requested", payload: 1, replayKey: id });
      await processes.completeProcess(id, success(1));
      expect((await processes.eventsAfter(id, 0)).length).toBe(2);
    }
    await refused(processes.registerProcess(task("\u{1f600}".repeat(257))), "invalid", "id");
    expect((await processes.list()).length).toBe(2);
  });

  promise("a payload may be as large as its limit, in bytes of canonical JSON, and no larger", async ({ open }) => {
    const { processes } = await open({ limits: { payloadBytes: 20 } });
    await processes.registerProcess(task("p", { eventTypes: [{ name: "note" }] }));
    const edges: [fits: JsonValue, larger: JsonValue][] = [
      ["x".repeat(18), "x".repeat(19)],
      ["é".repeat(9), "é".repeat(10)],
      ["\u{1f600}".repeat(4), "\u{1f600}".repeat(5)],
      ['"'.repeat(9), '"'.repeat(10)],
      [
        { a: [1, 2], b: "xx" },
        { a: [1, 2], b: "xxx" },
      ],
    ];
    for (const [fits, larger] of edges) {
      await note(processes, fits);
      await refused(note(processes, larger), "invalid", "request.payload");
    }
    expect((await processes.eventsAfter("p", 0)).map(({ payload }) => payload)).toEqual(edges.map(([fits]) => fits));
  });

  promise("a payload of the largest size is stored whole", async ({ processes }) => {
    await fill(processes);
    const large = "x".repeat(1_048_574);
    await note(processes, large);
    expect((await payloads(processes))[0] === large).toBe(true);
  });

  promise("a payload may be as deep as its limit and no deeper", async ({ processes }) => {
    await fill(processes);
    const nested = (levels: number): JsonValue => (levels === 0 ? "bottom" : [nested(levels - 1)]);
    await note(processes, nested(64));
    await refused(note(processes, nested(65)), "invalid", "request.payload");
    expect(await payloads(processes)).toEqual([nested(64)]);
  });
}
