import { dereference, ignoredKeyword, schemaArrayKeyword, schemaMapKeyword } from "@cfworker/json-schema";
import { invalid } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { JsonSchema, ProcessEventType } from "../../domain/process/event-type.js";
import type { PayloadVerdict } from "./events.rules.js";
import { evaluator, isMap, TooCostly } from "./json-schema-evaluation.js";

export interface SchemaEngine {
  /** Throws `invalid`, which names the broken place in the schema. */
  check(field: string, schema: JsonSchema): void;
  /** Why the payload does not fit the schema; absent if it fits. `name` identifies the schema: one name never stands for two schemas. */
  misfit(name: string, schema: JsonSchema, payload: JsonValue): string | undefined;
  /** The verdict by the schema of a registration's event type. A type without a schema takes any payload. */
  judge(registrationHash: string, type: ProcessEventType, payload: JsonValue): PayloadVerdict;
}

const MOST_COMPILED = 256;
/** The steps that every check may take: some tens of milliseconds. Each character of the payload adds to them, so that a schema may look at all of it. */
const STEPS = 250_000;
const STEPS_PER_CHARACTER = 4;
/** Places in a schema that the library may visit; see `walksOver`. */
const MOST_WALKED = 100_000;

// Unless the library is told that `dependencies` is a map, it takes the names in it for keywords and leaves some schemas below them unresolved.
schemaMapKeyword.dependencies = true;

/** A broken schema is refused when it is declared: when it is applied, it is too late. */
export function createEngine(): SchemaEngine {
  const compiled = new Map<string, ReturnType<typeof evaluator>>();

  // The library writes marks into the schema, so it gets a copy.
  const resolved = (schema: JsonSchema) => {
    const copy = structuredClone(schema);
    return { schema: copy, lookup: dereference(copy) as Record<string, JsonSchema> };
  };

  const compile = (given: JsonSchema): ReturnType<typeof evaluator> => {
    const { schema, lookup } = resolved(given);
    return evaluator({ schema, target: (from) => lookup[referenceOf(from) as string] });
  };

  function misfit(name: string, schema: JsonSchema, payload: JsonValue): string | undefined {
    const most = STEPS + STEPS_PER_CHARACTER * JSON.stringify(payload).length;
    try {
      const known = compiled.get(name) ?? compile(schema);
      compiled.delete(name);
      compiled.set(name, known);
      if (compiled.size > MOST_COMPILED) compiled.delete(compiled.keys().next().value as string);
      return known(payload, most);
    } catch (error) {
      if (error instanceof TooCostly) return `too costly to check: it takes more than ${most} steps`;
      // A schema that refers to itself for the same value would never end.
      return `the schema cannot be applied: ${(error as Error).message}`;
    }
  }

  return {
    check(field, schema) {
      checkSchema(field, schema);
      if (walksOver(schema) > MOST_WALKED) throw invalid(`${field} has too many $id inside one another`);
      let made: ReturnType<typeof resolved>;
      try {
        made = resolved(schema);
      } catch (error) {
        throw invalid(`${field} is no JSON Schema: ${(error as Error).message}`);
      }
      const met = new Set<string>();
      for (const [target, at] of referencesOf(made.schema, field)) {
        if (met.has(target)) continue;
        met.add(target);
        const schema = made.lookup[target];
        if (schema === undefined) throw invalid(`${at}/$ref does not lead to a place in the schema`);
        // The target may lie under a name that is no keyword. `checkSchema` did not look there.
        checkSchema(`${at}/$ref`, schema);
      }
    },
    misfit,
    judge(registrationHash, { name, payloadSchema }, payload) {
      const said = payloadSchema === undefined ? undefined : misfit(`${registrationHash} ${name}`, payloadSchema, payload);
      return { registrationHash, misfit: said };
    },
  };
}

/** How many places the library visits to resolve references. A schema with an `$id` inside another schema is visited twice, with all below it. */
function walksOver(schema: unknown, isRoot = true): number {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return 1;
  const { $id, id } = schema as { $id?: unknown; id?: unknown };
  let below = 1;
  for (const [keyword, value] of Object.entries(schema)) {
    if (Object.hasOwn(ignoredKeyword, keyword) || typeof value !== "object" || value === null) continue;
    const isList = Array.isArray(value);
    const inner: unknown[] = isList
      ? Object.hasOwn(schemaArrayKeyword, keyword)
        ? value
        : []
      : Object.hasOwn(schemaMapKeyword, keyword)
        ? Object.values(value)
        : [value];
    for (const one of inner) below += walksOver(one, false);
  }
  return isRoot || !($id || id) ? below : 2 * below;
}

type KeywordRule = "schema" | "schemas" | "schemaMap" | "regexMap" | "dependencies" | keyof typeof PLAIN_RULES;

