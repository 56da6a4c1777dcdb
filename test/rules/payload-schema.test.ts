import { beforeAll, describe, expect, it } from "vitest";
import type { JsonSchema } from "../../src/domain/event-type.js";
import type { JsonValue } from "../../src/domain/json.js";
import { payloadSchemas } from "../../src/stores/payload-schema.js";
import type { SchemaEngine } from "../../src/stores/schema-engine.js";

let engine: SchemaEngine;
beforeAll(async () => {
  const schemas = payloadSchemas();
  expect(schemas.engine).toBeUndefined();
  await schemas.load();
  engine = schemas.engine as SchemaEngine;
});

let names = 0;
const fits = (schema: JsonSchema, payload: JsonValue) => engine.misfit(`schema ${++names}`, schema, payload) === undefined;

describe("a payload", () => {
  const small = { type: "object", properties: { a: { type: "integer" } } } as const;
  it.each<[JsonSchema, JsonValue[], JsonValue[]]>([
    [true, [1, null], []],
    [false, [], [1, null]],
    [{}, [1, null, {}], []],
    [{ type: "null" }, [null], [0, false, ""]],
    [{ type: "boolean" }, [true, false], [0, "true", null]],
    [{ type: "integer" }, [1, 1.0, -3], [1.5, "1"]],
    [{ type: "number" }, [1, 1.5], ["1", null]],
    [{ type: "string" }, [""], [1, null]],
    [{ type: "array" }, [[]], [{}]],
    [{ type: "object" }, [{}], [[], null]],
    [{ type: ["string", "null"] }, ["a", null], [1]],
    [{ enum: [1, { a: [1] }, null] }, [1, { a: [1] }, null], [2, { a: [2] }, "1"]],
    [{ const: { a: 1, b: 2 } }, [{ b: 2, a: 1 }], [{ a: 1 }]],
    [small, [{}, { a: 1 }, { b: 1 }], [{ a: "1" }]],
    [{ ...small, additionalProperties: false }, [{ a: 1 }], [{ b: 1 }]],
    [{ ...small, additionalProperties: { type: "string" } }, [{ b: "x" }], [{ b: 1 }]],
    [{ ...small, unevaluatedProperties: false }, [{ a: 1 }], [{ b: 1 }]],
    [{ required: ["a"] }, [{ a: null }, 1], [{}, { b: 1 }]],
    [{ patternProperties: { "^x": { type: "number" } } }, [{ x1: 1, y: "" }], [{ x1: "" }]],
    [{ propertyNames: { maxLength: 1 } }, [{ a: 1 }], [{ ab: 1 }]],
    [{ minProperties: 1, maxProperties: 2 }, [{ a: 1 }, { a: 1, b: 2 }], [{}, { a: 1, b: 2, c: 3 }]],
    [{ dependentRequired: { a: ["b"] } }, [{}, { a: 1, b: 1 }], [{ a: 1 }]],
    [{ dependentSchemas: { a: { required: ["b"] } } }, [{}, { a: 1, b: 1 }], [{ a: 1 }]],
    [{ items: { type: "number" } }, [[], [1, 2]], [["1"]]],
    [{ prefixItems: [{ type: "number" }], items: { type: "string" } }, [[], [1, "a"]], [["a"], [1, 2]]],
    [{ prefixItems: [true], unevaluatedItems: false }, [[1]], [[1, 2]]],
    [{ minItems: 1, maxItems: 2 }, [[1], [1, 2]], [[], [1, 2, 3]]],
    [
      { uniqueItems: true },
      [
        [1, 2],
        [{ a: 1 }, { a: 2 }],
      ],
      [
        [1, 1],
        [
          { a: 1, b: 2 },
          { b: 2, a: 1 },
        ],
      ],
    ],
    [
      { contains: { const: 1 }, minContains: 2, maxContains: 3 },
      [
        [1, 1],
        [1, 0, 1, 1],
      ],
      [[1], [1, 1, 1, 1]],
    ],
    [{ minLength: 2, maxLength: 2 }, ["ab", "😀😀"], ["a", "abc", "😀"]],
    [{ pattern: "^a+$" }, ["aa"], ["ab"]],
    [{ minimum: 1, maximum: 2 }, [1, 2], [0, 3]],
    [{ exclusiveMinimum: 1, exclusiveMaximum: 3 }, [2], [1, 3]],
    [{ multipleOf: 0.01 }, [0.07, 4.35], [0.075]],
    [{ allOf: [{ minimum: 1 }, { maximum: 2 }] }, [1], [0, 3]],
    [{ anyOf: [{ type: "string" }, { minimum: 1 }] }, ["a", 1], [0]],
    [{ oneOf: [{ minimum: 1 }, { maximum: 2 }] }, [0, 3], [1, 2]],
    [{ not: { type: "string" } }, [1], ["a"]],
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    [{ if: { type: "string" }, then: { minLength: 1 }, else: { minimum: 1 } }, ["a", 1], ["", 0]],
    [{ $defs: { n: { type: "number" } }, properties: { a: { $ref: "#/$defs/n" } } }, [{ a: 1 }], [{ a: "" }]],
    [{ $defs: { n: { $anchor: "num", type: "number" } }, $ref: "#num" }, [1], [""]],
    [
      { type: "object", properties: { next: { $ref: "#" } }, additionalProperties: false },
      [{ next: { next: {} } }],
      [{ next: { other: 1 } }],
    ],
    [{ properties: { $ref: { type: "string" } } }, [{ $ref: "a" }], [{ $ref: 1 }]],
    [{ properties: { toString: { type: "string" } } }, [{}, { toString: "a" }], [{ toString: 1 }]],
    [{ required: ["toString"] }, [{ toString: 1 }], [{}]],
    [{ required: ["constructor"] }, [{ constructor: 1 }], [{}]],
    [{ dependentRequired: { a: ["valueOf"] } }, [{ a: 1, valueOf: 1 }], [{ a: 1 }]],
    [{ enum: [{ a: 1 }] }, [{ a: 1 }], [{ a: 1, b: 2 }, [["a", 1]]]],
  ])("of the schema %j", (schema, good, bad) => {
    engine.check("schema", schema);
    expect(good.filter((payload) => !fits(schema, payload))).toEqual([]);
    expect(bad.filter((payload) => fits(schema, payload))).toEqual([]);
  });

  it("that does not fit is told with its place", () => {
    expect(engine.misfit("place", { properties: { a: { items: { type: "number" } } } }, { a: [1, "x"] })).toContain("#/a/1");
  });

  it("is not changed, and neither is the schema", () => {
    const schema = Object.freeze({
      type: "object",
      properties: Object.freeze({ a: Object.freeze({ $ref: "#" }) }),
    }) as JsonSchema;
    const before = JSON.stringify(schema);
    expect(engine.misfit("frozen", schema, Object.freeze({ a: Object.freeze({}) }) as never)).toBeUndefined();
    expect(JSON.stringify(schema)).toBe(before);
  });

  it("does not fit a schema that never ends", () => {
    expect(engine.misfit("endless", { $ref: "#" }, 1)).not.toBeUndefined();
  });

  it("is judged by its own schema after many others were met", () => {
    for (let n = 0; n < 300; n++) engine.misfit(`other ${n}`, { const: n }, n);
    expect(engine.misfit("first", { type: "string" }, 1)).not.toBeUndefined();
    for (let n = 0; n < 300; n++) engine.misfit(`other ${n}`, { const: n }, n);
    expect(engine.misfit("first", { type: "string" }, "a")).toBeUndefined();
  });
});

