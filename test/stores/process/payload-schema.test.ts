import { type Schema, validate } from "@cfworker/json-schema";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { JsonValue } from "../../../src/domain/json.js";
import type { JsonSchema } from "../../../src/domain/process/event-type.js";
import type { SchemaEngine } from "../../../src/stores/process/json-schema.js";
import { FORMATS } from "../../../src/stores/process/json-schema-formats.js";
import { payloadSchemas } from "../../../src/stores/process/payload-schema.js";

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
    [
      { multipleOf: 0.01 },
      [0.07, 4.35, -4.35, 0, -0, 123456789.01, 12345678901234.56, 2e15, 1e300],
      [0.075, 1e-300, 0.0700000000000001],
    ],
    [{ multipleOf: 3 }, [9, -9, 0, 3e15, 3e20, 9007199254740990], [10, 0.3, 1e15, 1e300, 9007199254740991]],
    [{ multipleOf: 1e-15 }, [0.5, 3e-15, 1e20], [5e-16, 5e-324]],
    [{ multipleOf: 5e-324 }, [0, 5e-324, 1.5, 1e308], []],
    [{ multipleOf: 1e300 }, [0, 3e300], [1, 15e299]],
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
    [
      { dependencies: { id: ["b"], c: { required: ["d"] } } },
      [
        { id: 1, b: 1 },
        { c: 1, d: 1 },
      ],
      [{ id: 1 }, { c: 1 }],
    ],
    [
      { dependencies: { required: { $ref: "#/$defs/n" }, id: ["n"] }, $defs: { n: { required: ["n"] } } },
      [{ required: 1, n: 1 }, {}],
      [{ required: 1 }, { id: 1 }],
    ],
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

describe("a payload that is costly to check", () => {
  let nested: JsonValue = 1;
  for (let depth = 0; depth < 17; depth++) nested = { next: nested };
  const branching = { properties: { next: { $ref: "#/$defs/n" } }, required: ["next"] };
  const names = Array.from({ length: 5_000 }, (_, n) => `k${n}`);
  const numbers = names.slice(0, 1_000).map((_, n) => n);

  /** A check should take a hundred milliseconds. The bound is larger because the machine may be busy. */
  const quickly = (work: () => void) => {
    const began = performance.now();
    work();
    expect(performance.now() - began).toBeLessThan(1_500);
  };

  it.each<[string, JsonSchema, JsonValue]>([
    ["by a schema that branches at each level", { $defs: { n: { oneOf: [branching, branching] } }, $ref: "#/$defs/n" }, nested],
    ["by a list of names for each of its items", { contains: { required: names } }, Array.from({ length: 50_000 }, () => ({}))],
    ["by a list of values for each of its items", { contains: { enum: names } }, Array.from({ length: 50_000 }, () => "k")],
    ["by a long text that is read again and again", { allOf: names.map(() => ({ minLength: 1 })) }, "x".repeat(1_000_000)],
    [
      "by its many members again and again",
      { allOf: names.map(() => ({ minProperties: 1 })) },
      Object.fromEntries(names.map((one) => [one, 1])),
    ],
    ["by its whole content again and again", { allOf: names.map(() => ({ uniqueItems: true })) }, names],
    [
      "by a constant that it nearly is",
      { $defs: { c: { const: [...numbers, "a"] } }, allOf: numbers.map(() => ({ not: { $ref: "#/$defs/c" } })) },
      [...numbers, "b"],
    ],
    [
      "by divisors that make long numbers of its own",
      { items: { allOf: numbers.slice(0, 500).map(() => ({ multipleOf: 1e-300 })) } },
      numbers.slice(0, 160),
    ],
    [
      "by a divisor that makes its many numbers longer than the machine's",
      { items: { multipleOf: 1e-15 } },
      Array.from({ length: 500_000 }, () => 9),
    ],
    [
      "by many patterns for its names",
      { patternProperties: Object.fromEntries(names.map((one) => [one, true])) },
      { ["x".repeat(100_000)]: 1 },
    ],
  ])("is refused after a bounded number of steps: %s", (_, schema, payload) => {
    engine.check("schema", schema);
    quickly(() =>
      expect(engine.misfit(`costly ${_}`, schema, payload)).toMatch(/^too costly to check: it takes more than \d+ steps$/),
    );
  });

  it("is not refused for its mere size: a megabyte, by a schema that looks at all of it", () => {
    const item = {
      type: "object",
      required: ["id"],
      properties: { id: { type: "integer" }, text: { minLength: 1 } },
      additionalProperties: false,
    };
    const payload = Array.from({ length: 40_000 }, (_, id) => ({ id, text: "a" }));
    expect(engine.misfit("large", { type: "array", items: item, uniqueItems: true }, payload)).toBeUndefined();
    expect(
      engine.misfit(
        "numbers",
        { items: { type: "number" } },
        Array.from({ length: 500_000 }, () => 1),
      ),
    ).toBeUndefined();
    const prices = Array.from({ length: 200_000 }, (_, n) => ((n % 1_000) + 1) / 100);
    expect(engine.misfit("prices", { items: { multipleOf: 0.01 } }, prices)).toBeUndefined();
  });

  it("has its items compared by their text: thousands that differ, or are the same, in any order of members", () => {
    const items = Array.from({ length: 6_000 }, (_, n) => ({ n, of: { a: 1, b: n } }));
    quickly(() => expect(engine.misfit("unique", { uniqueItems: true }, items)).toBeUndefined());
    const twice = [...items, { of: { b: 7, a: 1 }, n: 7 }];
    expect(engine.misfit("unique", { uniqueItems: true }, twice)).toBe("#: has the same item at 7 and 6000");
  });

  it.each(Object.keys(FORMATS))("is read once for the format %s, whatever is in it", (format) => {
    const begins = ["", "http://", "http://a@", "http://[::", "P", "0/", "#/", '"', "a@", "{", "2020-01-01T00:00:00."];
    const units = ["a", "1", ":", "/", "@", ".", "-", "%41", "a-", "a.", "a@", "1.", "{a", "~0", "\\", "[", "T", "1D", " ", "é"];
    quickly(() => {
      for (const begin of begins)
        for (const unit of units) engine.misfit(`format ${format}`, { format }, `${begin}${unit.repeat(1_000)}!`);
    });
  });

  it.each<[string, boolean]>([
    ["http://example.com", true],
    ["HTTPS://user:pass@example.com:8080/a?b#c@d", true],
    ["ftp://a@b@my-host.example.com/", true],
    ["http://a/b@example.com", true],
    ["http://é.example.org", true],
    ["http://8.8.8.8:80/", true],
    ["http://10.0.0.1", false],
    ["http://172.16.0.1", false],
    ["http://example.com:1", false],
    ["http://example", false],
    ["http://-a.example.com", false],
    ["http://a--b.example.com", false],
    ["http://@example.com", false],
    ["http://exa mple.com", false],
    ["http://example.com/a b", false],
    ["mailto:a@example.com", false],
    [`http://${"a".repeat(30)}!`, false],
  ])("is a url, or none, as the library has it: %s", (text, isUrl) => {
    expect(FORMATS.url?.(text)).toBe(isUrl);
    if (text.length < 30) expect(validate(text, { format: "url" }, "2020-12").valid).toBe(isUrl);
  });
});

