import type { Kernel } from "../../kernel/kernel.js";

/** Else secrets are in the memory of one kernel: a durable place, and nothing to seal with. */
export async function isInPlace(kernel: Kernel): Promise<boolean> {
  const { storage, secrets } = await kernel.status();
  return storage === "memory" || secrets === "sealed";
}

/** All that an error tells, its causes too. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { details } = error as { details?: unknown };
  return [error.name, error.message, JSON.stringify(details), error.stack, error.cause && errorText(error.cause)].join("\n");
}
