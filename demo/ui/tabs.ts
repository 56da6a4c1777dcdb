// The open tabs, and the buttons that harm this one.
import type { KernelStatus } from "holdfast";
import type { Present } from "../alive.js";
import type { FileEntry } from "../files.js";
import { type Tab, tabOf } from "../identity.js";
import { holdStill } from "../stillness.js";
import { canCrash, closeTab, crash, hang, hangMs, openAnother } from "../trouble.js";
import { plural } from "../words.js";
import { h, part, say, set } from "./dom.js";
import { tabName } from "./tab-name.js";

export function showRoster(present: readonly Present[], entries: Iterable<FileEntry>, answering: Tab | undefined): void {
  const list = part("roster");
  const work = new Map<string, number>();
  for (const { lease } of entries) {
    const owner = lease && tabOf(lease.ownerId)?.hostId;
    if (owner) work.set(owner, (work.get(owner) ?? 0) + 1);
  }
  for (const item of Array.from(list.children)) {
    if (!present.some(({ tab }) => tab.hostId === item.id)) item.remove();
  }
  for (const { tab, self, silentMs } of present) {
    const item = document.getElementById(tab.hostId) ?? list.appendChild(chip(tab, self));
    const files = work.get(tab.hostId) ?? 0;
    const doing = [
      ...(files > 0 ? [`reading ${plural(files, "file")}`] : []),
      ...(answering?.hostId === tab.hostId ? ["answering"] : []),
    ].join(", ");
    const text = silentMs > 0 ? `no answer for ${Math.floor(silentMs / 1_000)} s` : doing || "idle";
    set(item, "data-silent", silentMs > 0);
    if (item.lastElementChild) say(item.lastElementChild, text);
  }
}

function chip({ name, hostId }: Tab, self: boolean): HTMLElement {
  return h(
    "li",
    { id: hostId, class: "chip", "data-self": self },
    tabName(name, self ? " (this tab)" : ""),
    h("span", { class: "quiet numbers" }),
  );
}

export function showGranted(status: KernelStatus, name: string): void {
  const storage =
    status.storage === "indexeddb"
      ? `stored in IndexedDB, ${status.durability} durability`
      : "kept in memory only: nothing survives this tab";
  const loop = { worker: "leases renewed from a Web Worker", inline: "leases renewed in the page", off: "no loop" }[status.loop];
  const extra = [status.locks ? "Web Locks" : "no Web Locks", status.channel ? "BroadcastChannel" : "no channel between tabs"];
  const secrets = status.secrets === "sealed" ? "secrets sealed" : "secrets in memory only";
  say(part("granted"), `${name} was granted: ${storage}; ${loop}; ${extra.join("; ")}; ${secrets}.`);
}

/** Each button does exactly what its label says. */
export function troubleButtons(tell: (text: string) => void): void {
  const place = part("trouble");
  const button = (label: string, title: string, run: () => void) => {
    const element = h("button", { type: "button", title }, label);
    element.addEventListener("click", run);
    place.append(element);
    return element;
  };
  button("Open another tab", "Opens this page again, in a process of its own", openAnother);
  button("Close this tab", "Closes the tab; where the browser does not let a page close itself, leaves the page", closeTab);
  const seconds = hangMs / 1_000;
  const hanging = button(
    `Hang this tab for ${seconds} s`,
    "Lets a write that is under way finish, then runs a loop on the tab's only thread: its lease runs out, and another tab takes over",
    () => {
      hanging.disabled = true;
      say(hanging, "Hanging…");
      tell(`hangs for ${seconds} s`);
      void holdStill(hang).then(() => {
        hanging.disabled = false;
        say(hanging, `Hang this tab for ${seconds} s`);
      });
    },
  );
  const crashing = button(
    "Crash this tab",
    "Asks the engine for more than it can hold; the browser then gives this tab up",
    () => {
      crash();
      tell("was asked to crash, but this browser refused");
    },
  );
  if (!canCrash) {
    crashing.disabled = true;
    crashing.title = "Only Chromium can be crashed by a page. Hang or close the tab instead";
  }
}
