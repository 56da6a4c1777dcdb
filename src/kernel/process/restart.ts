import type { Corridor } from "../../corridor/command.js";
import { restartProcess } from "../../stores/process/runs/restart.js";
import type { HandleBounds } from "./handle.js";

/** Runs the ended process again. */
export async function restart(
  { corridor, newNonce }: { readonly corridor: Corridor; newNonce(): string },
  fenced: HandleBounds["fenced"],
  processId: string,
  from: string | undefined,
): Promise<void> {
  const nonce = newNonce();
  await fenced((lease) =>
    corridor.run(restartProcess, { processId, nonce, ...(from !== undefined && { from }), ...(lease && { lease }) }),
  );
}
