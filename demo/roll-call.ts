// The open tabs, and those of them that answer. A hanging tab is still open, so every visible tab asks the others now and then.
import { openTabs, type Tab } from "./identity.js";

export interface Present {
  readonly tab: Tab;
  readonly self: boolean;
  /** The time without an answer, in milliseconds; 0 for a tab that answers. */
  readonly silentMs: number;
}

const everyMs = 1_000;
const patienceMs = 2_500;

type Message = { readonly ask: string } | { readonly here: string; readonly to: string };

export function rollCall(self: Tab, changed: (present: Present[]) => void): void {
  const channel = new BroadcastChannel("holdfast-playground:roll-call");
  /** The time of the first unanswered question to a tab. */
  const askedAt = new Map<string, number>();

  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if ("ask" in data) channel.postMessage({ here: self.hostId, to: data.ask });
    else if (data.to === self.hostId) askedAt.delete(data.here);
  };

  let lastRun = performance.now();
  const call = async () => {
    const now = performance.now();
    // This tab itself was paused and received nothing. That says nothing about the other tabs.
    if (now - lastRun > everyMs * 2) askedAt.clear();
    lastRun = now;
    const open = (await openTabs()) ?? [self];
    const others = open.filter(({ hostId }) => hostId !== self.hostId);
    for (const id of askedAt.keys()) if (!others.some(({ hostId }) => hostId === id)) askedAt.delete(id);
    const silentMs = ({ hostId }: Tab) => {
      const since = askedAt.get(hostId);
      return since !== undefined && now - since > patienceMs ? now - since : 0;
    };
    changed([{ tab: self, self: true, silentMs: 0 }, ...others.map((tab) => ({ tab, self: false, silentMs: silentMs(tab) }))]);
    if (document.visibilityState !== "visible") return;
    for (const { hostId } of others) if (!askedAt.has(hostId)) askedAt.set(hostId, now);
    channel.postMessage({ ask: self.hostId });
  };
  const again = () => void call().catch(() => {});
  setInterval(again, everyMs);
  again();
}