describe("a schema", () => {
  it.each<[unknown, string]>([
    [1, "s must be an object or a boolean"],
    ["string", "s must be an object or a boolean"],
    [null, "s must be an object or a boolean"],
    [[], "s must be an object or a boolean"],
    [{ type: "text" }, "s/type"],
    [{ type: [] }, "s/type"],
    [{ type: ["string", "text"] }, "s/type"],
    [{ type: { a: 1 } }, "s/type"],
    [{ enum: "a" }, "s/enum"],
    [{ required: "a" }, "s/required"],
    [{ required: [1] }, "s/required"],
    [{ properties: [] }, "s/properties"],
    [{ properties: { a: 1 } }, "s/properties/a"],
    [{ properties: { a: { items: [true] } } }, "s/properties/a/items"],
    [{ patternProperties: { "(": true } }, "s/patternProperties"],
    [{ patternProperties: { a: 1 } }, "s/patternProperties/a"],
    [{ pattern: "(" }, "s/pattern"],
    [{ pattern: 1 }, "s/pattern"],
    [{ minLength: -1 }, "s/minLength"],
    [{ maxLength: 1.5 }, "s/maxLength"],
    [{ minItems: "1" }, "s/minItems"],
    [{ maxItems: null }, "s/maxItems"],
    [{ minProperties: -1 }, "s/minProperties"],
    [{ maxContains: true }, "s/maxContains"],
    [{ minimum: "1" }, "s/minimum"],
    [{ exclusiveMaximum: true }, "s/exclusiveMaximum"],
    [{ multipleOf: 0 }, "s/multipleOf"],
    [{ multipleOf: -1 }, "s/multipleOf"],
    [{ uniqueItems: 1 }, "s/uniqueItems"],
    [{ allOf: [] }, "s/allOf"],
    [{ anyOf: {} }, "s/anyOf"],
    [{ oneOf: [true, 1] }, "s/oneOf/1"],
    [{ prefixItems: [] }, "s/prefixItems"],
    [{ not: 1 }, "s/not"],
    [{ contains: "a" }, "s/contains"],
    [{ dependentRequired: { a: "b" } }, "s/dependentRequired"],
    [{ dependentSchemas: { a: 1 } }, "s/dependentSchemas/a"],
    [{ $defs: { a: 1 } }, "s/$defs/a"],
    [{ format: 1 }, "s/format"],
    [{ $ref: 1 }, "s/$ref"],
    [{ $ref: "#/$defs/none" }, "s/$ref"],
    [{ $ref: "https://example.com/schema" }, "s/$ref"],
    [{ properties: { a: { $ref: "#none" } } }, "s/properties/a/$ref"],
    [{ $dynamicRef: "#a" }, "s/$dynamicRef"],
    [{ items: { $dynamicAnchor: "a" } }, "s/items/$dynamicAnchor"],
    [{ $recursiveRef: "#" }, "s/$recursiveRef"],
  ])("%j is refused where it is declared: %s", (schema, place) => {
    expect(() => engine.check("s", schema as JsonSchema)).toThrow(
      expect.objectContaining({ code: "invalid", message: expect.stringContaining(place) }),
    );
  });

  it.each<[JsonSchema]>([
    [{ "x-own": 1, unknown: [] }],
    [{ title: "t", description: "d", $comment: "c", default: 1, examples: [1] }],
    [{ $schema: "https://json-schema.org/draft/2020-12/schema" }],
    [{ $id: "https://example.com/a", $defs: { b: { $id: "b", type: "number" } }, $ref: "b" }],
    [{ const: { $ref: "#/nowhere", type: 1 } }],
    [{ enum: [{ $ref: "#/nowhere" }] }],
    [{ default: { $ref: "#/nowhere" } }],
    [{ properties: { pattern: { type: "string" }, required: true } }],
    [{ toString: 1 }],
  ])("%j is taken", (schema) => {
    expect(() => engine.check("s", schema)).not.toThrow();
  });
});
