import type { HoldfastError } from "../../domain/errors.js";
import type { Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Change } from "../../ports/notices.js";
import type { Lazy } from "../lazy.js";
import type { Executor, ExecutorParts } from "./executor.js";
import type { AttachedHandler } from "./turn.js";

/**
 * The turn handlers of a session in this tab, and while there is one, the executor that runs turns with the last of them. The kernel's own
 * handler, for all sessions, runs those of a session that has none.
 */
interface TurnHandlers {
  /** There is no handler at all, not even the kernel's. */
  readonly isEmpty: boolean;
  /** Returns what takes the handler off; that resolves when a running turn of it is handed back. */
  add(handler: AttachedHandler): () => Promise<unknown>;
  /** Starts the executor, if there is none yet and one may run. Loads its code first. */
  start(): void;
  /** This tab stored an input: the executor looks at once. */
  poke(): void;
  hear(changes: readonly Change[]): void;
  /** Hands the running turn back. Resolves when nothing of it is left to be written. */
  stop(): Promise<unknown>;
  /** Ends the running turn at once; nothing is written. */
  end(reason: HoldfastError): void;
}

interface TurnHandlersParts {
  readonly lazyParts: { readonly turns: Lazy<{ createExecutor(parts: ExecutorParts): Executor }> };
  readonly clock: Clock;
  readonly timings: Pick<Timings, "pollMs">;
  /** An executor may be started now. */
  mayRun(): boolean;
  /** No executor may be started any more: the session was deleted or closed here, or the kernel closes. */
  isOver(): boolean;
  /** The kernel's handler for all sessions. */
  readonly kernelHandler: AttachedHandler | undefined;
  /** The kernel's handler may begin another turn. */
  mayBegin(): boolean;
  readonly executorParts: Omit<ExecutorParts, "handler">;
  tell(error: unknown): void;
}

export function createTurnHandlers(parts: TurnHandlersParts): TurnHandlers {
  const { kernelHandler, lazyParts } = parts;
  const { turns } = lazyParts;
  const handlers: AttachedHandler[] = [];
  let executor: Executor | undefined;
  let cancelRetry = () => {};
  /** Settles when nothing of the turns that were taken from handlers is left to be written. Never rejects. */
  let handingBack: Promise<unknown> = Promise.resolve();

  const isEmpty = () => handlers.length === 0 && !kernelHandler;

  function start(): void {
    if (!parts.mayRun() || parts.isOver() || executor || isEmpty()) return;
    if (!turns.loaded) {
      cancelRetry();
      turns.load().then(start, (error: unknown) => {
        if (parts.isOver() || isEmpty()) return;
        parts.tell(error);
        cancelRetry();
        cancelRetry = parts.clock.setTimer(start, parts.timings.pollMs);
      });
      return;
    }
    const handler = () => handlers.at(-1) ?? (parts.mayBegin() ? kernelHandler : undefined);
    executor = turns.loaded.createExecutor({ ...parts.executorParts, handler });
    executor.poke();
  }

  function handBack(work: Promise<void> | undefined): Promise<unknown> {
    if (work) handingBack = Promise.all([handingBack, work.catch(parts.tell)]);
    return handingBack;
  }

  function stop(): Promise<unknown> {
    const stopped = executor;
    executor = undefined;
    return handBack(stopped?.stop());
  }

  return {
    get isEmpty() {
      return isEmpty();
    },
    add(handler) {
      handlers.push(handler);
      start();
      return () => {
        handlers.splice(handlers.indexOf(handler), 1);
        return isEmpty() ? stop() : handBack(executor?.takeOff(handler));
      };
    },
    start,
    poke: () => executor?.poke(),
    hear: (changes) => executor?.hear(changes),
    stop,
    end(reason) {
      cancelRetry();
      executor?.end(reason);
      executor = undefined;
    },
  };
}
