// Lets this tab come to rest before it hangs. A page that stops in the middle of a transaction keeps the database from every
// other tab until it goes on or is closed, and what is to be seen here is how a lease runs out.
let held: { readonly released: Promise<void>; release(): void } | undefined;

/** Longer than anything that is under way takes to be stored, a coalesced progress write included. */
const settleMs = 1_300;

export function isStill(): boolean {
  return held !== undefined;
}

export function whenMoving(): Promise<void> {
  return held?.released ?? Promise.resolve();
}

/** Runs `hang` once nothing of this tab is under way. */
export async function holdStill(hang: () => void): Promise<void> {
  if (held) return;
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  held = { released, release };
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  try {
    hang();
  } finally {
    held.release();
    held = undefined;
  }
}
