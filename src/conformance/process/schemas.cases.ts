import type { JsonValue } from "../../domain/json.js";
import type { JsonSchema } from "../../domain/process/event-type.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { casesOn, count, type OpenFixture, type Runner, refusalMismatch, refused, task } from "../kit/fixture.js";

const TREE: JsonSchema = {
  $defs: {
    node: {
      type: "object",
      required: ["children"],
      properties: { children: { type: "array", items: { $ref: "#/$defs/node" } } },
    },
  },
  $ref: "#/$defs/node",
};

const SCHEMAS: [name: string, schema: JsonSchema, fits: JsonValue[], misfits: JsonValue[]][] = [
  ["true", true, [null, 1, {}], []],
  ["false", false, [], [null, 1, {}]],
  ["an empty schema", {}, [null, 1, {}], []],
  ["a type", { type: "integer" }, [1, -3, 1.0], [1.5, "1", null, true]],
  ["a list of types", { type: ["string", "null"] }, ["a", null], [1, [], {}]],
  ["an array is no object", { type: "object" }, [{}], [[], null]],
  ["an enumeration", { enum: [1, "a", { b: [null] }] }, [1, "a", { b: [null] }], [2, "1", { b: [] }]],
  ["a constant", { const: { a: [1, 2] } }, [{ a: [1, 2] }], [{ a: [2, 1] }, 1]],
  ["a constant with its members in another order", { const: { a: 1, b: 2 } }, [{ b: 2, a: 1 }], []],
  ["bounds", { minimum: 1, exclusiveMaximum: 3 }, [1, 2.9, "text"], [0.9, 3]],
  ["other bounds", { exclusiveMinimum: 1, maximum: 3 }, [1.1, 3], [1, 3.1]],
  ["a multiple", { multipleOf: 3 }, [0, -6, "text"], [4]],
  ["a multiple that binary numbers cannot hold", { multipleOf: 0.01 }, [0.07, 19.99, 4.35], [0.005]],
  ["length in code points", { minLength: 2, maxLength: 2 }, ["ab", "\u{1f600}\u{1f600}", 5], ["a", "\u{1f600}", "abc"]],
  ["a pattern anywhere in the text", { pattern: "b+$" }, ["abb", "b", 1], ["ba", ""]],
  ["a pattern of code points", { pattern: "^.\\p{L}$" }, ["\u{1f600}é"], ["\u{1f600}", "\u{1f600}1"]],
  ["required members", { required: ["a", "b"] }, [{ a: null, b: 1, c: 2 }, "text"], [{ a: 1 }, {}]],
  ["a required member called like one of Object.prototype", { required: ["toString"] }, [{ toString: 1 }], [{}]],
  ["properties are open by default", { properties: { a: { type: "number" } } }, [{ a: 1 }, {}, { b: "x" }], [{ a: "1" }]],
  [
    "a property called like one of Object.prototype",
    { properties: { constructor: { type: "number" } } },
    [{}, { constructor: 1 }],
    [{ constructor: "x" }],
  ],
  ["closed properties", { properties: { a: true }, additionalProperties: false }, [{ a: 1 }, {}], [{ b: 1 }, { toString: 1 }]],
  [
    "a schema for the rest",
    { properties: { a: true }, additionalProperties: { type: "number" } },
    [{ a: "x", b: 1 }],
    [{ b: "x" }],
  ],
  [
    "pattern properties",
    { patternProperties: { "^n": { type: "number" } }, additionalProperties: false },
    [{ n1: 1 }],
    [{ n1: "x" }, { x: 1 }],
  ],
  ["names of properties", { propertyNames: { maxLength: 2 } }, [{ ab: 1 }], [{ abc: 1 }]],
  ["a number of properties", { minProperties: 1, maxProperties: 2 }, [{ a: 1 }, { a: 1, b: 2 }], [{}, { a: 1, b: 2, c: 3 }]],
  ["dependent members", { dependentRequired: { a: ["b"] } }, [{}, { b: 1 }, { a: 1, b: 1 }], [{ a: 1 }]],
  ["dependent schemas", { dependentSchemas: { a: { required: ["b"] } } }, [{ b: 1 }, { a: 1, b: 1 }], [{ a: 1 }]],
  ["items", { items: { type: "number" } }, [[], [1, 2], "text"], [[1, "2"]]],
  ["a tuple", { prefixItems: [{ type: "number" }, { type: "string" }], items: false }, [[], [1], [1, "a"]], [["a"], [1, "a", 2]]],
  ["a number of items", { minItems: 1, maxItems: 2 }, [[1], [1, 2]], [[], [1, 2, 3]]],
  [
    "items that differ",
    { uniqueItems: true },
    [[1, "1", { a: 1 }, { a: 2 }]],
    [
      [1, 1],
      [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    ],
  ],
  [
    "an item among them",
    { contains: { const: 1 }, minContains: 2, maxContains: 3 },
    [
      [1, 1],
      [1, 0, 1, 1],
    ],
    [[1], [1, 1, 1, 1]],
  ],
  ["all of", { allOf: [{ minimum: 1 }, { maximum: 2 }] }, [1, 2], [0, 3]],
  ["any of", { anyOf: [{ type: "number" }, { minLength: 2 }] }, [1, "ab"], ["a"]],
  ["exactly one of", { oneOf: [{ multipleOf: 2 }, { multipleOf: 3 }] }, [2, 3], [6, 1]],
  ["not", { not: { type: "number" } }, ["a"], [1]],
  [
    "if, then, else",
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    { if: { required: ["a"] }, then: { required: ["b"] }, else: { required: ["c"] } },
    [{ a: 1, b: 1 }, { c: 1 }],
    [{ a: 1 }, {}],
  ],
  ["nothing unevaluated", { allOf: [{ properties: { a: true } }], unevaluatedProperties: false }, [{ a: 1 }], [{ b: 1 }]],
  ["no item unevaluated", { allOf: [{ prefixItems: [true] }], unevaluatedItems: false }, [[1]], [[1, 2]]],
  ["a definition", { $defs: { n: { type: "number" } }, properties: { a: { $ref: "#/$defs/n" } } }, [{ a: 1 }], [{ a: "x" }]],
  ["a definition with keywords beside it", { $defs: { n: { type: "number" } }, $ref: "#/$defs/n", minimum: 3 }, [3], [2, "x"]],
  ["an anchor", { $defs: { n: { $anchor: "number", type: "number" } }, $ref: "#number" }, [1], ["x"]],
  ["an escaped reference", { $defs: { "a/b~c": { type: "number" } }, $ref: "#/$defs/a~1b~0c" }, [1], ["x"]],
  [
    "a reference by its own $id",
    { $id: "https://example.test/s", $defs: { n: { type: "number" } }, $ref: "https://example.test/s#/$defs/n" },
    [1],
    ["x"],
  ],
  ["a recursive schema", TREE, [{ children: [] }, { children: [{ children: [] }] }], [{}, { children: [{ children: [1] }] }]],
  [
    "a recursion to the root",
    { properties: { next: { $ref: "#" } }, additionalProperties: false },
    [{ next: { next: {} } }],
    [{ next: { nest: {} } }],
  ],
  [
    "keywords that say nothing of values",
    { title: "t", description: "d", default: 1, examples: [2], $comment: "c", deprecated: true },
    [null],
    [],
  ],
  ["its own draft", { $schema: "https://json-schema.org/draft/2020-12/schema", type: "number" }, [1], ["x"]],
  [
    "a keyword in a place of data",
    { enum: [{ $ref: "https://example.test/elsewhere" }], const: { $ref: "https://example.test/elsewhere" } },
    [{ $ref: "https://example.test/elsewhere" }],
    [1],
  ],
];

const BROKEN: [place: string, schema: unknown][] = [
  ["payloadSchema", 5],
  ["payloadSchema", "string"],
  ["payloadSchema", null],
  ["payloadSchema", []],
  ["type", { type: "strang" }],
  ["type", { type: [] }],
  ["type", { type: 1 }],
  ["properties", { properties: [] }],
  ["properties/a", { properties: { a: "number" } }],
  ["not/type", { properties: { a: { items: { not: { type: "no" } } } } }],
  ["required", { required: "a" }],
  ["required", { required: [1] }],
  ["dependentRequired", { dependentRequired: { a: "b" } }],
  ["pattern", { pattern: "(" }],
  ["pattern", { pattern: 5 }],
  ["patternProperties", { patternProperties: { "(": true } }],
  ["minLength", { minLength: -1 }],
  ["maxItems", { maxItems: 1.5 }],
  ["minimum", { minimum: "1" }],
  ["minimum", { minimum: Number.NaN }],
  ["multipleOf", { multipleOf: 0 }],
  ["items", { items: "number" }],
  ["allOf", { allOf: [] }],
  ["anyOf", { anyOf: {} }],
  ["oneOf/1", { oneOf: [true, 1] }],
  ["enum", { enum: "a" }],
  ["uniqueItems", { uniqueItems: "yes" }],
  ["$ref", { $ref: 1 }],
  ["$ref", { $ref: "#/$defs/missing" }],
  ["$ref", { $ref: "#missing" }],
  ["$ref", { $ref: "https://example.test/schema.json" }],
  ["$ref", { properties: { a: { $ref: "other.json" } } }],
  ["$ref", { $id: "https://example.test/s", $ref: "t" }],
  ["$dynamicRef", { $dynamicRef: "#node" }],
  ["$dynamicAnchor", { $defs: { n: { $dynamicAnchor: "node" } } }],
  ["$recursiveRef", { $recursiveRef: "#" }],
];

/** Payload schemas: valid and invalid payloads. */
export function schemaCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const register = (processes: ProcessRegistry, id: string, payloadSchema: unknown) =>
    processes.registerProcess(
      task(id, { eventTypes: [{ name: "typed", payloadSchema: payloadSchema as JsonSchema }, { name: "free" }] }),
    );
  const append = (processes: ProcessRegistry, id: string, payload: JsonValue) =>
    processes.appendEvent(id, { eventType: "typed", payload });

  promise("a payload is checked by its type's schema, JSON Schema 2020-12 (P-44)", async ({ processes }) => {
    const wrong: string[] = [];
    for (const [name, schema, fits, misfits] of SCHEMAS) {
      await register(processes, name, schema);
      for (const payload of fits) {
        await append(processes, name, payload).catch((error) =>
          wrong.push(`${name}: ${JSON.stringify(payload)} should fit: ${error}`),
        );
      }
      for (const payload of misfits) {
        const problem = await refusalMismatch(append(processes, name, payload), "invalid", 'invalid for event type "typed"');
        if (problem !== undefined) wrong.push(`${name}: ${JSON.stringify(payload)} should not fit: ${problem}`);
      }
      const stored = await processes.eventsAfter(name, 0);
      if (wrong.length === 0) expect(stored.map(({ payload }) => payload)).toEqual(fits);
    }
    expect(wrong).toEqual([]);
  });

  promise("a misfit stores nothing and leaves its replay key free (P-41, P-44)", async ({ processes, clock }) => {
    await register(processes, "p", { type: "number" });
    await clock.advance(1);
    await changesNothing(processes, async () => {
      await refused(
        processes.appendEvent("p", { eventType: "typed", payload: "x", replayKey: "k" }),
        "invalid",
        "invalid",
        "typed",
      );
    });
    expect((await processes.appendEvent("p", { eventType: "typed", payload: 1, replayKey: "k" })).event.sequence).toBe(1);
  });

  promise("types without a schema take any payload, core types too (P-44)", async ({ processes }) => {
    await register(processes, "p", false);
    for (const payload of [null, "x", [{}]]) {
      await processes.appendEvent("p", { eventType: "free", payload });
      const replayKey = JSON.stringify(payload);
      await processes.appendEvent("p", { eventType: "process.cancel_requested", payload, replayKey });
    }
    expect((await processes.eventsAfter("p", 0)).length).toBe(6);
  });

  promise("a schema that is none is refused at registration, by its place, and stores nothing (P-44)", async ({ processes }) => {
    const wrong: string[] = [];
    for (const [place, schema] of BROKEN) {
      const problem = await refusalMismatch(register(processes, "p", schema), "invalid", place, "payloadSchema");
      if (problem !== undefined) wrong.push(`${JSON.stringify(schema)}: ${problem}`);
    }
    expect(wrong).toEqual([]);
    expect(await processes.list()).toEqual([]);
  });

  promise(
    "a schema that refers to nothing but itself is refused, at the latest when it is applied (P-44)",
    async ({ processes }) => {
      const loops: JsonSchema[] = [
        { $ref: "#" },
        { $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" },
        { allOf: [{ $ref: "#" }] },
      ];
      for (const [at, schema] of loops.entries()) {
        const applied = register(processes, `p${at}`, schema).then(() => append(processes, `p${at}`, 1));
        await refused(applied, "invalid");
        expect((await processes.getProcess(`p${at}`)) ? await processes.eventsAfter(`p${at}`, 0) : []).toEqual([]);
      }
    },
  );

  promise("a schema comes back as it was given, before and after it is applied", async ({ processes }) => {
    const read = async () => (await processes.getProcess("tree"))?.eventTypes[0]?.payloadSchema;
    await register(processes, "tree", TREE);
    expect(await read()).toEqual(TREE);
    await append(processes, "tree", { children: [] });
    expect(await read()).toEqual(TREE);
    await register(processes, "tree", structuredClone(TREE));
    expect((await processes.list()).length).toBe(1);
  });

  promise("a schema above its limit is refused (P-44)", async ({ processes, open }) => {
    await refused(register(processes, "p", { description: "x".repeat(65_536) }), "invalid", "payloadSchema", "65536");
    const schema = { const: "é" }; // 14 bytes of canonical JSON
    const small = (schemaBytes: number) => open({ limits: { schemaBytes } });
    await refused(register((await small(13)).processes, "p", schema), "invalid", "payloadSchema");
    await register((await small(14)).processes, "p", schema);
    expect((await processes.list()).length).toBe(1);
  });

  promise("many schemas at once stay apart (P-44)", async ({ processes, open }) => {
    const other = (await open()).processes;
    await Promise.all(count(300).map((n) => register(processes, `p${n}`, { const: n })));
    const settled = await Promise.allSettled(
      count(300).flatMap((n) => [append(other, `p${n}`, n), append(processes, `p${n}`, n + 1)]),
    );
    expect(settled.map(({ status }) => status)).toEqual(count(300).flatMap(() => ["fulfilled", "rejected"]));
  });
}
