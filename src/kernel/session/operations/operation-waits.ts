import type { Shared, Watch } from "../../../corridor/watch.js";
import { guarded } from "../../../domain/admit.js";
import { HoldfastError, isHoldfastError } from "../../../domain/errors.js";
import type { OperationOutcome } from "../../../domain/session/ops.js";
import type { Change } from "../../../ports/notices.js";
import { watermarkOf } from "../../../stores/session/ops.rules.js";
import { awaitedOf, hasAdvanced, outcomesAtClose, outcomesOf, refusalOfWait } from "./live-operation.rules.js";
import type { LiveOperations } from "./live-operations.js";

/** Waits for ends, in whichever tab they come. */
export interface OperationWaits {
  /** The ends of all `ids`, in their order. At the close, an operation that still lives has the outcome `terminated`. */
  outcomes(ids: readonly string[], signal: AbortSignal | undefined): Promise<OperationOutcome[]>;
  /** Like `outcomes`; refused while another such wait goes on, or if `ids` names one twice. */
  all(ids: readonly string[], signal: AbortSignal | undefined): Promise<OperationOutcome[]>;
  /** Resolves with the newest sequence when the feed has gone on after `seq`. */
  advance(seq: number, signal: AbortSignal | undefined): Promise<number>;
}

const concerns = ({ about }: Change) => about === "ops";

export function createOperationWaits(watch: Watch, runtimeId: string, live: LiveOperations): OperationWaits {
  const { look, closing } = live;
  let isWaiting = false;

  const isAborted = (signal: AbortSignal | undefined) => signal !== undefined && guarded("options.signal", () => signal.aborted);

  function within(signal: AbortSignal | undefined): AbortSignal {
    return signal ? guarded("options.signal", () => AbortSignal.any([signal, closing])) : closing;
  }

  /** Why every wait ended: this registry was closed, or its kernel. */
  function reasonOfClose(error: unknown): string | undefined {
    if (closing.aborted) return closing.reason as string;
    return isHoldfastError(error) && error.code === "closed" ? error.message : undefined;
  }

  async function outcomes(ids: readonly string[], signal: AbortSignal | undefined): Promise<OperationOutcome[]> {
    const here = ids.map((id) => live.get(id));
    const ops = await look();
    const awaited = ids.map((id, at) => {
      const found = awaitedOf(id, here[at], ops);
      if (found instanceof HoldfastError) throw found;
      return found;
    });
    const read = async (shared: Shared) => {
      if (!outcomesOf(awaited)) await shared(look, look);
      return outcomesOf(awaited);
    };
    for (const op of awaited) op.watcherCount++;
    try {
      return structuredClone(await watch.until(runtimeId, read, within(signal), concerns));
    } catch (error) {
      const reason = isAborted(signal) ? undefined : reasonOfClose(error);
      if (reason === undefined) throw error;
      return structuredClone(outcomesAtClose(awaited, reason));
    } finally {
      for (const op of awaited) op.watcherCount--;
    }
  }

  return {
    outcomes,
    async all(ids, signal) {
      const refusal = refusalOfWait(ids, isWaiting);
      if (refusal) throw refusal;
      isWaiting = true;
      try {
        return await outcomes(ids, signal);
      } finally {
        isWaiting = false;
      }
    },
    async advance(seq, signal) {
      let first: number | undefined;
      const read = async (shared: Shared) => {
        const ops = await shared(look, look);
        const watermark = ops ? watermarkOf(ops) : 0;
        first ??= watermark;
        return hasAdvanced(watermark, { seq, first }) ? watermark : undefined;
      };
      live.refuseClosed();
      try {
        return await watch.until(runtimeId, read, within(signal), concerns);
      } catch (error) {
        if (!isAborted(signal)) live.refuseClosed();
        throw error;
      }
    },
  };
}
