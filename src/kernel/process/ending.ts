import { type ErrorCode, type HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { ProcessAwaitOutput } from "../../domain/process/process.js";

/** Errors of the context that are no failure of the handler's: the process stays claimable. */
const RUN_TROUBLE: ReadonlySet<ErrorCode> = new Set([
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
  return isHoldfastError(error) && RUN_TROUBLE.has(error.code);
}

/** The output of a process whose handler threw `error`. `cancel` is the reason of its signal, if it was asked to cancel. */
export function outputOf(error: unknown, cancel: HoldfastError | undefined): ProcessAwaitOutput {
  return cancel && isAbortOf(cancel, error) ? { type: "cancelled", message: cancel.message } : failureOf(error);
}

function isAbortOf(reason: HoldfastError, error: unknown): boolean {
  if (error === reason || (isHoldfastError(error) && error.code === "aborted" && error.cause === reason)) return true;
  return thrownMember(error, "name") === "AbortError";
}

function failureOf(error: unknown): ProcessAwaitOutput {
  const { code = "process_failed", message } = storableCause(error, "the handler");
  return { type: "failure", class: "execution", code, message };
}

/** What is stored of the value that the app's code threw. `what` is that code. */
export function storableCause(error: unknown, what: string): { code?: string; message: string } {
  const code = thrownMember(error, "code");
  const message = thrownMember(error, "message");
  return {
    ...(typeof code === "string" && code !== "" && { code: storable(code) }),
    message: storable(
      typeof message === "string" ? message : typeof error === "string" ? error : `${what} threw a value without a message`,
    ),
  };
}

const SHORT = 80;

/** Replaces an output that was refused: a result becomes a failure, and a message that is too long becomes a short one. */
export function storableOutput(output: ProcessAwaitOutput, refusal: HoldfastError): ProcessAwaitOutput | undefined {
  if (output.type === "success") return failureOf(refusal);
  if (output.message.length <= SHORT) return undefined;
  const message = output.message.slice(0, SHORT);
  return output.type === "cancelled" ? { type: "cancelled", message } : { ...output, code: output.code.slice(0, SHORT), message };
}

/** Makes a text storable: the end of a process must not fail because of its error's text. */
function storable(text: string): string {
  return text.slice(0, 8_192).replace(/\p{Surrogate}/gu, "\uFFFD");
}

/** A handler may throw any value, also an object whose getters throw. */
function thrownMember(thrown: unknown, name: string): unknown {
  try {
    return typeof thrown === "object" && thrown !== null ? (thrown as Record<string, unknown>)[name] : undefined;
  } catch {
    return undefined;
  }
}

/** Resolves when the signal aborts, for a race with work that may ignore the signal. */
export function abortOf(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