/** For keywords that hold no schema: what their value must be. */
const PLAIN_RULES = {
  count: ["a whole number from 0 up", (value) => Number.isSafeInteger(value) && (value as number) >= 0],
  number: ["a number", (value) => typeof value === "number"],
  positive: ["a number above 0", (value) => typeof value === "number" && value > 0],
  reference: ["a string that is not empty", (value) => typeof value === "string" && value !== ""],
  string: ["a string", (value) => typeof value === "string"],
  strings: ["a list of strings", isStrings],
  stringsMap: ["a map of lists of strings", (value) => isMap(value) && Object.values(value).every(isStrings)],
  regex: ["a regular expression", (value) => typeof value === "string" && isRegex(value)],
  flag: ["true or false", (value) => typeof value === "boolean"],
  type: [
    "a type name or a list of them",
    (value) => isType(value) || (Array.isArray(value) && value.length > 0 && value.every(isType)),
  ],
  list: ["a list", (value) => Array.isArray(value)],
} as const satisfies Record<string, readonly [what: string, fits: (value: JsonValue) => boolean]>;

const KEYWORDS: Readonly<Record<string, KeywordRule>> = {
  additionalProperties: "schema",
  unevaluatedProperties: "schema",
  propertyNames: "schema",
  items: "schema",
  unevaluatedItems: "schema",
  contains: "schema",
  not: "schema",
  if: "schema",
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: "schema",
  else: "schema",
  allOf: "schemas",
  anyOf: "schemas",
  oneOf: "schemas",
  prefixItems: "schemas",
  properties: "schemaMap",
  $defs: "schemaMap",
  definitions: "schemaMap",
  dependentSchemas: "schemaMap",
  dependencies: "dependencies",
  patternProperties: "regexMap",
  minLength: "count",
  maxLength: "count",
  minItems: "count",
  maxItems: "count",
  minContains: "count",
  maxContains: "count",
  minProperties: "count",
  maxProperties: "count",
  minimum: "number",
  maximum: "number",
  exclusiveMinimum: "number",
  exclusiveMaximum: "number",
  multipleOf: "positive",
  required: "strings",
  dependentRequired: "stringsMap",
  pattern: "regex",
  format: "string",
  // The library does not resolve an empty reference. "#" means the same.
  $ref: "reference",
  $id: "string",
  $anchor: "string",
  $schema: "string",
  $comment: "string",
  title: "string",
  description: "string",
  uniqueItems: "flag",
  type: "type",
  enum: "list",
};

const TYPES = ["null", "boolean", "object", "array", "number", "integer", "string"];
/** The library ignores these keywords, and so it would accept what the schema forbids. */
const UNSUPPORTED = ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"];

function checkSchema(field: string, schema: JsonValue): void {
  if (typeof schema === "boolean") return;
  if (!isMap(schema)) throw invalid(`${field} must be an object or a boolean to be a JSON Schema`);
  for (const [keyword, value] of Object.entries(schema)) {
    const at = `${field}/${keyword}`;
    if (UNSUPPORTED.includes(keyword)) throw invalid(`${at} is not supported`);
    if (Object.hasOwn(KEYWORDS, keyword)) checkKeyword(at, KEYWORDS[keyword] as KeywordRule, value);
  }
}

function checkKeyword(at: string, rule: KeywordRule, value: JsonValue): void {
  const must = (what: string) => invalid(`${at} must be ${what} in a JSON Schema`);
  if (rule === "schema") {
    checkSchema(at, value);
  } else if (rule === "schemas") {
    if (!Array.isArray(value) || value.length === 0) throw must("a list of schemas");
    for (const [index, item] of value.entries()) checkSchema(`${at}/${index}`, item);
  } else if (rule === "dependencies") {
    const what = "a map of schemas and lists of strings";
    if (!isMap(value)) throw must(what);
    for (const [name, item] of Object.entries(value)) {
      if (!Array.isArray(item)) checkSchema(`${at}/${name}`, item);
      else if (!isStrings(item)) throw must(what);
    }
  } else if (rule === "schemaMap" || rule === "regexMap") {
    if (!isMap(value)) throw must("a map of schemas");
    for (const [name, item] of Object.entries(value)) {
      if (rule === "regexMap" && !isRegex(name)) throw must("a map whose names are regular expressions");
      checkSchema(`${at}/${name}`, item);
    }
  } else {
    const [what, fits] = PLAIN_RULES[rule];
    if (!fits(value)) throw must(what);
  }
}

/** Every resolved `$ref`, with its place in the schema. */
function referencesOf(schema: unknown, at: string): [target: string, at: string][] {
  if (typeof schema !== "object" || schema === null) return [];
  const target = referenceOf(schema);
  const below = Object.entries(schema).flatMap(([name, value]) => referencesOf(value, `${at}/${name}`));
  return target === undefined ? below : [[target, at], ...below];
}

/** The target of a `$ref`, as the library resolved it. */
function referenceOf(schema: object): string | undefined {
  return (schema as { __absolute_ref__?: string }).__absolute_ref__;
}

function isRegex(source: string): boolean {
  try {
    new RegExp(source, "u");
    return true;
  } catch {
    return false;
  }
}

function isStrings(value: JsonValue): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function isType(value: JsonValue): boolean {
  return typeof value === "string" && TYPES.includes(value);
}
