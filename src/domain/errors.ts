import type { ERROR_CODES } from "./error-codes.js";
import type { JsonValue } from "./json.js";

export type ErrorCode = keyof typeof ERROR_CODES;

/** An id of the default length fits, with what is said of it. */
const MOST_CHARACTERS = 800;
const KEPT_AT_EACH_END = 300;

const BRAND = Symbol.for("holdfast.error");
const MADE_HERE = new WeakSet<object>();

/** The one error type. `code` is stable; `message` is for people and names the field and the rule. */
export class HoldfastError extends Error {
  override readonly name = "HoldfastError";
  readonly code: ErrorCode;
  readonly details?: JsonValue;

  constructor(code: ErrorCode, message: string, more: { details?: JsonValue; cause?: unknown } = {}) {
    super(shortened(message), more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    if (more.details !== undefined) this.details = more.details;
    Object.defineProperty(this, BRAND, { value: true });
    MADE_HERE.add(this);
  }
}

/** True for a HoldfastError of any realm or copy of the package, which `instanceof` is not. */
export function isHoldfastError(value: unknown): value is HoldfastError {
  try {
    return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
  } catch {
    // A Proxy may throw at any look.
    return false;
  }
}

/** An error of this very copy of the package: the brand alone can be put on anything. */
export function isMadeHere(value: unknown): boolean {
  return MADE_HERE.has(value as object);
}

export function invalid(message: string, details?: JsonValue): HoldfastError {
  return new HoldfastError("invalid", message, details === undefined ? {} : { details });
}

/** Anything thrown, as a HoldfastError; what is one already passes unchanged. */
export function asHoldfastError(thrown: unknown, code: ErrorCode, message: string): HoldfastError {
  return isHoldfastError(thrown) ? thrown : new HoldfastError(code, `${message}: ${textOf(thrown)}`, { cause: thrown });
}

/** A path or an id that a caller gave may be a megabyte long. What is cut out is the middle: the field and the rule stand at the ends. */
export function shortened(text: string): string {
  if (text.length <= MOST_CHARACTERS) return text;
  // What is cut through is no half of a character.
  return `${text.slice(0, KEPT_AT_EACH_END)} ... ${text.slice(-KEPT_AT_EACH_END)}`.replace(/\p{Surrogate}/gu, "\uFFFD");
}

function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return "a value that has no text";
  }
}
