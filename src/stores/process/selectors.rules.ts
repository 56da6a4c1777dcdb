import { type HoldfastError, invalid } from "../../domain/errors.js";
import { type JsonValue, textOfJson } from "../../domain/json.js";
import type { ValueSelector } from "../../domain/process/event-type.js";

/** Takes a value out of a payload. Throws `invalid`, which refuses the append. */
export function select(selector: ValueSelector, payload: JsonValue): JsonValue {
  if (selector === "payload") return payload;
  if ("pointer" in selector) {
    const found = follow(selector.pointer, payload);
    if (found === undefined) throw noMatch(selector.pointer);
    return found;
  }
  if ("const" in selector) return selector.const;
  if ("present" in selector) return follow(selector.present, payload) !== undefined;
  return fill(selector.template, selector.fields, payload);
}

/** Whether a wake's `when` holds. Every number counts as true, 0 too. A pointer that leads nowhere is an error, not false. */
export function isTruthy(value: JsonValue): boolean {
  if (typeof value === "boolean") return value;
  if (typeof value === "number") return true;
  if (value === null || value === "") return false;
  return typeof value === "string" || Object.keys(value).length > 0;
}

/** Follows a JSON Pointer (RFC 6901). `undefined` if it leads nowhere. Only own members count. */
function follow(pointer: string, payload: JsonValue): JsonValue | undefined {
  if (pointer === "") return payload;
  if (!pointer.startsWith("/")) return undefined;
  let at: JsonValue | undefined = payload;
  for (const part of pointer.slice(1).split("/")) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined;
    if (Array.isArray(at) && !/^(0|[1-9]\d*)$/.test(name)) return undefined;
    at = (at as { [name: string]: JsonValue })[name];
  }
  return at;
}

/** Fills the template in one pass: inserted text is not expanded again, so a payload cannot pull in other fields. */
function fill(template: string, fields: Record<string, ValueSelector>, payload: JsonValue): string {
  const texts = new Map(Object.entries(fields).map(([name, selector]) => [name, textOfJson(select(selector, payload))]));
  return template.replace(/\{([^{}]*)\}/g, (braces, name: string) => texts.get(name) ?? braces);
}

function noMatch(pointer: string): HoldfastError {
  return invalid(`selector pointer "${pointer}" did not match the payload`, { pointer });
}
