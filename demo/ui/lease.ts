// The owner of the file, its fencing token, and the time until the lease expires.

import type { FileEntry } from "../files.js";
import { tabOf } from "../identity.js";
import { timings } from "../kernel.js";
import { h, say, set } from "./dom.js";
import { tabName } from "./tab-name.js";

export interface LeasePanel {
  readonly element: HTMLElement;
  update(entry: FileEntry): void;
  /** Shows the countdown by this tab's clock; called a few times a second. */
  tick(now: number): void;
}

export function leasePanel(): LeasePanel {
  const owner = h("dd", { class: "owner" });
  const fence = h("dd", { class: "numbers" });
  const attempt = h("dd", { class: "numbers" });
  const left = h("span", { class: "left numbers" });
  const fill = h("span", { class: "fill" });
  const bar = h("span", { class: "lease-bar", "aria-hidden": "true" }, fill);
  const note = h("span", { class: "quiet lease-note" });
  const element = h(
    "dl",
    { class: "facts" },
    h("div", {}, h("dt", {}, "Owner"), owner),
    h("div", {}, h("dt", {}, "Fence"), fence),
    h("div", {}, h("dt", {}, "Attempt"), attempt),
    h("div", { class: "lease" }, h("dt", {}, "Lease"), h("dd", {}, left, bar, note)),
  );
  let shown: FileEntry | undefined;
  let ownerShown = "";

  const tick = (now: number) => {
    const lease = shown?.lease;
    const leftMs = lease ? Math.max(0, lease.expiresAtMs - now) : 0;
    say(left, lease ? `${(leftMs / 1_000).toFixed(1)} s` : "none");
    fill.style.setProperty("transform", `scaleX(${Math.min(1, leftMs / timings.leaseTtlMs).toFixed(3)})`);
    say(
      note,
      !lease ? "" : leftMs === 0 ? "ran out" : now - lease.seenAtMs < 900 ? (lease.renewals > 0 ? "renewed" : "claimed") : "",
    );
  };

  return {
    element,
    tick,
    update(entry) {
      shown = entry;
      const { lease, model } = entry;
      const name = lease ? (tabOf(lease.ownerId)?.name ?? lease.ownerId) : "";
      if (name !== ownerShown) {
        ownerShown = name;
        owner.replaceChildren(...(name ? [tabName(name)] : []));
      }
      if (!name) say(owner, model.state === "running" ? "no tab yet" : "released");
      say(fence, String(lease?.fencingToken ?? model.stretches.at(-1)?.fence ?? "–"));
      say(attempt, model.attempt === undefined ? "–" : String(model.attempt));
      set(element, "data-held", lease !== undefined);
      set(element, "data-over", model.state !== "running");
      tick(Date.now());
    },
  };
}
