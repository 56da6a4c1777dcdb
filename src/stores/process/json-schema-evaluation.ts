import { canonicalText, type JsonValue } from "../../domain/json.js";
import type { JsonSchema } from "../../domain/process/event-type.js";
import { FORMATS } from "./json-schema-formats.js";

/**
 * Evaluates a schema in a bounded number of steps. The libraries that work without eval cannot be stopped: branches within branches, a
 * list that is compared with itself, or an error for each of a million items would block the page. Here all work that grows with the
 * value or the schema is counted before it is done.
 */
interface CompiledSchema {
  readonly schema: JsonSchema;
  /** The schema that the `$ref` of this one leads to. */
  target(schema: SchemaObject): JsonSchema | undefined;
}

type SchemaObject = Exclude<JsonSchema, boolean>;

export class TooCostly extends Error {}

/** The steps of one division of big integers, before its digits are counted. */
const LONG_DIVISION_STEPS = 32;
/** Two different decimals of up to fifteen digits are always two different numbers. */
const EXACT_DIGITS = 1e15;
/** Parsed from text, because `**` need not be exact. */
const POWERS_OF_TEN = Array.from({ length: 16 }, (_, places) => Number(`1e${places}`));

/** Why a value does not fit. `at` is a JSON Pointer relative to the value. */
interface Misfit {
  at: string;
  why: string;
}

/** The members and items of one value that fitting keywords evaluated. `unevaluated*` skips them. */
type Evaluated = Set<string | number> | undefined;
type KeywordCheck = (value: JsonValue, seen: Evaluated) => Misfit | undefined;
type Evaluate = (value: JsonValue, schema: JsonSchema, seen?: Evaluated) => Misfit | undefined;

