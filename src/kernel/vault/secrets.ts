import { checkId, checkText } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { Limits } from "../../domain/time.js";
import type { Vault } from "./vault.js";

/** Texts of the app that are never on disk unencrypted. They are in no log, error, notice or export. */
export interface Secrets {
  /** Stores the secret, or replaces it. At most `limits.payloadBytes` of UTF-8. */
  put(name: string, value: string): Promise<void>;
  /** Rejects `read-failed` if the stored record does not open any more. */
  get(name: string): Promise<string | undefined>;
  /** Does nothing if there is no secret of that name. */
  delete(name: string): Promise<void>;
}

export function secretMethods(vault: Vault, limits: Limits): Secrets {
  const record = (name: unknown) => `secret:${checkId("name", name, limits.idLength)}`;
  return {
    async put(name, value) {
      const to = record(name);
      const bytes = new TextEncoder().encode(checkText("value", value, limits.payloadBytes));
      if (bytes.length > limits.payloadBytes) throw invalid(`value must be at most ${limits.payloadBytes} bytes long`);
      await vault.replace(to, bytes);
    },
    async get(name) {
      const bytes = await vault.read(record(name));
      return bytes && new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    },
    async delete(name) {
      await vault.remove(record(name));
    },
  };
}
