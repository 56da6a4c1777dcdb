// The choice of the agent: the built-in one, or an endpoint. Its key goes into the vault and never comes back into the page.
import type { KernelStatus } from "holdfast";
import { checkEndpoint, type Endpoint, hostOf } from "../endpoint.js";
import type { Settings } from "../settings.js";
import { part, say } from "./dom.js";
import { messageOf } from "./explain.js";

export interface SettingsDialog {
  /** Shows the current agent: another tab may have changed it. */
  refresh(secrets: KernelStatus["secrets"]): Promise<void>;
}

export function settingsDialog(settings: Settings): SettingsDialog {
  const dialog = part<HTMLDialogElement>("settings");
  const form = part<HTMLFormElement>("endpoint");
  const url = part<HTMLInputElement>("endpoint-url");
  const model = part<HTMLInputElement>("endpoint-model");
  const key = part<HTMLInputElement>("endpoint-key");
  const wrong = part("endpoint-wrong");
  let stored: Endpoint | undefined;
  let secrets: KernelStatus["secrets"] = "sealed";

  const show = () => {
    const where = secrets === "sealed" ? "its key is sealed" : "its key is in memory only";
    const by = stored && `${stored.model} at ${hostOf(stored)}${stored.key === "" ? "" : `; ${where}`}`;
    say(part("agent-line"), by ? `Answered by ${by}.` : "Answered by the built-in agent, offline.");
  };
  const save = async (endpoint: Endpoint | undefined) => {
    try {
      await settings.write(endpoint);
    } catch (error) {
      say(wrong, `It could not be stored: ${messageOf(error)}`);
      return;
    }
    stored = endpoint;
    show();
    dialog.close();
  };

  part("chat-settings").addEventListener("click", () => {
    url.value = stored?.url ?? "";
    model.value = stored?.model ?? "";
    say(wrong, "");
    const fate =
      secrets === "sealed"
        ? "The key is sealed: encrypted in this browser's storage, readable only here."
        : "This browser cannot seal: the key stays in this tab's memory and is gone with it.";
    say(part("key-hint"), stored?.key ? `${fate} One is stored; leave this empty to keep it for the same URL.` : fate);
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    key.value = "";
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const checked = checkEndpoint({ url: url.value, model: model.value, key: key.value });
    if (typeof checked === "string") return say(wrong, checked);
    // A stored key must not be used for another URL.
    const keepsKey = checked.key === "" && stored?.url === checked.url;
    void save(keepsKey ? { ...checked, key: stored?.key ?? "" } : checked);
  });
  part("endpoint-off").addEventListener("click", () => void save(undefined));
  part("endpoint-cancel").addEventListener("click", () => dialog.close());

  return {
    async refresh(granted) {
      secrets = granted;
      if (dialog.open) return;
      stored = await settings.read();
      show();
    },
  };
}