/** Compiles a schema. The result says why a value does not fit and where, or `undefined`. It throws TooCostly after `most` steps. */
export function evaluator(compiled: CompiledSchema): (value: JsonValue, most: number) => string | undefined {
  const known = new Map<SchemaObject, { checks: KeywordCheck[]; looksBack: boolean }>();
  let left = 0;

  const spend = (steps: number) => {
    left -= steps;
    if (left < 0) throw new TooCostly();
  };

  const evaluate: Evaluate = (value, schema, seen) => {
    spend(1);
    if (typeof schema === "boolean") return schema ? undefined : misfit("nothing is allowed here");
    let plan = known.get(schema);
    if (!plan) {
      plan = {
        checks: checksOf(schema),
        looksBack: schema.unevaluatedProperties !== undefined || schema.unevaluatedItems !== undefined,
      };
      known.set(schema, plan);
    }
    spend(plan.checks.length);
    const own = seen ?? (plan.looksBack ? new Set<string | number>() : undefined);
    for (const check of plan.checks) {
      const found = check(value, own);
      if (found) return found;
    }
    return undefined;
  };

  /** Evaluates another schema for the same value. If it fits, what it evaluated counts for this schema, too. */
  const beside: Evaluate = (value, schema, seen) => {
    const own = seen && new Set<string | number>();
    const found = evaluate(value, schema, own);
    if (found || !seen || !own) return found;
    spend(own.size);
    for (const name of own) seen.add(name);
    return undefined;
  };

  const inside = (value: JsonValue, name: string | number, schema: JsonSchema, seen: Evaluated): Misfit | undefined => {
    const found = evaluate(value, schema);
    if (!found) seen?.add(name);
    else found.at = `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}${found.at}`;
    return found;
  };

  const namesOf = (value: { [name: string]: JsonValue }): string[] => {
    const names = Object.keys(value);
    spend(names.length);
    return names;
  };

  const isEqual = (one: JsonValue, other: JsonValue): boolean => {
    spend(1);
    if (Array.isArray(one))
      return (
        Array.isArray(other) && one.length === other.length && one.every((item, at) => isEqual(item, other[at] as JsonValue))
      );
    if (!isMap(one)) {
      if (typeof one === "string") spend(textSteps(one));
      return one === other;
    }
    if (!isMap(other)) return false;
    const names = namesOf(one);
    return (
      names.length === namesOf(other).length &&
      names.every((name) => Object.hasOwn(other, name) && isEqual(one[name] as JsonValue, other[name] as JsonValue))
    );
  };

  const fits = (pattern: RegExp, text: string): boolean => {
    spend(textSteps(text));
    return pattern.test(text);
  };

  const ofMaps =
    (check: (value: { [name: string]: JsonValue }, seen: Evaluated) => Misfit | undefined): KeywordCheck =>
    (value, seen) =>
      isMap(value) ? check(value, seen) : undefined;
  const ofLists =
    (check: (value: JsonValue[], seen: Evaluated) => Misfit | undefined): KeywordCheck =>
    (value, seen) =>
      Array.isArray(value) ? check(value, seen) : undefined;
  const ofNumbers = (isFit: (value: number) => boolean, why: string): KeywordCheck => {
    return (value) => (typeof value === "number" && !isFit(value) ? misfit(why) : undefined);
  };
  const ofTexts = (isFit: (value: string) => boolean, why: string): KeywordCheck => {
    return (value) => (typeof value === "string" && !isFit(value) ? misfit(why) : undefined);
  };

  const required = (names: readonly string[]) =>
    ofMaps((value) => {
      spend(names.length);
      const missing = names.find((name) => !Object.hasOwn(value, name));
      return missing === undefined ? undefined : misfit(`"${missing}" is missing`);
    });

  /** Each check is for values that have that member. */
  const dependent = (given: JsonValue): KeywordCheck => {
    const checks = Object.entries(given as { [name: string]: JsonValue }).map(([name, needs]): [string, KeywordCheck] => [
      name,
      Array.isArray(needs) ? required(needs as string[]) : (value, seen) => beside(value, needs as JsonSchema, seen),
    ]);
    return ofMaps((value, seen) => {
      spend(checks.length);
      return first(checks, ([name, check]) => (Object.hasOwn(value, name) ? check(value, seen) : undefined));
    });
  };

  /** The checks by keyword. Any other name in a schema is ignored. */
  const keywords: Record<string, (given: JsonValue, schema: SchemaObject) => KeywordCheck> = {
    $ref(given, schema) {
      const target = compiled.target(schema);
      if (target === undefined) throw new Error(`"${given}" leads nowhere`);
      return (value, seen) => beside(value, target, seen);
    },
    type(given) {
      const names = [...new Set(Array.isArray(given) ? given : [given])];
      return (value) =>
        names.some((name) => isOfType(value, name)) ? undefined : misfit(`the type is not ${names.join(" or ")}`);
    },
    const: (given) => (value) => (isEqual(value, given) ? undefined : misfit("is not the one value that is allowed")),
    enum(given) {
      const values = given as JsonValue[];
      return (value) =>
        values.some((one) => isEqual(value, one)) ? undefined : misfit("is none of the values that are allowed");
    },
    not: (given) => (value) => (evaluate(value, given as JsonSchema) ? undefined : misfit("fits what it must not fit")),
    allOf: (given) => (value, seen) => first(given as JsonSchema[], (schema) => beside(value, schema, seen)),
    anyOf: (given) => (value, seen) => {
      let last: Misfit | undefined;
      let fitting = 0;
      for (const schema of given as JsonSchema[]) {
        const found = beside(value, schema, seen);
        if (found) last = found;
        else if (++fitting > 0 && !seen) return undefined;
      }
      return fitting > 0 ? undefined : last;
    },
    oneOf: (given) => (value, seen) => {
      let last: Misfit | undefined;
      let fitting = 0;
      for (const schema of given as JsonSchema[]) {
        const found = beside(value, schema, seen);
        if (found) last = found;
        else if (++fitting > 1) return misfit("fits more than one schema of oneOf");
      }
      return fitting > 0 ? undefined : last;
    },
    if: (given, schema) => (value, seen) => {
      const branch = beside(value, given as JsonSchema, seen) ? schema.else : schema.then;
      return branch === undefined ? undefined : beside(value, branch as JsonSchema, seen);
    },

    required: (given) => required(given as string[]),
    dependentRequired: dependent,
    dependentSchemas: dependent,
    /** A keyword of earlier drafts: `unevaluated*` do not take its members for evaluated. */
    dependencies(given) {
      const check = dependent(given);
      return (value) => check(value, undefined);
    },
    minProperties: (given) =>
      ofMaps((value) => (namesOf(value).length < (given as number) ? misfit(`has less than ${given} members`) : undefined)),
    maxProperties: (given) =>
      ofMaps((value) => (namesOf(value).length > (given as number) ? misfit(`has more than ${given} members`) : undefined)),
    propertyNames: (given) =>
      ofMaps((value) => first(namesOf(value), (name) => inside(name, name, given as JsonSchema, undefined))),
    properties(given) {
      const schemas = Object.entries(given as { [name: string]: JsonSchema });
      return ofMaps((value, seen) => {
        spend(schemas.length);
        return first(schemas, ([name, schema]) =>
          Object.hasOwn(value, name) ? inside(value[name] as JsonValue, name, schema, seen) : undefined,
        );
      });
    },
    patternProperties(given) {
      const schemas = patternsOf(given);
      return ofMaps((value, seen) =>
        first(schemas, ([pattern, schema]) =>
          first(namesOf(value), (name) =>
            fits(pattern, name) ? inside(value[name] as JsonValue, name, schema, seen) : undefined,
          ),
        ),
      );
    },
    additionalProperties(given, { properties = {}, patternProperties = {} }) {
      const patterns = patternsOf(patternProperties).map(([pattern]) => pattern);
      return ofMaps((value, seen) =>
        first(namesOf(value), (name) => {
          if (Object.hasOwn(properties as object, name) || patterns.some((pattern) => fits(pattern, name))) return undefined;
          return inside(value[name] as JsonValue, name, given as JsonSchema, seen);
        }),
      );
    },
    unevaluatedProperties: (given) =>
      ofMaps((value, seen) =>
        first(namesOf(value), (name) =>
          seen?.has(name) ? undefined : inside(value[name] as JsonValue, name, given as JsonSchema, seen),
        ),
      ),

    minItems: (given) =>
      ofLists((value) => (value.length < (given as number) ? misfit(`has less than ${given} items`) : undefined)),
    maxItems: (given) =>
      ofLists((value) => (value.length > (given as number) ? misfit(`has more than ${given} items`) : undefined)),
    prefixItems(given) {
      const schemas = given as JsonSchema[];
      return ofLists((value, seen) =>
        first(value.slice(0, schemas.length), (item, at) => inside(item, at, schemas[at] as JsonSchema, seen)),
      );
    },
    items: (given, { prefixItems = [] }) =>
      ofLists((value, seen) => {
        const from = (prefixItems as JsonValue[]).length;
        return first(value, (item, at) => (at < from ? undefined : inside(item, at, given as JsonSchema, seen)));
      }),
    contains: (given, { minContains = 1, maxContains }) =>
      ofLists((value, seen) => {
        let count = 0;
        for (const [at, item] of value.entries()) if (!inside(item, at, given as JsonSchema, seen)) count++;
        if (count < (minContains as number)) return misfit(`has less than ${minContains} items that fit contains`);
        if (maxContains === undefined || count <= (maxContains as number)) return undefined;
        return misfit(`has more than ${maxContains} items that fit contains`);
      }),
    unevaluatedItems: (given) =>
      ofLists((value, seen) =>
        first(value, (item, at) => (seen?.has(at) ? undefined : inside(item, at, given as JsonSchema, seen))),
      ),
    uniqueItems: (given) =>
      ofLists((value) => {
        const texts = new Map<string, number>();
        if (given !== true) return undefined;
        return first(value, (item, at) => {
          const text = canonicalText(item);
          spend(textSteps(text));
          const earlier = texts.get(text);
          if (earlier !== undefined) return misfit(`has the same item at ${earlier} and ${at}`);
          texts.set(text, at);
          return undefined;
        });
      }),

    minimum: (given) => ofNumbers((value) => value >= (given as number), `is less than ${given}`),
    maximum: (given) => ofNumbers((value) => value <= (given as number), `is greater than ${given}`),
    exclusiveMinimum: (given) => ofNumbers((value) => value > (given as number), `is not greater than ${given}`),
    exclusiveMaximum: (given) => ofNumbers((value) => value < (given as number), `is not less than ${given}`),
    multipleOf(given) {
      const of = decimalOf(given as number);
      const [step, power] = [Number(of.digits), POWERS_OF_TEN[-of.exponent] ?? Number.NaN];
      /** Calculates in decimals, as numbers are written: 0.07 is a multiple of 0.01. */
      const isMultiple = (value: number) => {
        const size = Math.abs(value);
        const whole = Math.round(size * power);
        // With so few digits each number has one decimal, and `whole` is that decimal with as many places as the divisor.
        if (whole < EXACT_DIGITS) return whole / power === size && whole % step === 0;
        const decimal = decimalOf(size);
        const places = decimal.exponent - of.exponent;
        spend(LONG_DIVISION_STEPS + (Math.abs(places) >> 2));
        return scaled(decimal, places) % scaled(of, -places) === 0n;
      };
      return ofNumbers(isMultiple, `is not a multiple of ${given}`);
    },

    minLength: (given) => ofTexts((value) => codePoints(value) >= (given as number), `is shorter than ${given} characters`),
    maxLength: (given) => ofTexts((value) => codePoints(value) <= (given as number), `is longer than ${given} characters`),
    pattern(given) {
      const pattern = new RegExp(given as string, "u");
      return ofTexts((value) => fits(pattern, value), "does not match the pattern");
    },
    format(given) {
      const isFit = Object.hasOwn(FORMATS, given as string) ? FORMATS[given as string] : undefined;
      const check = (value: string) => {
        spend(textSteps(value));
        return isFit?.(value) ?? true;
      };
      return ofTexts(check, `is no ${given}`);
    },
  };

  const codePoints = (text: string): number => {
    spend(textSteps(text));
    let count = text.length;
    // An admitted text has no lone surrogates: each low surrogate follows its high one, and only the pair counts.
    for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) >> 10 === 0x37) count--;
    return count;
  };

  function checksOf(schema: SchemaObject): KeywordCheck[] {
    const names = Object.keys(schema).filter((name) => Object.hasOwn(keywords, name));
    // `unevaluated*` need to know what the other keywords evaluated.
    const last = (name: string) => (name.startsWith("unevaluated") ? 1 : 0);
    return names
      .sort((one, other) => last(one) - last(other))
      .map((name) => keywords[name]?.(schema[name] as JsonValue, schema) as KeywordCheck);
  }

  return (value, most) => {
    left = most;
    const found = evaluate(value, compiled.schema);
    return found && `#${found.at}: ${found.why}`;
  };
}

