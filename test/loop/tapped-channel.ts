import type { ChannelFactory } from "../../src/ports/notices.js";

/** One host's way onto a channel, which a test listens in on and cuts. */
export interface Tap {
  readonly channel: ChannelFactory;
  /** What was said by this host, and over which channel. */
  readonly said: { readonly name: string; readonly message: Record<string, unknown> }[];
  /** Throws: it cannot be said. False: it is said, and nobody hears it. */
  onPost: (name: string, message: Record<string, unknown>) => boolean;
  /** False: this host does not hear it. */
  onHear: (name: string) => boolean;
}

export const isPresence = (name: string) => name.endsWith(":seen");

export function tap(hub: ChannelFactory): Tap {
  const made: Tap = {
    said: [],
    onPost: () => true,
    onHear: () => true,
    channel(name) {
      const inner = hub(name);
      const channel: ReturnType<ChannelFactory> = {
        onmessage: null,
        postMessage(message) {
          const said = { name, message: message as Record<string, unknown> };
          const isHeard = made.onPost(name, said.message);
          made.said.push(said);
          if (isHeard) inner.postMessage(message);
        },
        close: () => inner.close(),
      };
      inner.onmessage = (event) => {
        if (made.onHear(name)) channel.onmessage?.(event);
      };
      return channel;
    },
  };
  return made;
}
