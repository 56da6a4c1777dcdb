// The endpoint, if one is set. URL, model and key are one secret, so that a key is never sent to another URL.
import type { Kernel } from "holdfast";
import type { Endpoint } from "./endpoint.js";

const name = "chat-endpoint";

export interface Settings {
  read(): Promise<Endpoint | undefined>;
  /** `undefined`: the built-in agent answers again. */
  write(endpoint: Endpoint | undefined): Promise<void>;
}

export function settings({ secrets }: Pick<Kernel, "secrets">): Settings {
  return {
    async read() {
      const stored = await secrets.get(name);
      return stored === undefined ? undefined : JSON.parse(stored);
    },
    async write(endpoint) {
      await (endpoint ? secrets.put(name, JSON.stringify(endpoint)) : secrets.delete(name));
    },
  };
}
