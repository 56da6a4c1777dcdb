// Lets this tab finish its transactions before it hangs. A page that stops inside a transaction blocks the database for every
// other tab, and this demo is to show how a lease expires.
let held: { readonly released: Promise<void>; release(): void } | undefined;
const followers = new Set<() => void>();

/** Longer than any write that is under way, also a coalesced one of progress. */
const settleMs = 1_300;

export function isStill(): boolean {
  return held !== undefined;
}

export function whenMoving(): Promise<void> {
  return held?.released ?? Promise.resolve();
}

/** Follows something while this tab is not about to hang; a hidden tab does so only if asked to. `start` returns what ends it. */
export function whileMoving(start: () => () => void, signal: AbortSignal, alsoHidden = false): void {
  let stop: (() => void) | undefined;
  const update = () => {
    if (!held && !signal.aborted && (alsoHidden || document.visibilityState === "visible")) stop ??= start();
    else {
      stop?.();
      stop = undefined;
    }
  };
  followers.add(update);
  document.addEventListener("visibilitychange", update, { signal });
  signal.addEventListener("abort", () => {
    followers.delete(update);
    update();
  });
  update();
}

/** Runs `hang` when no work of this tab is under way. */
export async function holdStill(hang: () => void): Promise<void> {
  if (held) return;
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  held = { released, release };
  for (const update of followers) update();
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  try {
    hang();
  } finally {
    held.release();
    held = undefined;
    for (const update of followers) update();
  }
}
