// Decides whether a file can be taken, and as which kind.
import { type Kind, split } from "./passages.js";

/** A process has its file as an argument, and an argument may have 1 MiB of JSON. */
export const largestBytes = 1_048_576 - 4_096;

export type Intake =
  | { readonly ok: true; readonly fileName: string; readonly kind: Kind; readonly text: string; readonly passages: number }
  | { readonly ok: false; readonly fileName: string; readonly reason: string };

const kinds: Record<string, Kind> = {
  md: "markdown",
  markdown: "markdown",
  txt: "text",
  text: "text",
  log: "text",
  csv: "csv",
  tsv: "csv",
  json: "json",
};

export const accepted = Object.keys(kinds)
  .map((ending) => `.${ending}`)
  .join(",");

export function takeIn(fileName: string, bytes: Uint8Array): Intake {
  const refuse = (reason: string): Intake => ({ ok: false, fileName, reason });
  const ending = /\.([^.]+)$/.exec(fileName)?.[1]?.toLowerCase() ?? "";
  const kind = kinds[ending];
  if (!kind)
    return refuse(
      `${ending ? `.${ending} files are` : "A file without an ending is"} not read here. Text, Markdown, CSV and JSON are.`,
    );
  if (bytes.length === 0) return refuse("The file is empty.");
  if (bytes.length > largestBytes)
    return refuse(`The file has ${size(bytes.length)}. One file may have up to 1 MB; cut it in two.`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return refuse("The file is not UTF-8 text. Save it as UTF-8 and drop it again.");
  }
  if (text.includes("\0")) return refuse("The file holds binary data, not text.");
  if (new TextEncoder().encode(JSON.stringify(text)).length > largestBytes) {
    return refuse("As JSON the file is larger than 1 MB; cut it in two.");
  }
  try {
    const passages = split(kind, text).length;
    if (passages === 0) return refuse("There is no passage in it: no line with words.");
    return { ok: true, fileName, kind, text, passages };
  } catch (error) {
    return refuse(`This is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
