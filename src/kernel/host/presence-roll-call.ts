import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import { heldLocks } from "./held-locks.js";

/** Whether a presence table knows all there is: it asks the other hosts, and their locks tell which of them there are. */
interface RollCall {
  /** All hosts have answered, or were waited for long enough. */
  readonly isComplete: boolean;
  /** Asks the other hosts; a call under way begins anew. */
  begin(): Promise<void>;
  answered(bootId: string): void;
  /** There is no channel any more. */
  end(): void;
}

interface RollCallParts {
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  /** The name of every host's lock begins so, and goes on with its boot id. */
  readonly lockPrefix: string;
  bootId(): string | undefined;
  ask(): void;
}

const LONGEST_CALL_MS = 250;

export function createRollCall(parts: RollCallParts): RollCall {
  let isComplete = false;
  /** The call under way. */
  let call: object | undefined;
  /** Hosts that have not answered yet. */
  let awaited: Set<string> | undefined;
  /** Hosts that answered before it was known which hosts there are. */
  const answeredEarly = new Set<string>();
  let cancelWait = () => {};

  function complete(): void {
    isComplete = call !== undefined;
    answeredEarly.clear();
    cancelWait();
  }

  return {
    get isComplete() {
      return isComplete;
    },
    async begin() {
      const own = {};
      call = own;
      isComplete = false;
      awaited = undefined;
      cancelWait();
      cancelWait = parts.clock.setTimer(complete, LONGEST_CALL_MS);
      parts.ask();
      // A table that is alone knows all there is. If there are no locks, the first answer is taken for all.
      const held = await heldLocks(parts.locks);
      if (!held || call !== own || isComplete) return;
      const hosts = [...held]
        .filter((name) => name.startsWith(parts.lockPrefix))
        .map((name) => name.slice(parts.lockPrefix.length));
      awaited = new Set(hosts.filter((bootId) => bootId !== parts.bootId() && !answeredEarly.has(bootId)));
      if (awaited.size === 0) complete();
    },
    answered(bootId) {
      if (isComplete) return;
      if (!parts.locks) return complete();
      answeredEarly.add(bootId);
      awaited?.delete(bootId);
      if (awaited?.size === 0) complete();
    },
    end() {
      call = undefined;
      isComplete = false;
      cancelWait();
    },
  };
}
