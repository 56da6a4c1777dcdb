import { type ErrorCode, type HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { ProcessAwaitOutput } from "../../domain/process/process.js";

/** What the world did to a handler, told by the context: the process stays claimable. */
const TROUBLE: ReadonlySet<ErrorCode> = new Set([
  "lease-lost",
  "closed",
  "unavailable",
  "quota-exceeded",
  "write-failed",
  "read-failed",
  "version",
  "internal",
]);

export function isTrouble(error: unknown): error is HoldfastError {
  return isHoldfastError(error) && TROUBLE.has(error.code);
}

/** How a process ends by what its handler threw. `cancel` is the reason of its signal, if it was asked to cancel. */
export function outputOf(error: unknown, cancel: HoldfastError | undefined): ProcessAwaitOutput {
  return cancel && isAbortOf(cancel, error) ? { type: "cancelled", message: cancel.message } : failureOf(error);
}

function isAbortOf(reason: HoldfastError, error: unknown): boolean {
  if (error === reason || (isHoldfastError(error) && error.code === "aborted" && error.cause === reason)) return true;
  return memberOf(error, "name") === "AbortError";
}

function failureOf(error: unknown): ProcessAwaitOutput {
  const code = memberOf(error, "code");
  const message = memberOf(error, "message");
  return {
    type: "failure",
    class: "execution",
    code: typeof code === "string" && code !== "" ? storable(code) : "process_failed",
    message: storable(
      typeof message === "string" ? message : typeof error === "string" ? error : "the handler threw a value without a message",
    ),
  };
}

const SHORT = 80;

/** Instead of an output that is refused: a result becomes a failure, and a message too long for the limits a short one. */
export function storableOutput(output: ProcessAwaitOutput, refusal: HoldfastError): ProcessAwaitOutput | undefined {
  if (output.type === "success") return failureOf(refusal);
  if (output.message.length <= SHORT) return undefined;
  const message = output.message.slice(0, SHORT);
  return output.type === "cancelled" ? { type: "cancelled", message } : { ...output, code: output.code.slice(0, SHORT), message };
}

/** The end of a process must not fail for what its error says. */
function storable(text: string): string {
  return text.slice(0, 8_192).replace(/\p{Surrogate}/gu, "\uFFFD");
}

/** A handler may throw anything, also an object whose getters throw. */
function memberOf(thrown: unknown, name: string): unknown {
  try {
    return typeof thrown === "object" && thrown !== null ? (thrown as Record<string, unknown>)[name] : undefined;
  } catch {
    return undefined;
  }
}

/** Settles when the signal aborts, for a race with work that may not hear of it. */
export function abortOf(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
