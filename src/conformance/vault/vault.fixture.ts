import type { Kernel } from "../../kernel/kernel.js";

/**
 * True where secrets are stored. False where they are in one kernel's memory: the storage is durable, and the platform has no
 * sealing.
 */
export async function isInPlace(kernel: Kernel): Promise<boolean> {
  const { storage, secrets } = await kernel.status();
  return storage === "memory" || secrets === "sealed";
}

/** The whole text of an error, with its causes. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { details } = error as { details?: unknown };
  return [error.name, error.message, JSON.stringify(details), error.stack, error.cause && errorText(error.cause)].join("\n");
}
