import { isHoldfastError } from "holdfast";
import { showBanner, showGate } from "./banner.js";
import { part } from "./dom.js";

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Shows an error in the page: in place of the page before it has loaded, else above it. */
export function explain(error: unknown): void {
  console.info("holdfast playground:", error);
  const code = isHoldfastError(error) ? error.code : undefined;
  if (!part("main").hidden) {
    showBanner(code === "unavailable" ? "This tab has lost its storage." : "Something went wrong.", messageOf(error));
    return;
  }
  const [title, text] = explanations[code ?? ""] ?? ["The playground could not start", messageOf(error)];
  showGate(title, text, "Try again", () => location.reload());
}

const explanations: { [code: string]: [title: string, text: string] } = {
  unavailable: [
    "The library cannot be opened",
    "This browser does not let the page store anything, or another tab is in the way. Private windows often refuse storage.",
  ],
  version: [
    "The library is newer than this page",
    "A newer version wrote it, and it is left untouched. Reload to get that version.",
  ],
};