describe("a schema", () => {
  it("with many $id inside one another is refused, and quickly", () => {
    let schema: JsonSchema = true;
    for (let depth = 0; depth < 30; depth++) schema = { $id: `https://example.test/${depth}`, not: schema };
    expect(() => engine.check("s", schema)).toThrow("s has too many $id inside one another");
    const flat = {
      $defs: Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`d${n}`, { $id: `d${n}`, properties: { id: true } }])),
    };
    expect(() => engine.check("s", flat)).not.toThrow();
  });

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
    [{ dependencies: null }, "s/dependencies"],
    [{ dependencies: { a: 5 } }, "s/dependencies/a"],
    [{ dependencies: { a: ["b", 1] } }, "s/dependencies"],
    [{ dependencies: { a: { pattern: "(" } } }, "s/dependencies/a/pattern"],
    [{ dependencies: { required: { $ref: "#/nowhere" } } }, "s/dependencies/required/$ref"],
    [{ $defs: { a: 1 } }, "s/$defs/a"],
    [{ format: 1 }, "s/format"],
    [{ $ref: 1 }, "s/$ref"],
    [{ $ref: "" }, "s/$ref"],
    [{ $ref: "#/$defs/none" }, "s/$ref"],
    [{ $ref: "#/own", own: { pattern: "(" } }, "s/$ref/pattern"],
    [{ items: { $ref: "#/own/a" }, own: { a: { not: { type: "text" } } } }, "s/items/$ref/not/type"],
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

  const keywords = [
    ["$ref", "type", "const", "enum", "not", "allOf", "anyOf", "oneOf", "if", "then", "else", "required", "dependentRequired"],
    ["dependentSchemas", "dependencies", "minProperties", "maxProperties", "propertyNames", "properties", "patternProperties"],
    ["additionalProperties", "unevaluatedProperties", "minItems", "maxItems", "prefixItems", "items", "contains", "minContains"],
    ["maxContains", "unevaluatedItems", "uniqueItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
    ["multipleOf", "minLength", "maxLength", "pattern", "format"],
  ].flat();
  it.each(keywords)("that is taken where it is declared can be applied, whatever it has under %s", (keyword) => {
    const plain = [null, true, 0, -1, 0.5, "", "a", "(", [], {}];
    const values = [
      ...plain,
      ...plain.flatMap((value) => [[value], { a: value }, { "(": value }, { a: { a: value } }, { a: [value] }]),
    ];
    const payloads: JsonValue[] = [null, 1, "a", [1], { a: 1 }];
    const broken = values.filter((value) => {
      const schema = { $id: "https://example.test/s", if: true, contains: true, properties: { a: { [keyword]: value } } };
      const whole = { ...schema, anyOf: [schema.properties.a] } as JsonSchema;
      try {
        engine.check("s", whole);
      } catch {
        return false;
      }
      return [...payloads, { a: payloads[3] as JsonValue }, { a: { a: 1 } }].some((payload) =>
        engine.misfit(`whole ${++names}`, whole, payload)?.includes("cannot be applied"),
      );
    });
    expect(broken).toEqual([]);
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

describe("the library", () => {
  const scalar = fc.constantFrom<JsonValue>(null, true, false, 0, 1, 2.5, "", "a", "ab", "b1", "2020-01-01");
  const name = fc.constantFrom("a", "b", "ab", "c~/d");
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      scalar,
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(name, tie("value"), { maxKeys: 3 }),
    ),
  }));
  const count = fc.integer({ min: 0, max: 3 });
  const { schema } = fc.letrec<{ schema: JsonSchema; object: JsonSchema }>((tie) => {
    const map = fc.dictionary(name, tie("schema"), { maxKeys: 2 });
    const list = fc.array(tie("schema"), { minLength: 1, maxLength: 3 });
    const type = fc.constantFrom("null", "boolean", "object", "array", "number", "integer", "string");
    const optional: Record<string, fc.Arbitrary<unknown>> = {
      type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 3 })),
      const: value,
      enum: fc.array(value, { maxLength: 3 }),
      allOf: list,
      anyOf: list,
      oneOf: list,
      not: tie("schema"),
      if: tie("schema"),
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: tie("schema"),
      else: tie("schema"),
      $ref: fc.constantFrom("#/$defs/one", "#/$defs/two"),
      properties: map,
      patternProperties: fc.dictionary(fc.constantFrom("^a", "b$"), tie("schema"), { maxKeys: 2 }),
      additionalProperties: tie("schema"),
      propertyNames: tie("schema"),
      required: fc.array(name, { maxLength: 2 }),
      dependentRequired: fc.dictionary(name, fc.array(name, { maxLength: 2 }), { maxKeys: 1 }),
      dependentSchemas: map,
      dependencies: map,
      minProperties: count,
      maxProperties: count,
      items: tie("schema"),
      prefixItems: list,
      contains: tie("schema"),
      minContains: count,
      maxContains: count,
      minItems: count,
      maxItems: count,
      uniqueItems: fc.boolean(),
      minimum: count,
      maximum: count,
      exclusiveMinimum: count,
      exclusiveMaximum: count,
      multipleOf: fc.constantFrom(1, 0.5, 2),
      minLength: count,
      maxLength: count,
      pattern: fc.constantFrom("^a", "b", "\\d$"),
      format: fc.constantFrom("date", "url", "uuid", "none"),
    };
    // Few keywords at a time, so that a payload may also fit.
    const some = fc
      .uniqueArray(fc.constantFrom(...Object.keys(optional)), { minLength: 1, maxLength: 3 })
      .chain((names) => fc.record(Object.fromEntries(names.map((one) => [one, optional[one] as fc.Arbitrary<unknown>]))));
    const object = some as unknown as fc.Arbitrary<JsonSchema>;
    return { object, schema: fc.oneof({ maxDepth: 3, withCrossShrink: true }, fc.boolean(), object) };
  });

  it.each([
    ["as it is", {}],
    ["with nothing else among its members", { unevaluatedProperties: false }],
    ["with nothing else among its items", { unevaluatedItems: false }],
  ])("judges every payload alike, by any schema %s", (_, more) => {
    const seen = { fit: 0, misfit: 0 };
    fc.assert(
      fc.property(schema, schema, schema, value, (root, one, two, payload) => {
        const whole = { $defs: { one, two }, ...(typeof root === "boolean" ? { not: !root } : root), ...more } as JsonSchema;
        const copy = structuredClone(whole);
        let valid: boolean | undefined;
        try {
          valid = validate(payload, copy as Schema, "2020-12").valid;
        } catch {
          // The schema refers to itself without an end.
        }
        const said = engine.misfit(`schema ${++names}`, whole, payload);
        // The library looks at every branch, even if the first one decides.
        if (valid === undefined) return true;
        seen[valid ? "fit" : "misfit"]++;
        return (said === undefined) === valid;
      }),
      { numRuns: 3_000 },
    );
    expect(Math.min(seen.fit, seen.misfit)).toBeGreaterThan(100);
  });
});
