import { isHoldfastError } from "../../src/domain/errors.js";

/** The same text for equal values, and another one for others, also where JSON sees no difference. */
export function canonical(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "object":
      break;
    case "function":
      return "(function)";
    default:
      return `(${String(value)})`;
  }
  if (value === null) return "null";
  if (value instanceof Uint8Array) return `bytes ${[...value].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  if (value instanceof Map) return `map ${canonical([...value])}`;
  if (Array.isArray(value)) return `[${Array.from(value, canonical).join(", ")}]`;
  const names = Object.keys(value).sort();
  return `{ ${names.map((name) => `${JSON.stringify(name)}: ${canonical((value as Record<string, unknown>)[name])}`).join(", ")} }`;
}

/** The outcome of a call as text. An error is its code, its message and its details. */
export async function answerOf(call: () => unknown): Promise<string> {
  try {
    return canonical(await call());
  } catch (error) {
    if (!isHoldfastError(error)) return `UNTYPED ${String(error)}`;
    const { code, message, details } = error;
    return `${code}: ${message} ${canonical(details)}`;
  }
}
