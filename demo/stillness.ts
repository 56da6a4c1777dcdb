// Lets this tab finish its transactions before it hangs. A page that stops inside a transaction blocks the database for every
// other tab, and this demo is to show how a lease expires.
let held: { readonly released: Promise<void>; release(): void } | undefined;

/** Longer than any write that is under way, also a coalesced one of progress. */
const settleMs = 1_300;

export function isStill(): boolean {
  return held !== undefined;
}

export function whenMoving(): Promise<void> {
  return held?.released ?? Promise.resolve();
}

/** Runs `hang` when no work of this tab is under way. */
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
