import { tellEach } from "../ports/listeners.js";
import { ABOUT, type Change, type ChannelFactory, type Notices } from "../ports/notices.js";

const NOTICE_VERSION = 1;
const KNOWN: ReadonlySet<unknown> = new Set(ABOUT);
const MOST_CHANGES = 4096;

/** A BroadcastChannel, if the platform has one. In Node it does not keep the program alive. */
export function platformChannel(): ChannelFactory | undefined {
  if (typeof BroadcastChannel === "undefined") return undefined;
  return (name) => {
    const channel = new BroadcastChannel(name);
    (channel as { unref?(): void }).unref?.();
    return channel as ReturnType<ChannelFactory>;
  };
}

/** Listeners of this context are told at once. Other tabs and workers are told over the channel, if there is one. */
export function broadcastNotices(name: string, open: ChannelFactory | undefined): Notices {
  const listeners = new Set<(changes: readonly Change[]) => void>();
  let dropped = 0;
  let channel = connect();

  function connect(): ReturnType<ChannelFactory> | undefined {
    const opened = open?.(name);
    if (opened) {
      opened.onmessage = ({ data }) => {
        const changes = changesIn(data);
        if (!changes) dropped++;
        else if (changes.length > 0) tellEach(listeners, changes);
      };
    }
    return opened;
  }

  function disconnect(): void {
    channel?.close();
    channel = undefined;
  }

  return {
    publish(changes) {
      if (changes.length === 0) return;
      try {
        for (let at = 0; at < changes.length; at += MOST_CHANGES) {
          channel?.postMessage({ v: NOTICE_VERSION, changes: changes.slice(at, at + MOST_CHANGES) });
        }
      } catch {
        // A closed channel loses the hint for other tabs. Their slow poll finds the change.
      }
      tellEach(listeners, changes);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    get dropped() {
      return dropped;
    },
    pause: disconnect,
    resume() {
      channel ??= connect();
    },
    close() {
      listeners.clear();
      disconnect();
    },
  };
}

/** Any script of the origin can post. A message that is no notice is dropped, and a notice is only a hint to read again. */
function changesIn(message: unknown): Change[] | undefined {
  try {
    return readChanges(message);
  } catch {
    // An app may pass a channel of its own, whose messages may be anything.
    return undefined;
  }
}

function readChanges(message: unknown): Change[] | undefined {
  if (typeof message !== "object" || message === null) return undefined;
  const { v, changes } = message as { v?: unknown; changes?: unknown };
  if (v !== NOTICE_VERSION || !Array.isArray(changes) || changes.length > MOST_CHANGES) return undefined;
  // Copies, read by index: listeners get exactly what was checked, and a hole in the list is refused.
  const read = Array.from({ length: changes.length }, (_, at) => readChange(changes[at]));
  if (!read.every((change) => change !== undefined)) return undefined;
  // A newer tab may tell of topics that this one does not know, beside those that it knows.
  return read.filter(({ about }) => KNOWN.has(about));
}

function readChange(value: unknown): Change | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { about, id, sequence, member } = value as Record<string, unknown>;
  if (typeof about !== "string" || typeof id !== "string") return undefined;
  if (sequence !== undefined && !Number.isSafeInteger(sequence)) return undefined;
  if (member !== undefined && typeof member !== "string") return undefined;
  return {
    about: about as Change["about"],
    id,
    ...(sequence !== undefined && { sequence: sequence as number }),
    ...(member !== undefined && { member }),
  };
}
