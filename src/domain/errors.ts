import type { ERROR_CODES } from "./error-codes.js";
import type { JsonValue } from "./json.js";

/**
 * The stable codes of errors. docs/errors.md says what each means and what to do.
 * @useDeclaredType
 */
export type ErrorCode = keyof typeof ERROR_CODES;

/** The retriable codes without the table's texts, which no page needs to load. A code that is missing here, or one too many, does not compile. */
const RETRIABLE: Readonly<Partial<Record<ErrorCode, true>>> = {
  "lease-held": true,
  "write-failed": true,
  "quota-exceeded": true,
  unavailable: true,
  timeout: true,
} satisfies { [C in ErrorCode as (typeof ERROR_CODES)[C]["retriable"] extends true ? C : never]: true };

/** Room for an id of the default length and the words around it. */
const MAX_MESSAGE_LENGTH = 800;
const KEPT_AT_EACH_END = 300;

const BRAND = Symbol.for("holdfast.error");
const NON_RETRYABLE = Symbol.for("holdfast.non-retryable");
const MADE_HERE = new WeakSet<object>();

/** The only error type. `code` is stable, for programs. `message` is for people and names the field and the rule. */
export class HoldfastError extends Error {
  override readonly name = "HoldfastError";
  readonly code: ErrorCode;
  readonly details?: JsonValue;
  /** Whether the same call may succeed later without a change by the caller. */
  readonly retriable: boolean;

  constructor(code: ErrorCode, message: string, more: { details?: JsonValue; cause?: unknown } = {}) {
    super(shortened(message), more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.retriable = RETRIABLE[code] === true;
    if (more.details !== undefined) this.details = more.details;
    Object.defineProperty(this, BRAND, { value: true });
    MADE_HERE.add(this);
  }
}

/** A step, handler or turn that throws it is not tried again, whatever its retry policy says. */
export class NonRetryableError extends Error {
  override readonly name: string = "NonRetryableError";

  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    Object.defineProperty(this, NON_RETRYABLE, { value: true });
  }
}

/** True for a HoldfastError of any realm or copy of the package, where `instanceof` would be false. */
export function isHoldfastError(value: unknown): value is HoldfastError {
  return isBranded(value, BRAND);
}

/** True for a NonRetryableError of any realm or copy of the package. */
export function isNonRetryable(value: unknown): boolean {
  return isBranded(value, NON_RETRYABLE);
}

function isBranded(value: unknown, brand: symbol): boolean {
  try {
    return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[brand] === true;
  } catch {
    // A Proxy may throw at any access.
    return false;
  }
}

/** True for an error of this copy of the package. The brand alone proves nothing: any object can carry it. */
export function isMadeHere(value: unknown): boolean {
  return MADE_HERE.has(value as object);
}

export function invalid(message: string, details?: JsonValue): HoldfastError {
  return new HoldfastError("invalid", message, details === undefined ? {} : { details });
}

/** A thrown value as a HoldfastError; a HoldfastError passes unchanged. */
export function asHoldfastError(thrown: unknown, code: ErrorCode, message: string): HoldfastError {
  return isHoldfastError(thrown) ? thrown : new HoldfastError(code, `${message}: ${textOfThrown(thrown)}`, { cause: thrown });
}

/** A caller's path or id may be a megabyte long. The middle is cut out: the field and the rule stand at the ends. */
export function shortened(text: string): string {
  if (text.length <= MAX_MESSAGE_LENGTH) return text;
  // The cut must not leave half a character.
  return `${text.slice(0, KEPT_AT_EACH_END)} ... ${text.slice(-KEPT_AT_EACH_END)}`.replace(/\p{Surrogate}/gu, "\uFFFD");
}

/** The text of any thrown value. */
export function textOfThrown(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return "a value that has no text";
  }
}
