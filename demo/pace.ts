// Waits between two passages, on a worker's timer: a hidden tab's timers run once a second or less.
import { isStill, whenMoving } from "./stillness.js";

type Wait = { readonly id: number; readonly ms: number };

let clock: Worker | undefined;
let lastId = 0;
const waiting = new Map<number, () => void>();

export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await wait(ms, signal);
  if (isStill()) await whenMoving();
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  clock ??= startClock();
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    const aborted = () => {
      waiting.delete(id);
      reject(signal.reason);
    };
    if (signal.aborted) return aborted();
    signal.addEventListener("abort", aborted, { once: true });
    waiting.set(id, () => {
      signal.removeEventListener("abort", aborted);
      resolve();
    });
    clock?.postMessage({ id, ms } satisfies Wait);
  });
}

function startClock(): Worker {
  const worker = new Worker(new URL("./pace.worker.ts", import.meta.url), { type: "module", name: "pace" });
  worker.onmessage = ({ data }: MessageEvent<number>) => {
    const done = waiting.get(data);
    waiting.delete(data);
    done?.();
  };
  return worker;
}