function misfit(why: string): Misfit {
  return { at: "", why };
}

function first<T>(items: readonly T[], check: (item: T, at: number) => Misfit | undefined): Misfit | undefined {
  for (let at = 0; at < items.length; at++) {
    const found = check(items[at] as T, at);
    if (found) return found;
  }
  return undefined;
}

/** The steps of reading a text: quick, but not free. */
function textSteps(text: string): number {
  return 1 + (text.length >> 2);
}

export function isMap(value: JsonValue): value is { [name: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function patternsOf(schemas: JsonValue): [RegExp, JsonSchema][] {
  return Object.entries(schemas as { [source: string]: JsonSchema }).map(([source, schema]) => [new RegExp(source, "u"), schema]);
}

function isOfType(value: JsonValue, type: JsonValue): boolean {
  if (value === null) return type === "null";
  if (Array.isArray(value)) return type === "array";
  return typeof value === type || (type === "integer" && Number.isInteger(value));
}

/** `digits` times ten to the power of `exponent`. */
interface Decimal {
  digits: bigint;
  exponent: number;
}

function decimalOf(size: number): Decimal {
  const [digits = "0", exponent = "0"] = size.toString().split("e");
  const [whole = "0", fraction = ""] = digits.split(".");
  return { digits: BigInt(whole + fraction), exponent: Number(exponent) - fraction.length };
}

function scaled({ digits }: Decimal, places: number): bigint {
  return digits * 10n ** BigInt(Math.max(0, places));
}
