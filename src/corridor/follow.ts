import { isHoldfastError } from "../domain/errors.js";
import type { Clock } from "../ports/clock.js";
import type { Change, Notices } from "../ports/notices.js";

interface FollowParts {
  readonly notices: Notices;
  readonly clock: Clock;
  readonly timings: { readonly pollMs: number };
}

interface Followed<T> {
  concerns(change: Change): boolean;
  read(): Promise<T>;
  found(value: T): void;
  failed(error: unknown): void;
}

/** The frame of a page without animation frames: one that is hidden, or none at all. */
const FRAME_MS = 16;
/** A visible page may get no frames either, as one behind another window: then this counts. */
const LATE_FRAME_MS = 250;

/** Until the kernel is closed: reads at once, in the frame after each notice that concerns it, and at each poll, one read at a time. Returns what ends it. */
export function followReads<T>(
  { notices, clock, timings }: FollowParts,
  { concerns, read, found, failed }: Followed<T>,
): () => void {
  let isOver = false;
  let isReading = false;
  /** A notice came while a read was under way, which may have read too early. */
  let isStale = false;
  let cancelFrame: (() => void) | undefined;
  let cancelPoll = () => {};

  async function look(): Promise<void> {
    cancelFrame?.();
    cancelFrame = undefined;
    cancelPoll();
    isReading = true;
    isStale = false;
    try {
      const value = await read();
      if (!isOver) found(value);
    } catch (error) {
      if (isHoldfastError(error) && error.code === "closed") end();
      if (!isOver) failed(error);
    }
    isReading = false;
    if (isOver) return;
    cancelPoll = clock.setTimer(() => void look(), timings.pollMs);
    if (isStale) lookSoon();
  }

  function lookSoon(): void {
    if (isReading) isStale = true;
    else cancelFrame ??= atNextFrame(clock, () => void look());
  }

  const stopHearing = notices.subscribe((changes) => {
    if (changes.some(concerns)) lookSoon();
  });
  function end(): void {
    isOver = true;
    stopHearing();
    cancelFrame?.();
    cancelPoll();
  }
  void look();
  return end;
}

function atNextFrame(clock: Clock, run: () => void): () => void {
  const hasFrames = typeof requestAnimationFrame === "function" && document.visibilityState === "visible";
  const frame = hasFrames ? requestAnimationFrame(once) : 0;
  const cancelTimer = clock.setTimer(once, hasFrames ? LATE_FRAME_MS : FRAME_MS);
  function cancel(): void {
    if (hasFrames) cancelAnimationFrame(frame);
    cancelTimer();
  }
  function once(): void {
    cancel();
    run();
  }
  return cancel;
}
