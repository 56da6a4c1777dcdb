import type { ChannelFactory } from "../../ports/notices.js";

/** BroadcastChannel within one program: copies of a message reach all channels but the sender, in a later task. */
export function channelHub(): ChannelFactory {
  type Channel = ReturnType<ChannelFactory>;
  const open = new Map<string, Set<Channel>>();
  return (name) => {
    const peers = open.get(name) ?? new Set<Channel>();
    open.set(name, peers);
    const channel: Channel = {
      onmessage: null,
      postMessage(message) {
        if (!peers.has(channel)) throw new Error("the channel is closed");
        const copy = structuredClone(message);
        setTimeout(() => {
          for (const peer of peers) if (peer !== channel) peer.onmessage?.({ data: structuredClone(copy) });
        }, 0);
      },
      close: () => void peers.delete(channel),
    };
    peers.add(channel);
    return channel;
  };
}
